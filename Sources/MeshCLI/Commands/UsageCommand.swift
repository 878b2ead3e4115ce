internal import ArgumentParser

/// What was used at this node, and what its providers did.
struct UsageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage", abstract: "What was used: requests, tokens and money; or what your providers did.")

    enum By: String, CaseIterable, ExpressibleByArgument {
        case key
        case user
        case provider
        case model
        case node
        case kind
        case outcome
    }

    @Option(help: "What it is kept apart by: key, user, provider, model, node, kind, outcome.") var by = By.model
    @Option(
        help: "From when on: a day or month of UTC such as 2026-11-29, or seconds since 1970 (default: this month).")
    var since: String?
    @Option(help: "Until before when (default: now).") var until: String?
    @Flag(help: "What the providers of this node did, for whomever, in place of what its buyers used.")
    var seller = false
    @Flag(help: "Print comma-separated values in place of a table.") var csv = false
    @OptionGroup var admin: AdminOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var query = ["by=\(by.rawValue)"]
        for (name, value) in [("since", since), ("until", until)] {
            if let value { query.append("\(name)=\(AdminClient.segment(value))") }
        }
        if seller { query.append("side=seller") }
        let answer = try await admin.client().get("usage?\(query.joined(separator: "&"))")
        if output.json { return Console.print(answer.pretty) }
        let rows = answer["data"]?.elements ?? []
        if csv { return Console.print(Self.csv(rows, by: by.rawValue, seller: seller)) }
        Console.print(
            rows.isEmpty ? "Nothing was used in this time." : Self.table(rows, by: by.rawValue, seller: seller).text)
    }

    private static let columns = [
        "requests", "served", "input_tokens", "cached_tokens", "output_tokens", "estimated_requests", "images",
        "request_ms",
    ]

    /// One line for each currency would tear a row apart: they stand beside each other.
    private static func pairs(_ value: JSONValue?) -> String {
        guard case .object(let members)? = value else { return "" }
        return members.keys.sorted().map { "\($0) \(members[$0]?.cell ?? "")" }.joined(separator: "; ")
    }

    private static func table(_ rows: [JSONValue], by: String, seller: Bool) -> Table {
        var table = Table([
            by.uppercased(), "REQUESTS", "SERVED", "INPUT", "CACHED", "OUTPUT", seller ? "EARNED" : "COST",
            "NOT SERVED",
        ])
        table.rows = rows.map { row in
            [row[by]?.cell ?? ""]
                + ["requests", "served", "input_tokens", "cached_tokens", "output_tokens"].map { row[$0]?.cell ?? "" }
                + [pairs(row[seller ? "earnings" : "cost"]), pairs(row["failed"])]
        }
        return table
    }

    /// RFC 4180. A name that a spreadsheet would take for a formula gets a quote in front of it.
    static func csv(_ rows: [JSONValue], by: String, seller: Bool) -> String {
        let money = seller ? "earnings" : "cost"
        let head = ([by] + columns + [money, "failed"]).joined(separator: ",")
        let lines = rows.map { row in
            ([row[by]?.cell ?? ""] + columns.map { row[$0]?.cell ?? "" } + [pairs(row[money]), pairs(row["failed"])])
                .map(field).joined(separator: ",")
        }
        return ([head] + lines).joined(separator: "\n")
    }

    private static func field(_ text: String) -> String {
        var text = Table.printable(text)
        if let first = text.first, "=+-@".contains(first) { text = "'" + text }
        guard text.contains(where: { ",\"\n".contains($0) }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }
}
