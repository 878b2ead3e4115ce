internal import MeshModel
internal import MeshWire
internal import Yams

/// Files that people write, in YAML or in JSON, which is YAML.
package enum YAMLFile {
    package struct Failure: Error, CustomStringConvertible {
        package var description: String
    }

    /// The same document as JSON. Of plain words only `true`, `false` and `null` are something else than text (YAML 1.2, core
    /// schema): `sticky: off` is the word off.
    package static func json(_ text: String) throws(Failure) -> [UInt8] {
        let node: Yams.Node?
        do { node = try Yams.compose(yaml: text) } catch { throw Failure(description: "\(error)") }
        guard let node else { return JSONValue.null.bytes }
        guard let value = JSONValue(node, depth: 0) else {
            throw Failure(
                description: "it has keys that are no texts, aliases, or more than \(Limits.jsonDepth) levels")
        }
        return value.bytes
    }
}

extension JSONValue {
    /// Nil for what JSON cannot say: keys that are no texts, aliases, and more levels than a document may have.
    init?(_ node: Yams.Node, depth: Int) {
        guard depth < Limits.jsonDepth else { return nil }
        switch node {
        case .scalar(let scalar): self = Self.scalar(scalar)
        case .sequence(let sequence):
            var elements: [JSONValue] = []
            for element in sequence {
                guard let value = JSONValue(element, depth: depth + 1) else { return nil }
                elements.append(value)
            }
            self = .array(elements)
        case .mapping(let mapping):
            var members: [Member] = []
            for (key, element) in mapping {
                guard let name = key.scalar?.string, let value = JSONValue(element, depth: depth + 1) else {
                    return nil
                }
                members.append(Member(name, value))
            }
            self = .object(members)
        case .alias: return nil
        }
    }

    private static func scalar(_ scalar: Yams.Node.Scalar) -> JSONValue {
        guard scalar.style == .plain else { return .string(scalar.string) }
        switch scalar.string {
        case "", "~", "null": return .null
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        default:
            guard case .number(let number)? = try? JSONValue.parse(Array(scalar.string.utf8)) else {
                return .string(scalar.string)
            }
            return .number(number)
        }
    }
}
