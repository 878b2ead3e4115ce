import GRDB
import MeshModel

/// Where a provider's upstream is, and what its models cost.
extension MeshStore {
    func put(_ upstream: UpstreamSettings, of provider: Int64, _ database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO upstreams (provider, base_url, endpoints, has_key, headers, renamed, cold_start)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (provider) DO UPDATE SET base_url = excluded.base_url, endpoints = excluded.endpoints,
                    has_key = excluded.has_key, headers = excluded.headers, renamed = excluded.renamed,
                    cold_start = excluded.cold_start
                """,
            arguments: [
                provider, upstream.baseURL, upstream.endpoints.joined(separator: "\n"), upstream.hasKey,
                upstream.headers.joined(separator: "\n"),
                upstream.renamed.map { "\($0.sold)\t\($0.upstream)" }.joined(separator: "\n"),
                upstream.coldStartSeconds,
            ])
    }

    /// Whether the text can be a field of a line.
    func isField(_ text: String) -> Bool {
        (1...Limits.recordTextBytes).contains(text.utf8.count) && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    func upstream(of provider: Int64, _ database: Database) throws -> UpstreamSettings? {
        let row = try Row.fetchOne(
            database, sql: "SELECT * FROM upstreams WHERE provider = ?", arguments: [provider])
        return row.map { row in
            UpstreamSettings(
                baseURL: row["base_url"], endpoints: Self.lines(row["endpoints"]), hasKey: row["has_key"],
                headers: Self.lines(row["headers"]),
                renamed: Self.lines(row["renamed"]).compactMap { line in
                    let names = line.split(separator: "\t", maxSplits: 1)
                    return names.count == 2
                        ? RenamedModel(sold: String(names[0]), upstream: String(names[1])) : nil
                }, coldStartSeconds: row["cold_start"])
        }
    }

    private static func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

    /// Replaces all of them.
    func put(_ prices: PriceList, of provider: Int64, _ database: Database) throws {
        try database.execute(sql: "DELETE FROM prices WHERE provider = ?", arguments: [provider])
        for (position, entry) in prices.entries.enumerated() {
            let prices = entry.prices
            try database.execute(
                sql: """
                    INSERT INTO prices (provider, position, model, currency, input, cached_input, output, request, image,
                        second) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    provider, position, entry.model, prices.currency.description, prices.input, prices.cachedInput,
                    prices.output, prices.request, prices.image, prices.second,
                ])
        }
    }

    func prices(of provider: Int64, _ database: Database) throws -> PriceList {
        let rows = try Row.fetchAll(
            database, sql: "SELECT * FROM prices WHERE provider = ? ORDER BY position", arguments: [provider])
        return PriceList(
            try rows.map { row in
                guard let currency = Currency(row["currency"] as String) else { throw damaged("a price") }
                return PriceList.Entry(
                    model: row["model"],
                    prices: Prices(
                        currency: currency, input: row["input"], cachedInput: row["cached_input"],
                        output: row["output"], request: row["request"], image: row["image"], second: row["second"]))
            })
    }
}
