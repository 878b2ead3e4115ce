import Foundation
package import MeshUpstream
import MeshWire
import NIOCore

/// A backend without a model: deterministic text at a set speed, so that a mesh can be tried and tested on a machine
/// that has none. Its answers say what it is.
package struct DemoBackend: Backend {
    package let models: [String]
    package let tokensPerSecond: Int
    package let faults: DemoFaults
    package var name: String { "the demo backend" }

    /// - Parameter tokensPerSecond: 0 = as fast as possible.
    package init(models: [String] = ["demo-chat"], tokensPerSecond: Int = 50, faults: DemoFaults = DemoFaults()) {
        self.models = models
        self.tokensPerSecond = tokensPerSecond
        self.faults = faults
    }

    package func perform(
        _ request: BackendRequest, deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        switch (request.method, request.path) {
        case ("GET", "/models"):
            let list = models.map { model -> JSONValue in
                [
                    "id": .string(model), "object": "model", "created": 0, "owned_by": "aisbf-demo",
                    "context_length": 8192,
                ]
            }
            try await answer(200, ["object": "list", "data": .array(list)], deliver)
        case ("POST", "/chat/completions"):
            try await chat(request, deliver)
        default: try await media(request, deliver)
        }
    }

    func answer(
        _ status: Int, _ document: JSONValue, _ deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        try await deliver(.head(status: status, headers: [], contentType: "application/json"))
        try await deliver(.body(ByteBuffer(bytes: document.bytes)))
    }

    func refuse(
        _ status: Int, _ code: String, _ message: String, _ deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        let type = status < 500 ? "invalid_request_error" : "server_error"
        try await answer(status, errorDocument(message: message, type: type, code: code), deliver)
    }

    private func chat(
        _ request: BackendRequest, _ deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        if let status = faults.errorStatus {
            return try await refuse(status, "demo_fault", "the demo backend was told to fail with \(status)", deliver)
        }
        if faults.garbage {
            try await deliver(.head(status: 200, headers: [], contentType: "application/json"))
            return try await deliver(.body(ByteBuffer(string: "{\"choices\":[{\"mess")))
        }
        let body: JSONValue
        do { body = try JSONValue.parse(request.body.map { Array($0.readableBytesView) } ?? []) } catch {
            return try await refuse(400, "invalid_json", "the body is not JSON: \(error.description)", deliver)
        }
        guard let model = body["model"]?.text, models.contains(model) else {
            let names = models.joined(separator: ", ")
            return try await refuse(404, "model_not_found", "the demo backend has these models: \(names)", deliver)
        }
        guard let messages = body["messages"]?.elements, !messages.isEmpty else {
            return try await refuse(400, "invalid_request", "messages must be a list that is not empty", deliver)
        }
        let reply = DemoReply(body: body, model: model, messages: messages)
        if body["stream"]?.flag == true {
            try await stream(reply, deliver)
        } else {
            if tokensPerSecond > 0 { try await pause(tokens: reply.tokens.count) }
            try await answer(200, reply.document, deliver)
        }
    }

    private func stream(_ reply: DemoReply, _ deliver: @Sendable (BackendPart) async throws -> Void) async throws {
        try await deliver(.head(status: 200, headers: [], contentType: "text/event-stream"))
        func send(_ document: JSONValue) async throws {
            try await deliver(.body(ByteBuffer(bytes: Array("data: ".utf8) + document.bytes + Array("\n\n".utf8))))
        }
        try await send(reply.chunk(delta: ["role": "assistant", "content": ""], finish: nil))
        for token in reply.tokens {
            if tokensPerSecond > 0 { try await pause(tokens: 1) } else { try Task.checkCancellation() }
            try await send(reply.chunk(delta: ["content": .string(token)], finish: nil))
        }
        try await send(reply.chunk(delta: [:], finish: reply.finishReason))
        if reply.includesUsage { try await send(reply.usageChunk) }
        try await deliver(.body(ByteBuffer(string: "data: [DONE]\n\n")))
    }

    private func pause(tokens: Int) async throws {
        try await Task.sleep(for: .nanoseconds(tokens * (1_000_000_000 / tokensPerSecond)))
    }
}

/// The text of one demo answer and its OpenAI shapes. Equal requests get equal text.
struct DemoReply {
    let id: String
    let model: String
    let tokens: [String]
    let finishReason: String
    let includesUsage: Bool
    private let created: Int64
    private let promptTokens: Int

    init(body: JSONValue, model: String, messages: [JSONValue]) {
        self.model = model
        id = "chatcmpl-demo-" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "").prefix(24)
        created = Int64(Date().timeIntervalSince1970)
        let said = Self.text(of: messages.last { $0["role"]?.text == "user" })
        let whole =
            "This is the demo backend of AISBF Mesh: no model has thought about this answer. "
            + "You said: \(said.prefix(2_000))"
        // Whoever gets the beginning of an answer goes on with it.
        let begun = messages.last.flatMap { $0["role"]?.text == "assistant" ? Self.text(of: $0) : nil } ?? ""
        let text = whole.hasPrefix(begun) ? whole.dropFirst(begun.count) : whole[...]
        var words: [String] = []
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            words.append(words.isEmpty ? String(word) : " " + word)
        }
        let limit = (body["max_completion_tokens"] ?? body["max_tokens"])?.integer.map { Int(clamping: max($0, 1)) }
        finishReason = words.count > limit ?? .max ? "length" : "stop"
        tokens = Array(words.prefix(limit ?? .max))
        includesUsage = body["stream_options"]?["include_usage"]?.flag == true
        promptTokens = messages.reduce(0) { $0 + Self.text(of: $1).split(separator: " ").count }
    }

    /// A message's content is text, or a list of parts of which some are text.
    private static func text(of message: JSONValue?) -> String {
        if let text = message?["content"]?.text { return text }
        return (message?["content"]?.elements ?? []).compactMap { $0["text"]?.text }.joined(separator: " ")
    }

    private var usage: JSONValue {
        [
            "prompt_tokens": .integer(promptTokens), "completion_tokens": .integer(tokens.count),
            "total_tokens": .integer(promptTokens + tokens.count),
        ]
    }

    var document: JSONValue {
        [
            "id": .string(id), "object": "chat.completion", "created": .integer(created), "model": .string(model),
            "choices": [
                [
                    "index": 0, "message": ["role": "assistant", "content": .string(tokens.joined())],
                    "logprobs": nil, "finish_reason": .string(finishReason),
                ]
            ],
            "usage": usage,
        ]
    }

    func chunk(delta: JSONValue, finish: String?) -> JSONValue {
        chunk(choices: [["index": 0, "delta": delta, "logprobs": nil, "finish_reason": .optional(finish)]], usage: nil)
    }

    var usageChunk: JSONValue { chunk(choices: [], usage: usage) }

    private func chunk(choices: JSONValue, usage: JSONValue?) -> JSONValue {
        var members: [JSONValue.Member] = [
            .init("id", .string(id)), .init("object", "chat.completion.chunk"), .init("created", .integer(created)),
            .init("model", .string(model)), .init("choices", choices),
        ]
        if let usage { members.append(.init("usage", usage)) }
        return .object(members)
    }
}

/// OpenAI's error object.
func errorDocument(message: String, type: String, code: String) -> JSONValue {
    ["error": ["message": .string(message), "type": .string(type), "param": nil, "code": .string(code)]]
}
