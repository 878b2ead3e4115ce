internal import MeshModel
internal import MeshWire
internal import Yams

/// One mapping of the file with the path to it, read key by key; what is wrong is appended to `problems`.
struct TopologySection {
    private let entries: [(key: String, value: Yams.Node)]
    private let path: String

    init(_ mapping: Yams.Node.Mapping, path: String, problems: inout [TopologyProblem]) {
        self.path = path
        var entries: [(key: String, value: Yams.Node)] = []
        for (key, value) in mapping {
            guard let key = key.scalar?.string else {
                problems.append(.init(path: path.isEmpty ? "(file)" : path, message: "has a key that is not a text"))
                continue
            }
            if entries.contains(where: { $0.key == key }) {
                problems.append(.init(path: path.isEmpty ? key : "\(path).\(key)", message: "is given twice"))
            }
            entries.append((key, value))
        }
        self.entries = entries
    }

    func report(_ key: String, _ message: String, problems: inout [TopologyProblem]) {
        problems.append(.init(path: full(key), message: message))
    }

    func refuseUnknown(besides known: [String], problems: inout [TopologyProblem]) {
        for entry in entries where !known.contains(entry.key) {
            report(entry.key, "is not known here" + NearName.hint(for: entry.key, among: known), problems: &problems)
        }
    }

    /// A required name by `NameRule`.
    func name(_ key: String, problems: inout [TopologyProblem]) -> String {
        guard value(key) != nil else {
            report(key, "is missing", problems: &problems)
            return ""
        }
        let name = text(key, default: "", problems: &problems)
        if !NameRule.isValid(name) { report(key, "must be \(NameRule.text)", problems: &problems) }
        return name
    }

    func text(_ key: String, default value: String, problems: inout [TopologyProblem]) -> String {
        guard let node = self.value(key) else { return value }
        guard let text = node.scalar?.string else {
            report(key, "must be a text", problems: &problems)
            return value
        }
        return text
    }

    func integer(
        _ key: String, default value: Int, in range: ClosedRange<Int>, problems: inout [TopologyProblem]
    ) -> Int {
        guard let node = self.value(key) else { return value }
        guard let text = node.scalar?.string, let number = Int(text), range.contains(number) else {
            report(
                key, "must be a whole number from \(range.lowerBound) to \(range.upperBound)", problems: &problems)
            return value
        }
        return number
    }

    func texts(_ key: String, problems: inout [TopologyProblem]) -> [String] {
        guard let node = value(key) else { return [] }
        guard case .sequence(let sequence) = node, sequence.count <= TopologyLimits.entries,
            sequence.allSatisfy({ $0.scalar != nil })
        else {
            report(key, "must be a list of texts", problems: &problems)
            return []
        }
        return sequence.compactMap(\.scalar?.string)
    }

    func child(
        _ key: String, problems: inout [TopologyProblem],
        body: (inout TopologySection, inout [TopologyProblem]) -> Void
    ) {
        guard let node = value(key) else { return }
        guard case .mapping(let mapping) = node else { return report(key, "must be a section", problems: &problems) }
        var section = TopologySection(mapping, path: full(key), problems: &problems)
        body(&section, &problems)
    }

    func each(
        _ key: String, problems: inout [TopologyProblem],
        body: (inout TopologySection, inout [TopologyProblem]) -> Void
    ) {
        guard let node = value(key) else { return }
        guard case .sequence(let sequence) = node, sequence.count <= TopologyLimits.entries
        else { return report(key, "must be a list", problems: &problems) }
        for (index, element) in sequence.enumerated() {
            guard case .mapping(let mapping) = element else {
                report("\(key)[\(index)]", "must be a section", problems: &problems)
                continue
            }
            var section = TopologySection(mapping, path: full("\(key)[\(index)]"), problems: &problems)
            body(&section, &problems)
        }
    }

    /// A list of documents of another kind, as they are sent on.
    func documents(_ key: String, problems: inout [TopologyProblem]) -> [JSONValue] {
        guard let node = value(key) else { return [] }
        guard case .sequence(let sequence) = node, sequence.count <= TopologyLimits.entries else {
            report(key, "must be a list", problems: &problems)
            return []
        }
        return sequence.enumerated().compactMap { index, element in
            guard case .mapping = element, let document = JSONValue(element, depth: 0) else {
                report("\(key)[\(index)]", "must be a section", problems: &problems)
                return nil
            }
            return document
        }
    }

    private func full(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    /// The value of `key`; an empty one counts as absent.
    private func value(_ key: String) -> Yams.Node? {
        guard let node = entries.first(where: { $0.key == key })?.value else { return nil }
        if case .scalar(let scalar) = node, scalar.style == .plain, ["", "~", "null"].contains(scalar.string) {
            return nil
        }
        return node
    }
}
