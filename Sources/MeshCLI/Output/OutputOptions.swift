internal import ArgumentParser

struct OutputOptions: ParsableArguments {
    @Flag(help: "Print JSON instead of a table.")
    var json = false

    /// The list under `key` as a table, or the whole answer as JSON.
    func printList(_ answer: JSONValue, key: String, _ layout: TableLayout, empty: String) {
        if json { return Console.print(answer.pretty) }
        let rows = answer[key]?.elements ?? []
        Console.print(rows.isEmpty ? empty : layout.table(rows).text)
    }

    /// The members of an object, one per line in the order of `fields`, or JSON.
    func printObject(_ answer: JSONValue, fields: [(String, String)]) {
        if json { return Console.print(answer.pretty) }
        let width = fields.map { $0.0.count }.max() ?? 0
        for (label, key) in fields {
            guard let value = answer[key] else { continue }
            let padding = String(repeating: " ", count: width - label.count + 2)
            Console.print("\(label)\(padding)\(Table.printable(LocalTime.cell(value, key: key)))")
        }
    }
}
