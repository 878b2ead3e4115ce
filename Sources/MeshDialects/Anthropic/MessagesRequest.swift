package import MeshModel
import MeshWire

/// A request of Anthropic's Messages API as one of chat completions, for workers that do not offer the API itself. What has
/// no counterpart is left out and named; what an answer would be wrong without is refused.
package struct MessagesRequest: Sendable {
    /// The chat request.
    package let document: [UInt8]
    /// Fields that could not cross, each once.
    package private(set) var warnings: [String] = []
    /// Sequences that the buyer wants to be told of.
    package let stopSequences: [String]

    /// Members that are this node's business: they were read before, and no worker gets them.
    private static let own = ["provider", "models", "session_id", "aisbf"]

    /// - Parameters:
    ///   - servedModel: the model as whoever answers calls it; nil where that is not known yet.
    ///   - takesEffort: whether whoever answers says that it takes `reasoning_effort`.
    /// - Throws: `MeshError` that names what is wrong, or cannot be told to a worker of chat completions.
    package init(_ body: [UInt8], servedModel: String? = nil, takesEffort: Bool = false) throws(MeshError) {
        let value: JSONValue
        do throws(JSONScanError) { value = try JSONValue.parse(body) } catch {
            throw MeshError(.invalidJSON, "the request body is not a valid JSON object: \(error.description)")
        }
        guard let members = value.members else {
            throw MeshError(.invalidJSON, "the request body is not a valid JSON object")
        }
        var losses = Losses()
        var chat = ChatDocument()
        stopSequences = (value["stop_sequences"]?.elements ?? []).compactMap(\.text)
        var conversation = MessagesConversation(model: servedModel)
        if let system = value["system"] { try conversation.begin(system: system, &losses) }
        try conversation.add(value["messages"], &losses)
        for member in members where !Self.own.contains(member.name) {
            Self.translate(member, of: value, takesEffort: takesEffort, into: &chat, &losses)
        }
        if takesEffort, let effort = Self.effort(value) { chat.set("reasoning_effort", .string(effort)) }
        chat.set("messages", .array(conversation.finished()))
        document = chat.value.bytes
        warnings = losses.names
    }

    private static func translate(
        _ member: JSONValue.Member, of request: JSONValue, takesEffort: Bool, into chat: inout ChatDocument,
        _ losses: inout Losses
    ) {
        switch member.name {
        case "messages", "system": break
        case "model", "temperature", "top_p", "max_tokens": chat.set(member.name, member.value)
        case "stream":
            chat.set("stream", member.value)
            // Programs of the API are told what was used without asking.
            if member.value.flag == true { chat.set("stream_options", ["include_usage": true]) }
        case "stop_sequences": if member.value.elements?.isEmpty == false { chat.set("stop", member.value) }
        case "metadata":
            if let user = member.value["user_id"]?.text { chat.set("user", .string(user)) }
        case "tools": chat.set(tools: member.value.elements ?? [], choice: request["tool_choice"], &losses)
        case "tool_choice": break
        case "output_config", "output_format": chat.set(output: member, takesEffort: takesEffort, &losses)
        case "thinking": if member.value["type"]?.text != "disabled", !takesEffort { losses.add("thinking") }
        default: if member.value != .null { losses.add(member.name) }
        }
    }

    /// How much a model is to think, in the words of a chat: as the request says it, or by the tokens that it may take. Nil where
    /// it says nothing, or that it is not to.
    private static func effort(_ request: JSONValue) -> String? {
        let asked = request["output_config"]?["effort"]?.text
        let words = ["low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"]
        if let asked, let word = words[asked] { return word }
        switch request["thinking"]?["type"]?.text {
        case "adaptive": return "medium"
        case "enabled":
            let budget = request["thinking"]?["budget_tokens"]?.integer ?? 0
            return budget < 4_096 ? "low" : budget < 16_384 ? "medium" : "high"
        default: return nil
        }
    }
}

extension ChatDocument {
    fileprivate mutating func set(tools: [JSONValue], choice: JSONValue?, _ losses: inout Losses) {
        var functions: [JSONValue] = []
        for tool in tools {
            losses.note(cacheMarkOf: tool)
            // Tools of a kind of their own are run by Anthropic, or have a form that only its models know.
            guard let name = tool["name"]?.text, [nil, "custom"].contains(tool["type"]?.text) else {
                losses.add("tools")
                continue
            }
            var function: [JSONValue.Member] = [.init("name", .string(name))]
            if let about = tool["description"], about.text != nil { function.append(.init("description", about)) }
            function.append(.init("parameters", tool["input_schema"] ?? ["type": "object", "properties": [:]]))
            if let strict = tool["strict"], strict.flag != nil { function.append(.init("strict", strict)) }
            functions.append(["type": "function", "function": .object(function)])
        }
        guard !functions.isEmpty else { return }
        set("tools", .array(functions))
        guard let choice else { return }
        if choice["disable_parallel_tool_use"]?.flag == true { set("parallel_tool_calls", false) }
        switch choice["type"]?.text {
        case "auto": set("tool_choice", "auto")
        case "any": set("tool_choice", "required")
        case "none": set("tool_choice", "none")
        case "tool":
            guard let name = choice["name"]?.text else { return losses.add("tool_choice") }
            set("tool_choice", ["type": "function", "function": ["name": .string(name)]])
        default: losses.add("tool_choice")
        }
    }

    fileprivate mutating func set(output: JSONValue.Member, takesEffort: Bool, _ losses: inout Losses) {
        let format = output.name == "output_format" ? output.value : output.value["format"] ?? .null
        if output.name == "output_config", output.value["effort"] != nil, !takesEffort {
            losses.add("output_config.effort")
        }
        guard format != .null else { return }
        guard format["type"]?.text == "json_schema", let schema = format["schema"] else {
            return losses.add(output.name)
        }
        set(
            "response_format",
            ["type": "json_schema", "json_schema": ["name": "answer", "strict": true, "schema": schema]])
    }
}
