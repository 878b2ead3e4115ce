import GRDB
package import MeshAccounting
import MeshModel

extension MeshStore {
    /// Adds a batch, in one transaction.
    package func addUsage(_ rows: [UsageRow]) throws(StoreError) {
        try write { database in
            let statement = try database.cachedStatement(sql: Self.insertion)
            for row in rows {
                let (group, amounts) = (row.group, row.amounts)
                try statement.execute(
                    arguments: [
                        row.start, group.side.rawValue, group.kind.rawValue, group.key, group.username, group.provider,
                        group.model, group.node, group.outcome, group.currency, amounts.requests, amounts.estimated,
                        amounts.input, amounts.cached, amounts.output, amounts.images, amounts.milliseconds,
                        amounts.money,
                    ])
            }
        }
    }

    /// Minutes that are old become hours, and hours that are older are forgotten.
    package func ageUsage(now: Int64) throws(StoreError) {
        let minutes = now / 3_600 * 3_600 - Limits.usageMinuteDays * 86_400
        try write { database in
            try database.execute(
                sql: """
                    INSERT INTO usage SELECT start / 3600 * 3600, \(Self.columns), \(Self.sums) FROM usage
                        WHERE start < ?1 AND start % 3600 <> 0
                        GROUP BY start / 3600, \(Self.columns)
                    \(Self.conflict)
                    """, arguments: [minutes])
            try database.execute(
                sql: "DELETE FROM usage WHERE start < ?1 AND start % 3600 <> 0", arguments: [minutes])
            try database.execute(
                sql: "DELETE FROM usage WHERE start < ?", arguments: [now - Limits.usageDays * 86_400])
        }
    }

    /// The sums of what is asked, by bucket and group: at most `Limits.usageRows`.
    package func usage(_ query: UsageQuery) throws(StoreError) -> [UsageSum] {
        let bucket = query.width.map { "start / \($0) * \($0)" } ?? "\(query.from)"
        let groups = query.groups.map(\.rawValue)
        var arguments: [any DatabaseValueConvertible] = [query.from, query.until]
        var conditions = ""
        for filter in query.filters {
            conditions +=
                " AND \(filter.column.rawValue) IN (\(filter.values.map { _ in "?" }.joined(separator: ", ")))"
            arguments += filter.values.map { $0 as any DatabaseValueConvertible }
        }
        let keys = (["bucket"] + groups).joined(separator: ", ")
        let shown = (["\(bucket) AS bucket"] + groups + [Self.namedSums]).joined(separator: ", ")
        let sql = """
            SELECT \(shown) FROM usage WHERE start >= ? AND start < ?\(conditions)
            GROUP BY \(keys) ORDER BY \(keys) LIMIT \(Limits.usageRows)
            """
        let values = arguments
        return try read { database in
            try Row.fetchAll(database, sql: sql, arguments: StatementArguments(values)).map { row in
                UsageSum(start: row["bucket"], values: groups.map { row[$0] }, amounts: UsageAmounts(row))
            }
        }
    }

    private static let columns = UsageColumn.allCases.map(\.rawValue).joined(separator: ", ")
    private static let amounts = [
        "requests", "estimated", "input", "cached", "output", "images", "milliseconds", "money",
    ]
    private static let sums = amounts.map { "sum(\($0))" }.joined(separator: ", ")
    private static let namedSums = amounts.map { "sum(\($0)) AS \($0)" }.joined(separator: ", ")
    private static let conflict =
        "ON CONFLICT (start, \(columns)) DO UPDATE SET "
        + amounts.map { "\($0) = \($0) + excluded.\($0)" }.joined(separator: ", ")
    private static let insertion =
        "INSERT INTO usage VALUES (\([String](repeating: "?", count: 18).joined(separator: ", "))) \(conflict)"
}

extension UsageAmounts {
    fileprivate init(_ row: Row) {
        self.init()
        requests = row["requests"]
        estimated = row["estimated"]
        input = row["input"]
        cached = row["cached"]
        output = row["output"]
        images = row["images"]
        milliseconds = row["milliseconds"]
        money = row["money"]
    }
}

extension Schema {
    static let usage = """
        CREATE TABLE usage (
            start INTEGER NOT NULL,
            side TEXT NOT NULL,
            kind TEXT NOT NULL,
            key TEXT NOT NULL,
            username TEXT NOT NULL,
            provider TEXT NOT NULL,
            model TEXT NOT NULL,
            node TEXT NOT NULL,
            outcome TEXT NOT NULL,
            currency TEXT NOT NULL,
            requests INTEGER NOT NULL,
            estimated INTEGER NOT NULL,
            input INTEGER NOT NULL,
            cached INTEGER NOT NULL,
            output INTEGER NOT NULL,
            images INTEGER NOT NULL,
            milliseconds INTEGER NOT NULL,
            money INTEGER NOT NULL,
            PRIMARY KEY (start, side, kind, key, username, provider, model, node, outcome, currency)
        ) WITHOUT ROWID, STRICT;
        """
}
