import MeshModel
import MeshWire

/// The messages of a chat, as they are put together of another API's turns.
struct ChatTurns {
    private var messages: [JSONValue] = []
    /// What a system message in the middle says: many templates take one at the beginning only, so it goes in front of the
    /// buyer's next words.
    private var pendingSystem: [JSONValue] = []
    /// What was thought before the message of that number.
    private var thoughts: [(message: Int, field: Thought.Field, text: String)] = []

    var isEmpty: Bool { messages.isEmpty }

    /// - Parameter texts: of one or more system messages.
    mutating func add(system texts: [String]) {
        let texts = texts.filter { !$0.isEmpty }
        guard messages.isEmpty else {
            pendingSystem += texts.map { ["type": "text", "text": .string($0)] }
            return
        }
        if !texts.isEmpty { messages.append(["role": "system", "content": .string(texts.joined(separator: "\n\n"))]) }
    }

    /// - Parameter parts: as a chat has them.
    mutating func add(user parts: [JSONValue]) {
        let all = pendingSystem + parts
        pendingSystem = []
        guard let first = all.first else { return }
        let isPlain = all.count == 1 && first["type"]?.text == "text"
        messages.append(["role": "user", "content": isPlain ? first["text"] ?? "" : .array(all)])
    }

    mutating func add(result text: String, of call: String) {
        messages.append(["role": "tool", "tool_call_id": .string(call), "content": .string(text)])
    }

    mutating func add(assistant text: String, calls: [JSONValue], thought: (field: Thought.Field, text: String)?) {
        var members: [JSONValue.Member] = [.init("role", "assistant")]
        members.append(.init("content", text.isEmpty && !calls.isEmpty ? .null : .string(text)))
        if !calls.isEmpty { members.append(.init("tool_calls", .array(calls))) }
        if let thought { thoughts.append((messages.count, thought.field, thought.text)) }
        messages.append(.object(members))
    }

    static func call(id: String, name: String, arguments: String) -> JSONValue {
        [
            "id": .string(id), "type": "function",
            "function": ["name": .string(name), "arguments": .string(arguments)],
        ]
    }

    /// All of them. Of thoughts only those of the turn under way: what was thought before the buyer's last words, templates
    /// leave out, and some servers refuse.
    mutating func finished() -> [JSONValue] {
        // Nobody speaks behind it any more.
        if !pendingSystem.isEmpty { add(user: []) }
        let last = messages.lastIndex { $0["role"]?.text == "user" } ?? -1
        for thought in thoughts where thought.message > last {
            guard case .object(var members) = messages[thought.message] else { continue }
            members.append(.init(thought.field.rawValue, .string(thought.text)))
            messages[thought.message] = .object(members)
        }
        return messages
    }
}
