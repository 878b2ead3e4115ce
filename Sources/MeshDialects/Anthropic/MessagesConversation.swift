import MeshModel
import MeshWire

/// The turns of a Messages request as messages of a chat.
struct MessagesConversation {
    private var turns = ChatTurns()
    /// Whose thoughts go back to it; nil where nobody knows yet who answers.
    private let model: String?

    init(model: String?) { self.model = model }

    mutating func finished() -> [JSONValue] { turns.finished() }

    // MARK: System

    mutating func begin(system: JSONValue, _ losses: inout Losses) throws(MeshError) {
        turns.add(system: try Self.texts(of: system, at: "system", &losses))
    }

    private static func texts(
        of content: JSONValue, at place: String, _ losses: inout Losses
    ) throws(MeshError) -> [String] {
        if let text = content.text { return text.isEmpty ? [] : [text] }
        guard let blocks = content.elements else {
            if content == .null { return [] }
            throw Self.unreadable(place)
        }
        var texts: [String] = []
        for block in blocks {
            losses.note(cacheMarkOf: block)
            guard block["type"]?.text == "text", let text = block["text"]?.text else { throw Self.unreadable(place) }
            if !text.isEmpty { texts.append(text) }
        }
        return texts
    }

    // MARK: Turns

    mutating func add(_ list: JSONValue?, _ losses: inout Losses) throws(MeshError) {
        guard let list = list?.elements, !list.isEmpty else {
            throw MeshError(
                .invalidRequest, "the body needs a list 'messages' with at least one message", parameter: "messages")
        }
        for (number, turn) in list.enumerated() {
            let place = "messages.\(number)"
            guard let content = turn["content"] else { throw Self.unreadable("\(place).content") }
            switch turn["role"]?.text {
            case "user": try addUser(content, place, &losses)
            case "assistant": try addAssistant(content, place, &losses)
            case "system": try addSystem(content, place, &losses)
            default: throw Self.unreadable("\(place).role")
            }
        }
    }

    private mutating func addSystem(
        _ content: JSONValue, _ place: String, _ losses: inout Losses
    ) throws(MeshError) {
        turns.add(system: try Self.texts(of: content, at: turns.isEmpty ? "system" : place, &losses))
    }

    private mutating func addUser(
        _ content: JSONValue, _ place: String, _ losses: inout Losses
    ) throws(MeshError) {
        if content.text != nil { return turns.add(user: [["type": "text", "text": content]]) }
        guard let blocks = content.elements else { throw Self.unreadable("\(place).content") }
        var parts: [JSONValue] = []
        // Results stand right behind the turn that asked for them, whatever else its answer says.
        for block in blocks {
            losses.note(cacheMarkOf: block)
            if block["type"]?.text == "tool_result" {
                try addResult(block, place, pictures: &parts, &losses)
            } else if let part = try Self.part(block, place, &losses) {
                parts.append(part)
            }
        }
        if parts.isEmpty, !blocks.contains(where: { $0["type"]?.text == "tool_result" }) {
            parts = [["type": "text", "text": ""]]
        }
        turns.add(user: parts)
    }

    /// A result is text to a chat: its pictures follow in the buyer's next words.
    private mutating func addResult(
        _ block: JSONValue, _ place: String, pictures: inout [JSONValue], _ losses: inout Losses
    ) throws(MeshError) {
        guard let id = block["tool_use_id"]?.text else { throw Self.unreadable("\(place).content.tool_use_id") }
        var texts: [String] = []
        if let text = block["content"]?.text { texts.append(text) }
        for inner in block["content"]?.elements ?? [] {
            losses.note(cacheMarkOf: inner)
            guard let part = try Self.part(inner, place, &losses) else { continue }
            if let text = part["text"]?.text { texts.append(text) } else { pictures.append(part) }
        }
        let isError = block["is_error"]?.flag == true
        let text = (isError ? "Error: " : "") + texts.joined(separator: "\n")
        turns.add(result: text, of: id)
    }

    // MARK: Blocks

