package import MeshModel
import MeshWire

/// The API in whose words a buyer is answered, chosen by the route alone: errors, what shows that a quiet stream lives, and
/// how a stream ends. Routing, limits and usage see none of it.
package enum Dialect: Hashable, Sendable, CaseIterable {
    /// OpenAI's, of every route that has no other.
    case chat
    /// Anthropic's Messages.
    case messages
    /// OpenAI's Responses.
    case responses

    /// - Parameters:
    ///   - path: segments of the request's path, whatever base it has; one that leads nowhere counts, too.
    ///   - speaksAnthropic: whether the request says that it comes from a program of Anthropic's API, for routes that both
    ///     APIs have.
    package init(path: some Collection<some StringProtocol>, speaksAnthropic: Bool = false) {
        var rest = path[...]
        while let first = rest.first {
            switch first {
            case "v1", "api": rest = rest.dropFirst()
            // Of a user's scope.
            case "u": rest = rest.dropFirst(2)
            case "messages":
                self = .messages
                return
            case "responses":
                self = .responses
                return
            case "models":
                self = speaksAnthropic ? .messages : .chat
                return
            default:
                self = .chat
                return
            }
        }
        self = .chat
    }

    // MARK: Streams

    /// What stands behind the last event of a stream that is complete. Streams of Messages and of Responses say in an event of
    /// their own that they are.
    package var end: [UInt8] {
        switch self {
        case .chat: OpenAIStream.done
        case .messages, .responses: []
        }
    }

    /// The last event of a stream that broke off.
    /// - Parameter events: the last ones that were written, for the number that events of Responses have.
    package func failureEvent(_ error: MeshError, requestID: String?, after events: [UInt8] = []) -> [UInt8] {
        switch self {
        case .chat: return OpenAIStream.failure(error, requestID: requestID)
        case .messages: return EventText.event("error", MessagesError.document(error, requestID: requestID).bytes)
        case .responses:
            let number = Self.lastNumber(in: events).map { $0 + 1 } ?? 0
            return EventText.event(
                "response.failed", Self.failedResponse(error, requestID: requestID, number: number).bytes)
        }
    }

    /// What shows that a stream lives of which nothing came for a while; it may stand between any two events.
    ///
    /// A comment has one line end: a blank line behind it would be an event without data, which some programs take for one.
    /// Programs of the Responses API wait for events and not for bytes.
    /// - Parameter events: the last ones that were written, for the number that events of Responses have.
    package func keepAlive(after events: [UInt8]) -> [UInt8] {
        switch self {
        case .chat: return Array(": waiting\n".utf8)
        case .messages: return EventText.event("ping", Array(#"{"type":"ping"}"#.utf8))
        case .responses:
            let number = Self.lastNumber(in: events) ?? 0
            return EventText.event("keepalive", Array(#"{"type":"keepalive","sequence_number":\#(number)}"#.utf8))
        }
    }

    static func lastNumber(in events: [UInt8]) -> Int? {
        let name = Array("\"sequence_number\":".utf8)
        var last: Int?
        var position = 0
        while position + name.count <= events.count {
            guard events[position] == name[0], events[position...].starts(with: name) else {
                position += 1
                continue
            }
            let digits = events[(position + name.count)...].drop { $0 == 0x20 }.prefix { (0x30...0x39).contains($0) }
            if let number = Int(String(decoding: digits.prefix(12), as: UTF8.self)) { last = number }
            position += name.count
        }
        return last
    }

    private static func failedResponse(_ error: MeshError, requestID: String?, number: Int) -> JSONValue {
        [
            "type": "response.failed", "sequence_number": .integer(number),
            "response": [
                "id": .string("resp_\(AnswerMark(requestID: requestID ?? "0").text)"), "object": "response",
                "status": "failed", "output": [], "error": failedReason(error),
            ],
        ]
    }

    /// Programs go by `response.error.code`: by these words they wait, stop, or make the prompt shorter.
    static func failedReason(_ error: MeshError) -> JSONValue {
        let words: [ErrorCode: ErrorCode] = [
            .budgetExceeded: .insufficientQuota, .rateLimited: .rateLimitExceeded, .workerBusy: .rateLimitExceeded,
        ]
        let code = words[error.code] ?? error.code
        var message =
            error.code == .contextOverflow ? ContextOverflow(error.message).message(in: .responses) : error.message
        if code == .rateLimitExceeded, let seconds = error.retryAfterSeconds {
            message += "; please try again in \(seconds)s"
        }
        return ["code": .string(code.rawValue), "message": .string(message)]
    }
}
