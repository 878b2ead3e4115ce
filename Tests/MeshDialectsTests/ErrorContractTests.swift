import MeshDialects
import MeshModel
import MeshWire
import Testing

/// What programs are told of a failure, in the words of each dialect.
@Suite struct ErrorContractTests {
    struct Row: Sendable, CustomStringConvertible {
        var code: ErrorCode
        /// On OpenAI's routes, and on those of Messages with the type there.
        var status: Int
        var messages: (status: Int, type: String)
        /// Whether to try again, of a request that may be made twice and of one that may not.
        var retries: (Bool, Bool)
        var description: String { code.rawValue }
    }

    /// Every code has its line: a new one does not compile without.
    static let rows = ErrorCode.allCases.map { code -> Row in
        func row(
            _ status: Int, _ type: String, _ retries: (Bool, Bool), messages: Int? = nil
        ) -> Row { Row(code: code, status: status, messages: (messages ?? status, type), retries: retries) }
        let (no, yes, once) = ((false, false), (true, true), (true, false))
        return switch code {
        case .invalidRequest, .invalidJSON, .modelAmbiguous, .previousResponseNotFound, .contextOverflow:
            row(400, "invalid_request_error", no)
        case .invalidAPIKey: row(401, "authentication_error", no)
        case .insufficientScope, .accessDenied, .accountDisabled, .limitForbids, .forwardRefused:
            row(403, "permission_error", no)
        case .notFound, .modelNotFound, .endpointNotOffered: row(404, "not_found_error", no)
        case .methodNotAllowed: row(405, "invalid_request_error", no)
        case .conflict, .idempotencyNoAnswer: row(409, "invalid_request_error", no)
        case .idempotencyInProgress: row(409, "invalid_request_error", yes)
        case .idempotencyKeyReused: row(422, "invalid_request_error", no)
        case .requestTimeout: row(408, "timeout_error", yes)
        case .bodyTooLarge, .frameLimit: row(413, "request_too_large", no)
        case .headersTooLarge: row(431, "invalid_request_error", no)
        case .unsupportedEncoding: row(415, "invalid_request_error", no)
        case .misdirected: row(421, "invalid_request_error", no)
        case .rateLimited, .rateLimitExceeded: row(429, "rate_limit_error", yes)
        case .insufficientQuota: row(429, "rate_limit_error", no)
        case .budgetExceeded: row(402, "billing_error", no, messages: 429)
        case .limitUnavailable, .workerUnavailable, .nodeUnreachable, .draining: row(503, "api_error", yes)
        case .workerBusy: row(503, "overloaded_error", yes, messages: 529)
        case .clientClosed: row(499, "invalid_request_error", no)
        case .workerError, .workerBadAnswer, .workerLost, .nodeError: row(502, "api_error", once)
        case .workerTimeout: row(504, "timeout_error", once)
        case .streamInterrupted, .streamTooSlow: row(502, "api_error", no)
        case .storeFull: row(507, "api_error", no)
        case .internalError: row(500, "api_error", no)
        }
    }

    private static func field(_ name: String, _ answer: ErrorAnswer) -> String? {
        answer.fields.first { $0.name == name }?.value
    }

    @Test(arguments: rows) func everyCodeInEveryDialect(row: Row) throws {
        let error = MeshError(row.code, "words")
        for dialect in Dialect.allCases {
            for mayRepeat in [true, false] {
                let answer = dialect.answer(error, requestID: "req_1", mayRepeat: mayRepeat)
                let again = mayRepeat ? row.retries.0 : row.retries.1
                #expect(Self.field("x-should-retry", answer) == (again ? "true" : "false"), "\(row) \(dialect)")
                // Where trying again helps, when.
                #expect((Self.field("retry-after-ms", answer) != nil) == again)
                #expect((Self.field("retry-after", answer) != nil) == again)
                let document = try JSONValue.parse(answer.body)
                #expect(document["error"]?["message"]?.text?.contains("words") == true)
                switch dialect {
                case .chat, .responses:
                    #expect(answer.status == row.status)
                    #expect(document["error"]?["code"]?.text == row.code.rawValue)
                    #expect(document["error"]?["request_id"]?.text == "req_1")
                case .messages:
                    #expect(answer.status == row.messages.status)
                    #expect(document["type"]?.text == "error" && document["request_id"]?.text == "req_1")
                    #expect(document["error"]?["type"]?.text == row.messages.type, "\(row)")
                }
            }
        }
    }

    @Test func waitingForSomebodyIsBounded() {
        for (code, asked, told) in [
            (ErrorCode.workerBusy, 900, 30), (.workerUnavailable, 7, 7), (.draining, 31, 30), (.rateLimited, 1, 1),
        ] {
            let answer = Dialect.chat.answer(MeshError(code, "x", retryAfterSeconds: asked), requestID: nil)
            #expect(Self.field("retry-after", answer) == String(told))
            #expect(Self.field("retry-after-ms", answer) == String(told * 1_000))
        }
    }

