package import MeshModel
package import MeshWire

/// A request of OpenAI's Responses API as one of chat completions, for workers that do not offer the API itself. What has no
/// counterpart is left out and named; what an answer would be wrong without is refused.
package struct ResponsesRequest: Sendable {
    /// The chat request.
    package let document: [UInt8]
    /// Fields that could not cross, each once.
    package let warnings: [String]
    /// What its answer repeats of it, and how its tools are called.
    package let terms: ResponsesTerms

    /// Members that are this node's business, or say nothing that an answer depends on.
    private static let silent = [
        "provider", "models", "session_id", "aisbf", "metadata", "client_metadata", "prompt_cache_key",
        "stream_options",
        "input", "instructions", "tool_choice", "parallel_tool_calls", "previous_response_id", "conversation", "prompt",
        "background",
    ]

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
        try Self.refuseWhatIsKept(value)
        var losses = Losses()
        var chat = ChatDocument()
        let tools = ResponsesTools(value["tools"]?.elements ?? [], &losses)
        var conversation = ResponsesConversation(model: servedModel, tools: tools)
        conversation.begin(instructions: value["instructions"])
        try conversation.add(value["input"], &losses)
        for member in members where !Self.silent.contains(member.name) {
            if member.name == "tools" {
                tools.add(
                    choice: value["tool_choice"], parallel: value["parallel_tool_calls"], to: &chat, &losses)
            } else if member.name == "reasoning", takesEffort {
                if let effort = member.value["effort"], effort.text != nil { chat.set("reasoning_effort", effort) }
            } else {
                Self.translate(member, into: &chat, &losses)
            }
        }
        chat.set("messages", .array(conversation.finished()))
        document = chat.value.bytes
        warnings = losses.names
        terms = ResponsesTerms(value, body, tools: tools)
    }

    /// What names something that a node would have to have kept: an answer without it would be another one.
    package static func refuseWhatIsKept(_ request: JSONValue) throws(MeshError) {
        for name in ["previous_response_id", "conversation", "prompt"] {
            guard let value = request[name], value != .null else { continue }
            throw keepsNothing(name)
        }
        if request["background"]?.flag == true { throw keepsNothing("background") }
    }

    /// The same of the members of a request that passes.
    package static func refuseWhatIsKept(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) throws(MeshError) {
        for name: StaticString in ["previous_response_id", "conversation", "prompt"] {
            if let value = fields.value(name, in: bytes), value.kind != .null { throw keepsNothing("\(name)") }
        }
        if fields.boolean("background", in: bytes) == true { throw keepsNothing("background") }
    }

    private static func keepsNothing(_ name: String) -> MeshError {
        if name == "background" {
            return MeshError(
                .invalidRequest, "this node keeps no responses, so none can be made in the background", parameter: name)
        }
        return MeshError(
            .previousResponseNotFound,
            "this node keeps no responses, conversations or prompts, so '\(name)' names nothing here; send the whole conversation as 'input'",
            parameter: name)
    }

    private static func translate(
        _ member: JSONValue.Member, into chat: inout ChatDocument, _ losses: inout Losses
    ) {
        switch member.name {
        case "model", "temperature", "top_p": if member.value != .null { chat.set(member.name, member.value) }
        case "max_output_tokens": if member.value != .null { chat.set("max_tokens", member.value) }
        case "stream":
            guard member.value.flag == true else { break }
            chat.set("stream", true)
            // Programs of the API are told what was used without asking.
            chat.set("stream_options", ["include_usage": true])
        case "user", "safety_identifier":
            if member.value.text != nil, chat.value["user"] == nil { chat.set("user", member.value) }
        case "text": set(text: member.value, in: &chat, &losses)
        case "reasoning":
            if let effort = member.value["effort"], effort != .null { losses.add("reasoning.effort") }
        case "include":
            let asked = (member.value.elements ?? []).compactMap(\.text)
            if asked.contains(where: { $0 != ResponsesTerms.encryptedReasoning }) { losses.add("include") }
        // Nothing is kept, and the answer says so; who asked for it is told.
        case "store": if member.value.flag == true { losses.add("store") }
        case "truncation": if member.value.text == "auto" { losses.add("truncation") }
        case "service_tier": if ![nil, "auto", "default"].contains(member.value.text) { losses.add("service_tier") }
        default: if member.value != .null { losses.add(member.name) }
        }
    }

    private static func set(text: JSONValue, in chat: inout ChatDocument, _ losses: inout Losses) {
        if let verbosity = text["verbosity"], verbosity != .null { losses.add("text.verbosity") }
        guard let format = text["format"], format != .null else { return }
        switch format["type"]?.text {
        case "text": break
        case "json_object": chat.set("response_format", ["type": "json_object"])
        case "json_schema":
            var schema: [JSONValue.Member] = [.init("name", format["name"] ?? "answer")]
            for name in ["description", "strict", "schema"] {
                if let value = format[name], value != .null { schema.append(.init(name, value)) }
            }
            chat.set("response_format", ["type": "json_schema", "json_schema": .object(schema)])
        default: losses.add("text.format")
        }
    }
}

/// What an answer repeats of its request.
package struct ResponsesTerms: Hashable, Sendable {
    static let encryptedReasoning = "reasoning.encrypted_content"

    let tools: ResponsesTools
    /// Whether the buyer wants to send thoughts back.
    let wantsEncryptedReasoning: Bool
    /// The members of a response that say how it was asked for, as they stand in an object.
    let repeated: [UInt8]

    /// What stands there where a request says nothing.
    private static let defaults: [(name: StaticString, value: StaticString)] = [
        ("instructions", "null"), ("max_output_tokens", "null"), ("metadata", "{}"), ("parallel_tool_calls", "true"),
        ("reasoning", #"{"effort":null,"summary":null}"#), ("safety_identifier", "null"), ("temperature", "1"),
        ("text", #"{"format":{"type":"text"}}"#), ("tool_choice", #""auto""#), ("tools", "[]"), ("top_p", "1"),
        ("truncation", #""disabled""#), ("user", "null"),
    ]

    /// - Parameter body: the bytes of `request`: what is repeated is never written anew.
    init(_ request: JSONValue, _ body: [UInt8], tools: ResponsesTools) {
        self.tools = tools
        wantsEncryptedReasoning =
            request["include"]?.elements?.contains { $0.text == Self.encryptedReasoning } ?? false
        repeated = body.withUnsafeBytes { bytes in
            let fields = (try? JSONScanner.fields(of: bytes)) ?? []
            var output: [UInt8] = []
            for (name, value) in Self.defaults {
                output.append(UInt8(ascii: "\""))
                output.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
                output.append(contentsOf: "\":".utf8)
                if let said = fields.value(name, in: bytes), said.kind != .null {
                    // Line breaks between tokens would end the line of an event.
                    output.append(contentsOf: bytes[said.range].lazy.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 })
                } else {
                    output.append(
                        contentsOf: UnsafeBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
                }
                output.append(UInt8(ascii: ","))
            }
            output.append(
                contentsOf: #""background":false,"previous_response_id":null,"service_tier":"default","store":false"#
                    .utf8)
            return output
        }
    }
}
