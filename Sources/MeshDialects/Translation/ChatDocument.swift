import MeshModel
import MeshWire

/// Names of fields that could not cross.
struct Losses {
    private(set) var names: [String] = []

    mutating func add(_ name: String) {
        let isPlain =
            (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F || $0 == 0x2E
            }
        let told = isPlain ? name : "other"
        if !names.contains(told), names.count < Limits.translationWarnings { names.append(told) }
    }

    /// Where text is kept for a backend is its own affair: what it leaves out is no part of an answer.
    mutating func note(cacheMarkOf block: JSONValue) {
        if let mark = block["cache_control"], mark != .null { add("cache_control") }
    }
}

/// The members of a chat request, in the order they are set.
struct ChatDocument {
    private var members: [JSONValue.Member] = []

    var value: JSONValue { .object(members) }

    mutating func set(_ name: String, _ value: JSONValue) { members.append(.init(name, value)) }
}