    /// A block of the buyer's; nil for one that is left out.
    private static func part(
        _ block: JSONValue, _ place: String, _ losses: inout Losses
    ) throws(MeshError) -> JSONValue? {
        switch block["type"]?.text {
        case "text":
            guard let text = block["text"], text.text != nil else { throw unreadable("\(place).content.text") }
            if let quoted = block["citations"]?.elements, !quoted.isEmpty { losses.add("citations") }
            return ["type": "text", "text": text]
        case "image":
            return ["type": "image_url", "image_url": ["url": .string(try address(of: block, "image", place))]]
        case "document":
            if block["citations"]?["enabled"]?.flag == true { losses.add("citations") }
            return try document(block, place, &losses)
        case let kind?:
            losses.add("content.\(kind)")
            return nil
        case nil: throw unreadable("\(place).content.type")
        }
    }

    private static func address(of block: JSONValue, _ what: String, _ place: String) throws(MeshError) -> String {
        let source = block["source"]
        switch source?["type"]?.text {
        case "base64":
            if let type = source?["media_type"]?.text, let data = source?["data"]?.text {
                return "data:\(type);base64,\(data)"
            }
        case "url": if let url = source?["url"]?.text { return url }
        default: break
        }
        throw MeshError(
            .invalidRequest,
            "the source of the \(what) in \(place) cannot be told to a worker of chat completions, and none that offers /v1/messages has this model now; send it as base64",
            parameter: place)
    }

    private static func document(
        _ block: JSONValue, _ place: String, _ losses: inout Losses
    ) throws(MeshError) -> JSONValue {
        let source = block["source"]
        let title = block["title"]?.text
        if source?["type"]?.text == "text", let text = source?["data"]?.text {
            return ["type": "text", "text": .string((title.map { "\($0)\n\n" } ?? "") + text)]
        }
        if source?["type"]?.text == "content" {
            let content = source?["content"] ?? .null
            return [
                "type": "text", "text": .string(try texts(of: content, at: place, &losses).joined(separator: "\n")),
            ]
        }
        guard source?["type"]?.text == "base64" else {
            _ = try address(of: ["source": .null], "document", place); return .null
        }
        let address = try address(of: block, "document", place)
        return ["type": "file", "file": ["filename": .string(title ?? "document.pdf"), "file_data": .string(address)]]
    }

    // MARK: The model's turns

    private mutating func addAssistant(
        _ content: JSONValue, _ place: String, _ losses: inout Losses
    ) throws(MeshError) {
        if let text = content.text { return turns.add(assistant: text, calls: [], thought: nil) }
        guard let blocks = content.elements else { throw Self.unreadable("\(place).content") }
        var texts: [String] = []
        var calls: [JSONValue] = []
        var thought: (field: Thought.Field, text: String)?
        for block in blocks {
            losses.note(cacheMarkOf: block)
            switch block["type"]?.text {
            case "text": texts.append(block["text"]?.text ?? "")
            case "tool_use":
                guard let id = block["id"]?.text, let name = block["name"]?.text else {
                    throw Self.unreadable("\(place).content.id")
                }
                // One that was no JSON came as text.
                let input = block["input"] ?? [:]
                let arguments = input.text ?? String(decoding: input.bytes, as: UTF8.self)
                calls.append(ChatTurns.call(id: id, name: name, arguments: arguments))
            case "thinking":
                // What another model thought is nothing that this one can be given.
                guard let text = block["thinking"]?.text, let mark = block["signature"]?.text,
                    let field = Thought.field(of: mark, for: model)
                else {
                    losses.add("thinking")
                    continue
                }
                thought = (field, (thought?.text ?? "") + text)
            case "redacted_thinking": losses.add("thinking")
            case let kind?: losses.add("content.\(kind)")
            case nil: throw Self.unreadable("\(place).content.type")
            }
        }
        turns.add(assistant: texts.joined(separator: "\n"), calls: calls, thought: thought)
    }

    private static func unreadable(_ place: String) -> MeshError {
        MeshError(
            .invalidRequest, "'\(place)' is missing or is not what the Messages API takes there", parameter: place)
    }
}
