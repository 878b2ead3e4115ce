internal import Foundation
internal import MeshModel
internal import Yams

/// A configuration file (YAML, or JSON, which YAML contains) as flat key paths with the texts of their scalars.
struct NodeConfigurationFile {
    private(set) var scalars: [NodeConfigurationKey: String] = [:]
    private(set) var lists: [NodeConfigurationKey: [String]] = [:]
    private(set) var problems: [ConfigurationProblem] = []

    /// A megabyte of configuration is a mistake, not a configuration.
    static let maximumBytes = 1 << 20

    /// The content of the file at `path`; what is wrong with it is in `problems`.
    static func read(_ path: String) -> NodeConfigurationFile {
        guard let data = FileManager.default.contents(atPath: path) else {
            var file = NodeConfigurationFile()
            let exists = FileManager.default.fileExists(atPath: path)
            file.add(path, exists ? "cannot be read: check its permissions" : "there is no such file")
            return file
        }
        return parse(Array(data), name: path)
    }

    static func parse(_ bytes: [UInt8], name: String) -> NodeConfigurationFile {
        var file = NodeConfigurationFile()
        guard bytes.count <= maximumBytes, let text = String(validating: bytes, as: UTF8.self) else {
            file.add(name, "is not a text file of at most 1 MiB")
            return file
        }
        do {
            guard let root = try Yams.compose(yaml: text) else { return file }
            switch root {
            case .mapping(let mapping): file.walk(mapping, prefix: "")
            case .scalar(let scalar) where scalar.string.isEmpty: break
            case .scalar, .sequence, .alias: file.add(name, "must be a mapping of keys to values")
            }
        } catch {
            file.add(name, "is not valid YAML or JSON: \(error)")
        }
        return file
    }

    private mutating func walk(_ mapping: Node.Mapping, prefix: String) {
        var seen: [String] = []
        for (keyNode, value) in mapping {
            guard let name = keyNode.scalar?.string else {
                add(prefix.isEmpty ? "(top)" : prefix, "has a key that is not a text")
                continue
            }
            let path = prefix.isEmpty ? name : "\(prefix).\(name)"
            if seen.contains(name) { add(path, "is given twice") }
            seen.append(name)
            take(value, at: path)
        }
    }

    private mutating func take(_ value: Node, at path: String) {
        if let key = NodeConfigurationKey(rawValue: path) {
            store(value, for: key)
        } else if NodeConfigurationKey.names.contains(where: { $0.hasPrefix("\(path).") }) {
            switch value {
            case .mapping(let mapping): walk(mapping, prefix: path)
            case .scalar(let scalar) where scalar.string.isEmpty || scalar.string == "null": break
            case .scalar, .sequence, .alias: add(path, "must be a section with keys of its own")
            }
        } else {
            add(path, "is not a configuration key" + NearName.hint(for: path, among: NodeConfigurationKey.names))
        }
    }

    private mutating func store(_ value: Node, for key: NodeConfigurationKey) {
        switch value {
        case .scalar(let scalar):
            guard !(scalar.style == .plain && (scalar.string == "null" || scalar.string == "~" || scalar.string == ""))
            else { return }
            if key.isList { lists[key] = [scalar.string] } else { scalars[key] = scalar.string }
        case .sequence(let sequence):
            guard key.isList else { return add(key.rawValue, "takes one value, not a list") }
            let texts = sequence.compactMap(\.scalar?.string)
            guard texts.count == sequence.count else { return add(key.rawValue, "must be a list of texts") }
            lists[key] = texts
        case .mapping, .alias:
            add(key.rawValue, key.isList ? "must be a list of texts" : "takes one value, not a section")
        }
    }

    private mutating func add(_ path: String, _ message: String) {
        problems.append(ConfigurationProblem(path: path, message: message))
    }
}
