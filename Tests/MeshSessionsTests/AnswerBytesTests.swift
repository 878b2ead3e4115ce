import MeshDialects
import MeshModel
import MeshWire
import Testing

@testable import MeshSessions

/// Answers of endpoints that give whatever they give: JSON, a picture, a film.
@Suite struct AnswerBytesTests {
    private static func reply(_ rest: String) -> String { #"{"request_id":"q1000000","status":"ok",\#(rest)}"# }
    private static let start = reply(
        #""event":"start","payload":{"status_code":200,"content_type":"video/mp4","length":6,"headers":{"ETag":"x"}}"#)
    private static let startWithoutLength = reply(
        #""event":"start","payload":{"status_code":200,"content_type":"video/mp4"}"#)
    private static let done = reply(#""event":"done""#)

    struct Row: Sendable {
        var frames: [String]
        var outcome: Outcome

        init(_ frames: [String], _ outcome: Outcome) {
            self.frames = frames
            self.outcome = outcome
        }
    }

    static let rows: [Row] = [
        Row(
            [reply(#""payload":{"status_code":201,"content_type":"image/png","body_base64":"aGVsbG8="}"#)],
            Outcome(head: "201 image/png", body: "hello")),
        Row(
            [reply(#""payload":{"status_code":200,"headers":{"Content-Type":"text/csv"},"body":"a,b"}"#)],
            Outcome(head: "200 text/csv", body: "a,b")),
        Row(
            [reply(#""payload":{"object":"list"}"#)], Outcome(head: "200 application/json", body: #"{"object":"list"}"#)
        ),
        Row(
            [
                reply(#""event":"chunk","payload":{"data_base64":"aGVs","content_type":"audio/mpeg"}"#),
                reply(#""event":"progress","payload":{"percent":50}"#),
                reply(#""event":"log","payload":{"chunk":"half"}"#),
                reply(#""event":"chunk","payload":{"data_base64":"bG8="}"#), done,
            ], Outcome(head: "200 audio/mpeg", body: "hello")),
        Row(
            [reply(#""event":"output","payload":{"encoding":"base64","data":"aGVsbG8="}"#), done],
            Outcome(head: "200 application/octet-stream", body: "hello")),
        Row(
            [
                reply(#""event":"progress","payload":{"percent":50}"#),
                reply(#""event":"completed","payload":{"status_code":200,"content_type":"text/plain","body":"hello"}"#),
            ], Outcome(head: "200 text/plain", body: "hello")),
        Row(
            [start, reply(#""event":"chunk","payload":{"chunk":"abcdef"}"#), done],
            Outcome(head: "200 video/mp4", body: "abcdef")),
        Row([done], Outcome(failure: .workerBadAnswer)),
        Row([reply(#""event":"start","payload":{"status_code":101}"#)], Outcome(failure: .workerBadAnswer)),
        Row(
            [reply(#""payload":{"status_code":404,"body":{"error":"no such file"}}"#)],
            AnswerFormTests.refused(404, "no such file", type: "invalid_request_error")),
        // An endpoint's own document is none of this node's affair.
        Row(
            [reply(#""payload":{"status_code":409,"body":{"message":"taken"}}"#)],
            Outcome(head: "409 application/json", body: #"{"message":"taken"}"#)),
        Row(
            [reply(#""payload":{"status_code":500,"content_type":"text/plain","body":"sorry"}"#)],
            Outcome(head: "500 text/plain", body: "sorry")),
        Row(
            [reply(#""payload":{"status_code":503,"body":{"error":"x","code":"busy"}}"#)], Outcome(failure: .workerBusy)
        ),
        // Without a type.
        Row(
            [reply(#""payload":{"status_code":200,"body_base64":"aGVsbG8="}"#)],
            Outcome(head: "200 application/octet-stream", body: "hello")),
        Row(
            [reply(#""payload":{"status_code":200,"body":"[music] hello"}"#)],
            Outcome(head: "200 text/plain", body: "[music] hello")),
        Row(
            [reply(#""payload":{"status_code":200,"body":"[1]"}"#)],
            Outcome(head: "200 application/json", body: "[1]")),
        Row([reply(#""payload":{"status_code":200,"body":"{\"cut"}"#)], Outcome(failure: .workerBadAnswer)),
        Row(
            [reply(#""payload":{"status_code":200,"headers":{"CONTENT-TYPE":"text/csv"},"body":"a,b"}"#)],
            Outcome(head: "200 text/csv", body: "a,b")),
        Row([reply(#""payload":{"status_code":204}"#)], Outcome(head: "200 text/plain", body: "")),
        // Objects in chunks are the endpoint's JSON, and no events.
        Row(
            [reply(#""event":"output","payload":{"created": 1}"#), done],
            Outcome(head: "200 application/json", body: #"{"created": 1}"#)),
        Row([reply(#""event":"chunk","payload":"a,b""#), done], Outcome(head: "200 text/plain", body: "a,b")),
        Row(
            [reply(#""event":"chunk","payload":"data: 1\n\n""#), done],
            Outcome(head: "200 text/event-stream", body: "data: 1\n\n")),
        // The answer in the event that ends the work.
        Row(
            [
                reply(#""event":"progress","payload":{"percent":50}"#),
                reply(#""event":"done","payload":{"url":"/f/1"}"#),
            ],
            Outcome(head: "200 application/json", body: #"{"url":"/f/1"}"#)),
        Row(
            [reply(#""event":"done","payload":{"message":"finished","usage":{}}"#)], Outcome(failure: .workerBadAnswer)),
    ]

    @Test(arguments: rows) func forms(row: Row) {
        #expect(Outcome(form: .bytes, row.frames) == row.outcome)
    }

    @Test func aPictureInAnswerToAStreamIsAPicture() {
        let frame = Self.reply(#""payload":{"status_code":200,"content_type":"image/png","body_base64":"aGVsbG8="}"#)
        #expect(Outcome(form: .events, [frame]) == Outcome(head: "200 image/png", body: "hello"))
    }

    @Test func progressIsPartOfAStreamOfEvents() {
        let frames = [Self.reply(#""event":"progress","payload":{"percent":50}"#), Self.done]
        #expect(
            Outcome(form: .events, frames)
                == Outcome(head: "200 text/event-stream", body: "data: {\"percent\":50}\n\ndata: [DONE]\n\n"))
    }

    /// The length goes to the buyer before the body: a worker that could send more would write the next answer.
    @Test(arguments: [
        (["abcdef"], true), (["abc", "def"], true), (["", "abcdef", ""], true), ([], false), (["abcde"], false),
        (["abcdefg"], false), (["abcdef", "HTTP/1.1 200 OK"], false),
    ])
    func theLengthThatWasToldIsKept(chunks: [String], isWhole: Bool) {
        for isBinary in [false, true] {
            var exchange = AnswerExchange(form: .bytes, deadlines: .init(), now: SessionFixtures.start)
            var actions = exchange.receive(Self.start) ?? []
            for chunk in chunks {
                guard isBinary else {
                    actions += exchange.receive(Self.reply(#""event":"chunk","payload":{"chunk":"\#(chunk)"}"#)) ?? []
                    continue
                }
                let bytes = Array(chunk.utf8)
                switch bytes.withUnsafeBytes({ exchange.binaryArrived($0, now: SessionFixtures.start) }) {
                case .pass: actions.append(.bytes(bytes))
                case .actions(let more): actions += more
                }
            }
            let outcome = Outcome(actions + (exchange.receive(Self.done) ?? []))
            #expect(outcome.body.utf8.count <= 6)
            #expect(outcome.ends == (isWhole ? 1 : 0))
            #expect(outcome.failures == (isWhole ? [] : [.workerBadAnswer]))
        }
    }

    /// News of a stream must not become the first bytes of a film.
    @Test func whatWasHeldForAStreamIsNoPartOfAFilm() {
        let load = Self.reply(#""event":"chunk","payload":{"chunk":"data: {\"id\":\"chatcmpl-load\"}\n\n"}"#)
        let film = Self.reply(#""event":"chunk","payload":{"chunk":"abcdef"}"#)
        #expect(
            Outcome(form: .events, [load, Self.start, film, Self.done])
                == Outcome(head: "200 video/mp4", body: "abcdef"))
    }

    @Test(arguments: [
        "data: a\ndata: [DONE]\n\n", "data: a\n\nid: 1\ndata: [DONE]\n\n", "data: a\rdata: [DONE]\r\r",
        "data: a\r\n\r\ndata:[DONE]\r\ndata: b\r\n\r\n", "data: a\n\ndata: [DONE]\ndata: [DONE]\n\ndata: b\n\n",
    ])
    func anEndMarkerInsideAnEventIsNoSecondOne(text: String) {
        let quoted = SessionFixtures.text(JSONText.quoted(text))
        let chunk = Self.reply(#""event":"chunk","payload":{"chunk":\#(quoted)}"#)
        #expect(
            Outcome(form: .events, [chunk, Self.done])
                == Outcome(head: "200 text/event-stream", body: "data: a\n\ndata: [DONE]\n\n"))
    }

    @Test func afterTheHeadAFailureCutsTheAnswer() {
        var exchange = AnswerExchange(form: .bytes, deadlines: .init(), now: SessionFixtures.start)
        _ = exchange.receive(Self.start)
        let error = MeshError(.workerLost, "gone")
        #expect(exchange.failed(error) == [.fail(error)])
        #expect(exchange.isFinished)
    }

    @Test func onlyHarmlessHeadersPass() throws {
        var exchange = AnswerExchange(form: .bytes, deadlines: .init(), now: SessionFixtures.start)
        let headers =
            #"{"Set-Cookie":"a=b","Transfer-Encoding":"chunked","content-length":"9","X-RateLimit-Left":"3","#
            + #""etag":"a\r\nset-cookie: b","retry-after":"7"}"#
        let actions = exchange.receive(
            Self.reply(#""payload":{"status_code":200,"headers":\#(headers),"filename":"../a\"b.wav","body":"{}"}"#))
        guard case .head(let head)? = actions?.first else { throw MeshError(.internalError, "no head") }
        #expect(
            head.fields == [
                HeaderField("x-ratelimit-left", "3"), HeaderField("retry-after", "7"),
                HeaderField("content-disposition", "attachment; filename=\"..ab.wav\""),
            ])
        #expect(head.length == 2)
    }

    /// A name goes into the answer as it is: one with a line break would end the headers, one that is no ASCII traps in
    /// the HTTP library.
    @Test(arguments: [
        "openai-é", "openai-a: b\\r\\nset-cookie: s=1\\r\\n\\r\\nHTTP/1.1 200 OK", "x-ratelimit- a", "openai-\\u0000",
        "X-Ratelimit-\\u007f", "openai-a:", "cookie",
    ])
    func namesThatAreNoNamesDoNotPass(name: String) throws {
        var exchange = AnswerExchange(form: .bytes, deadlines: .init(), now: SessionFixtures.start)
        let frame = Self.reply(#""payload":{"status_code":200,"headers":{"\#(name)":"x"},"body":"{}"}"#)
        guard case .head(let head)? = exchange.receive(frame)?.first else { throw MeshError(.internalError, "no head") }
        #expect(head.fields.isEmpty)
    }

    @Test(arguments: [204, 205]) func nothingToSayIsAnEmptyAnswer(status: Int) throws {
        var exchange = AnswerExchange(form: .bytes, deadlines: .init(), now: SessionFixtures.start)
        let frame = Self.reply(#""payload":{"status_code":\#(status),"content_type":"text/plain"}"#)
        guard case .head(let head)? = exchange.receive(frame)?.first else { throw MeshError(.internalError, "no head") }
        #expect(head.status == 200 && head.length == 0)
    }

    @Test func aFailureInsideTheLastEventIsAnsweredAsOne() {
        let frame = Self.reply(#""event":"completed","payload":{"status_code":500,"body":{"error":"x"}}"#)
        #expect(Outcome(form: .events, [frame]) == AnswerFormTests.refused(500, "x"))
    }

    // MARK: Binary frames

    private static func binary(_ exchange: inout AnswerExchange, _ count: Int) -> AnswerExchange.Bytes {
        [UInt8](repeating: 7, count: count).withUnsafeBytes {
            exchange.binaryArrived($0, now: SessionFixtures.start)
        }
    }

    @Test func bytesPassAfterTheStartAndNeverBefore() {
        var early = AnswerExchange(form: .bytes, deadlines: .init(), now: SessionFixtures.start)
        #expect(Self.binary(&early, 3) == .actions([.fail(AnswerFailure.unreadable())]))
        var exchange = AnswerExchange(form: .bytes, deadlines: .init(), now: SessionFixtures.start)
        _ = exchange.receive(Self.startWithoutLength)
        #expect(Self.binary(&exchange, 3) == .pass)
        #expect(Outcome(exchange.receive(Self.done) ?? []).ends == 1)
        #expect(Self.binary(&exchange, 3) == .actions([]))
    }

    @Test func theWindowHoldsUntilCreditIsGiven() {
        var exchange = AnswerExchange(form: .bytes, deadlines: .init(), now: SessionFixtures.start)
        _ = exchange.receive(Self.startWithoutLength)
        #expect(Self.binary(&exchange, Limits.answerWindowBytes) == .pass)
        #expect(exchange.consumed(1) == nil)
        #expect(exchange.consumed(Limits.answerWindowBytes / 4) == Limits.answerWindowBytes / 4 + 1)
        #expect(Self.binary(&exchange, Limits.answerWindowBytes / 4 + 1) == .pass)
        // Nobody can be given credit for what was never sent.
        #expect(exchange.consumed(.max) == Limits.answerWindowBytes)
        #expect(Self.binary(&exchange, Limits.answerWindowBytes + 1) != .pass)
        #expect(exchange.isFinished)
    }

    @Test func eventsMayComeInBinaryFramesToo() {
        var exchange = AnswerExchange(form: .events, deadlines: .init(), now: SessionFixtures.start)
        let begin = Self.reply(#""event":"start","payload":{"status_code":200,"content_type":"text/event-stream"}"#)
        #expect(exchange.receive(begin) == [])
        let outcome = Array("data: 1\n\nda".utf8).withUnsafeBytes {
            exchange.binaryArrived($0, now: SessionFixtures.start)
        }
        guard case .actions(let actions) = outcome else { return #expect(Bool(false), "passed unframed") }
        #expect(Outcome(actions).body == "data: 1\n\n")
    }

    @Test(arguments: [[], [2], [1, 0], [1, 9, 0x71], [1, 1, 0x78, 0], [1, 2, 0x71, 0x31, 0]] as [[UInt8]])
    func damagedBinaryFramesCostThatFrame(bytes: [UInt8]) {
        var session = BrokerSessionTests.live()
        let outcome = bytes.withUnsafeBytes { session.binaryArrived($0, now: SessionFixtures.start) }
        guard case .failure(let unusable) = outcome else { return #expect(Bool(false), "taken") }
        #expect(unusable.actions == [.badFrame])
        #expect(session.isLive)
    }

    @Test func aBinaryFrameNamesItsRequest() throws {
        var session = BrokerSessionTests.live()
        let frame = [1, 8] + Array("q1000007".utf8) + [9, 9]
        let (number, start) = try frame.withUnsafeBytes {
            try session.binaryArrived($0, now: SessionFixtures.start).get()
        }
        #expect(number == 1_000_007)
        #expect(start == 10)
    }
}
