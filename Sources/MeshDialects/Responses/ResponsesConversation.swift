import MeshModel
import MeshWire

/// The items of a Responses request as messages of a chat.
///
/// What a model said in one turn is one message of a chat, however many items it stood in; results stand right behind it.
struct ResponsesConversation {
    private var turns = ChatTurns()
    private let tools: ResponsesTools
    /// Whose thoughts go back to it; nil where nobody knows yet who answers.
    private let model: String?

    /// What the model says in the turn that is read.
    private var texts: [String] = []
    private var calls: [JSONValue] = []
    private var thought: (field: Thought.Field, text: String)?
    private var hasSpoken = false
    /// The results of its calls, and pictures in them, which follow in the buyer's next words: results are text to a chat.
    private var results: [(call: String, text: String)] = []
    private var pictures: [JSONValue] = []

    init(model: String?, tools: ResponsesTools) {
        self.model = model
        self.tools = tools
    }

    mutating func finished() -> [JSONValue] {
        flush()
        return turns.finished()
    }

    mutating func begin(instructions: JSONValue?) {
        if let text = instructions?.text { leading = [text] }
    }

    /// System messages at the beginning are one.
    private var leading: [String] = []

    // MARK: Items

    mutating func add(_ input: JSONValue?, _ losses: inout Losses) throws(MeshError) {
        if let text = input?.text {
            turns.add(system: leading)
            return turns.add(user: [["type": "text", "text": .string(text)]])
        }
        guard let items = input?.elements, !items.isEmpty else {
            throw MeshError(
                .invalidRequest, "the body needs 'input', a text or a list with at least one item", parameter: "input")
        }
        var isLeading = true
        for (number, item) in items.enumerated() {
            let place = "input.\(number)"
            if isLeading {
                if Self.isSystem(item) {
                    leading += try Self.texts(of: item, place, &losses)
                    continue
                }
                isLeading = false
                turns.add(system: leading)
            }
            try add(item, place, &losses)
        }
        if isLeading { turns.add(system: leading) }
    }

    private static func isSystem(_ item: JSONValue) -> Bool {
        ["message", nil].contains(item["type"]?.text) && ["system", "developer"].contains(item["role"]?.text)
    }

    private mutating func add(_ item: JSONValue, _ place: String, _ losses: inout Losses) throws(MeshError) {
        switch item["type"]?.text {
        case nil where item["role"] != nil, "message": try add(message: item, place, &losses)
        case "function_call": try add(call: item, arguments: item["arguments"]?.text, place)
        case "custom_tool_call":
            guard let input = item["input"]?.text else { throw Self.unreadable("\(place).input") }
            try add(call: item, arguments: ResponsesTools.arguments(freeForm: input), place)
        case "function_call_output", "custom_tool_call_output": try add(result: item, place, &losses)
        case "reasoning": add(thought: item, &losses)
        case "item_reference":
            throw MeshError(
                .previousResponseNotFound,
                "'\(place)' names an item of an earlier response, and this node keeps none; send the item itself (store: false)",
                parameter: place)
        // What was run by whoever hosts the API, and its results, which no other model takes.
        case let kind?: losses.add("input.\(kind)")
        case nil: throw Self.unreadable("\(place).type")
        }
    }

    private mutating func add(message item: JSONValue, _ place: String, _ losses: inout Losses) throws(MeshError) {
        switch item["role"]?.text {
        case "user":
            let parts = try Self.parts(of: item, place, &losses)
            flush()
            turns.add(user: parts)
        case "assistant":
            if !results.isEmpty { flush() }
            hasSpoken = true
            texts += try Self.texts(of: item, place, &losses)
        case "system", "developer":
            let said = try Self.texts(of: item, place, &losses)
            turns.add(system: said)
        default: throw Self.unreadable("\(place).role")
        }
    }

    private mutating func add(call item: JSONValue, arguments: String?, _ place: String) throws(MeshError) {
        guard let id = item["call_id"]?.text, let name = item["name"]?.text, let arguments else {
            throw Self.unreadable("\(place).call_id")
        }
        if !results.isEmpty { flush() }
        hasSpoken = true
        let function = tools.function(name, in: item["namespace"]?.text)
        calls.append(ChatTurns.call(id: id, name: function, arguments: arguments.isEmpty ? "{}" : arguments))
    }