    /// A budget comes back when it does, and nobody is to wait for it.
    @Test func aResetIsToldAsItIs() {
        let error = MeshError(
            .budgetExceeded, "spend limit reached", retryAfterSeconds: 40_000, retries: .init(shouldRetry: false))
        for dialect in Dialect.allCases {
            let answer = dialect.answer(error, requestID: nil)
            #expect(Self.field("retry-after", answer) == "40000" && Self.field("x-should-retry", answer) == "false")
        }
    }

    @Test func whatAWorkerSaidOfItsRequestIsFinal() {
        for (status, again) in [(400, "false"), (422, "false"), (408, "true"), (429, "true"), (500, "true")] {
            let error = MeshError(.workerError, "no", statusOverride: status)
            #expect(Self.field("x-should-retry", Dialect.chat.answer(error, requestID: nil)) == again, "\(status)")
        }
    }

    @Test(
        arguments: [
            (429, [:], true, 2_000, 2), (503, [:], true, 2_000, 2), (500, [:], true, 2_000, nil),
            (400, [:], false, nil, nil), (409, [:], false, nil, nil), (408, [:], true, 2_000, nil),
            (429, ["retry-after": "17"], true, 17_000, 17), (429, ["retry-after": "900"], false, 900_000, 900),
            (429, ["retry-after": "0.5"], true, 500, 1), (503, ["retry-after-ms": "250"], true, 250, 1),
            (500, ["x-should-retry": "false"], false, nil, nil),
            (400, ["x-should-retry": "true"], true, 2_000, nil),
            (429, ["x-should-retry": "false", "retry-after-ms": "17250", "retry-after": "18"], false, 17_250, 18),
        ] as [(Int, [String: String], Bool, Int64?, Int?)])
    func aBackendsOwnWordStands(status: Int, said: [String: String], again: Bool, wait: Int64?, seconds: Int?) {
        let names = ["retry-after", "retry-after-ms", "x-should-retry"]
        let fields = names.compactMap { name in said[name].map { HeaderField(name, $0) } }
        let contract = RetryContract(status: status, fields)
        #expect(contract == RetryContract(shouldRetry: again, afterMs: wait, afterSeconds: seconds))
    }

    @Test(
        arguments: [
            ("/v1/chat/completions", Dialect.chat), ("/v1/messages", .messages),
            ("/api/v1/messages/count_tokens", .messages),
            ("/api/u/bob/v1/messages", .messages), ("/messages", .messages), ("/v1/v1/messages", .messages),
            ("/api/u/messages/chat/completions", .chat), ("/v1/responses/resp_1", .responses), ("/v1/models", .chat),
            ("/nothing/messages", .chat), ("/", .chat), ("/api/admin/v1/users", .chat),
        ] as [(String, Dialect)])
    func theRouteChooses(path: String, dialect: Dialect) {
        #expect(Dialect(path: path.split(separator: "/")) == dialect)
    }

    @Test func modelsAreOfBoth() {
        #expect(Dialect(path: ["v1", "models"], speaksAnthropic: true) == .messages)
        #expect(Dialect(path: ["v1", "chat", "completions"], speaksAnthropic: true) == .chat)
    }

    // MARK: Streams

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test func whatShowsThatAStreamLives() {
        #expect(Self.text(Dialect.chat.keepAlive(after: [])) == ": waiting\n")
        #expect(Self.text(Dialect.messages.keepAlive(after: [])) == "event: ping\ndata: {\"type\":\"ping\"}\n\n")
        let before =
            Array(#"data: {"sequence_number":3}"#.utf8) + [10, 10] + Array(#"data: {"sequence_number": 41}"#.utf8)
        #expect(
            Self.text(Dialect.responses.keepAlive(after: before))
                == "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":41}\n\n")
    }

    @Test func aStreamBreaksOffInItsOwnWords() throws {
        let error = MeshError(.streamInterrupted, "it broke")
        #expect(
            Self.text(Dialect.messages.failureEvent(error, requestID: "req_9")) == """
                event: error
                data: {"type":"error","error":{"type":"api_error","message":"it broke","code":"stream_interrupted"},"request_id":"req_9"}


                """)
        #expect(
            Self.text(Dialect.chat.failureEvent(error, requestID: nil)).hasPrefix(
                #"data: {"error":{"message":"it broke""#))
        let failed = Self.text(Dialect.responses.failureEvent(error, requestID: "req_9"))
        #expect(failed.hasPrefix("event: response.failed\ndata: {") && failed.contains(#""code":"stream_interrupted""#))
        #expect(Dialect.messages.end.isEmpty && Self.text(Dialect.chat.end) == "data: [DONE]\n\n")
    }
}
