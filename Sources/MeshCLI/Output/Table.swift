/// Rows under headings, columns as wide as their widest cell.
package struct Table: Sendable {
    package var headings: [String]
    package var rows: [[String]] = []

    package init(_ headings: [String], rows: [[String]] = []) {
        self.headings = headings
        self.rows = rows
    }

    /// Lines without trailing blanks; control characters are shown as `?`, for names come from other nodes.
    package var text: String {
        let all = [headings] + rows.map { $0.map(Self.printable) }
        var widths = [Int](repeating: 0, count: headings.count)
        for row in all {
            for (column, cell) in row.prefix(widths.count).enumerated() {
                widths[column] = max(widths[column], cell.count)
            }
        }
        return all.map { row in
            var line = ""
            for (column, cell) in row.prefix(widths.count).enumerated() {
                line += cell
                if column < widths.count - 1 { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
            }
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }

    /// `text` without the characters that would move the cursor or colour the terminal.
    package static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) ? "?" : scalar
                }))
    }
}

/// Which fields of the admin API's objects a table shows, under which headings.
struct TableLayout {
    var columns: [(heading: String, value: @Sendable (JSONValue) -> String)]

    init(_ columns: [(String, String)]) {
        self.columns = columns.map { heading, key in (heading, { LocalTime.cell($0[key], key: key) }) }
    }

    init(computed columns: [(heading: String, value: @Sendable (JSONValue) -> String)]) { self.columns = columns }

    func table(_ rows: [JSONValue]) -> Table {
        Table(columns.map(\.heading), rows: rows.map { row in columns.map { $0.value(row) } })
    }
}