    private mutating func add(result item: JSONValue, _ place: String, _ losses: inout Losses) throws(MeshError) {
        guard let id = item["call_id"]?.text, let output = item["output"] else {
            throw Self.unreadable("\(place).call_id")
        }
        if let text = output.text {
            results.append((id, text))
            return
        }
        var texts: [String] = []
        for part in try Self.parts(of: ["content": output], place, &losses) {
            if let text = part["text"]?.text { texts.append(text) } else { pictures.append(part) }
        }
        results.append((id, texts.joined(separator: "\n")))
    }

    private mutating func add(thought item: JSONValue, _ losses: inout Losses) {
        let mark = item["encrypted_content"]?.text
        guard let mark, let field = Thought.field(of: mark, for: model) else {
            // One without any is only shown to people.
            if mark != nil { losses.add("reasoning") }
            return
        }
        if !results.isEmpty { flush() }
        hasSpoken = true
        let said = (item["summary"]?.elements ?? []) + (item["content"]?.elements ?? [])
        let text = said.compactMap { $0["text"]?.text }.joined()
        thought = (field, (thought?.text ?? "") + text)
    }

    /// The model's turn is over.
    private mutating func flush() {
        if hasSpoken { turns.add(assistant: texts.joined(separator: "\n"), calls: calls, thought: thought) }
        for result in results { turns.add(result: result.text, of: result.call) }
        if !pictures.isEmpty { turns.add(user: pictures) }
        (texts, calls, thought, hasSpoken, results, pictures) = ([], [], nil, false, [], [])
    }

    // MARK: Parts

    private static func texts(
        of item: JSONValue, _ place: String, _ losses: inout Losses
    ) throws(MeshError) -> [String] {
        try parts(of: item, place, &losses).compactMap { $0["text"]?.text }
    }

    private static func parts(
        of item: JSONValue, _ place: String, _ losses: inout Losses
    ) throws(MeshError) -> [JSONValue] {
        let content = item["content"]
        if let content, content.text != nil { return [["type": "text", "text": content]] }
        guard let blocks = content?.elements else { throw unreadable("\(place).content") }
        var parts: [JSONValue] = []
        for block in blocks {
            if let part = try part(block, "\(place).content", &losses) { parts.append(part) }
        }
        return parts
    }

    /// A part as a chat has it; nil for one that is left out.
    private static func part(
        _ block: JSONValue, _ place: String, _ losses: inout Losses
    ) throws(MeshError) -> JSONValue? {
        switch block["type"]?.text {
        case "input_text", "output_text", "text":
            guard let text = block["text"], text.text != nil else { throw unreadable("\(place).text") }
            return ["type": "text", "text": text]
        case "refusal": return ["type": "text", "text": .string(block["refusal"]?.text ?? "")]
        case "input_image":
            guard let url = block["image_url"], url.text != nil else { throw unreachable("picture", place) }
            var members: [JSONValue.Member] = [.init("url", url)]
            if let detail = block["detail"], detail.text != nil { members.append(.init("detail", detail)) }
            return ["type": "image_url", "image_url": .object(members)]
        case "input_file":
            guard let data = block["file_data"], data.text != nil else { throw unreachable("file", place) }
            let name = block["filename"]?.text ?? "document.pdf"
            return ["type": "file", "file": ["filename": .string(name), "file_data": data]]
        case "input_audio": return ["type": "input_audio", "input_audio": block["input_audio"] ?? .null]
        case let kind?:
            losses.add("content.\(kind)")
            return nil
        case nil: throw unreadable("\(place).type")
        }
    }

    private static func unreachable(_ what: String, _ place: String) -> MeshError {
        MeshError(
            .invalidRequest,
            "the \(what) in '\(place)' cannot be told to a worker of chat completions, and none that offers /v1/responses has this model now; send its data instead of an id or an address",
            parameter: place)
    }

    private static func unreadable(_ place: String) -> MeshError {
        MeshError(
            .invalidRequest, "'\(place)' is missing or is not what the Responses API takes there", parameter: place)
    }
}
