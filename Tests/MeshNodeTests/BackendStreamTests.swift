import MeshWire
import Synchronization
import Testing

/// What backends really send, and what a buyer must hear of it: before a worker of this package, asked by the node
/// itself, and from a worker of the broker's protocol; at the seller's node and at another one.
@Suite(.serialized, .nodeLog) struct BackendStreamTests {
    /// What a backend does, and a worker of the protocol in its place.
    enum Play: Sendable {
        case text(String)
        case pause(Int)
        /// Nothing more before the buyer has heard as much. So what is held back to the end is seen, however busy the
        /// machine is.
        case until(Milestone)
        /// The answer ends as it should.
        case end
        /// The connection is lost; a worker says that something failed.
        case drop
    }

    enum Milestone: Hashable, Sendable { case first, comment, end }

    /// How far each buyer is, and which waits for one were in vain.
    final class Progress: Sendable {
        private struct State {
            var reached: [String: Set<Milestone>] = [:]
            var waited: [String: ContinuousClock.Instant] = [:]
            var inVain: Set<String> = []
        }
        private let state = Mutex(State())

        func heard(_ heard: HeardAnswer, by request: String) {
            state.withLock { state in
                if !heard.body.isEmpty { state.reached[request, default: []].insert(.first) }
                if heard.isWhole { state.reached[request, default: []].insert(.end) }
                if heard.body.count < 10_000, heard.text.contains(": waiting\n") {
                    state.reached[request, default: []].insert(.comment)
                }
            }
        }

        /// Whether the request's buyer is so far, or was waited for long enough.
        func isOver(_ milestone: Milestone, of request: String) -> Bool {
            state.withLock { state in
                if state.reached[request]?.contains(milestone) ?? false { return true }
                let since = state.waited[request] ?? .now
                state.waited[request] = since
                guard since.duration(to: .now) > .seconds(40) else { return false }
                state.inVain.insert(request)
                return true
            }
        }

        func wasInVain(_ request: String) -> Bool { state.withLock { $0.inVain.contains(request) } }
    }

    enum Framing: Sendable { case chunks, untilClose, length }

    typealias Judge = @Sendable (HeardAnswer) -> Bool

    struct Row: Sendable {
        var name: String
        var path = Buyer.chat
        /// Fields of the request behind its model.
        var asks = #","stream":true,"messages":[]"#
        var type: String? = "text/event-stream"
        var framing = Framing.chunks
        var plays: [Play]
        /// Whether all is well.
        var judge: Judge

        init(_ name: String, _ plays: [Play], _ judge: @escaping Judge) {
            self.name = name
            self.plays = plays
            self.judge = judge
        }

        /// One text, and the end.
        init(_ name: String, _ text: String, _ judge: @escaping Judge) {
            self.init(name, [.text(text), .end], judge)
        }

        func typed(_ type: String?) -> Row {
            var row = self
            row.type = type
            return row
        }

        func framed(_ framing: Framing) -> Row {
            var row = self
            row.framing = framing
            return row
        }

        func asking(_ asks: String, at path: String = Buyer.chat) -> Row {
            var row = self
            row.path = path
            row.asks = asks
            return row
        }

        func backendSteps(_ progress: Progress, of request: String) -> [ScriptedBackend.Step] {
            let whole = plays.reduce(into: "") { if case .text(let text) = $1 { $0 += text } }
            var steps: [ScriptedBackend.Step] = []
            switch framing {
            case .chunks: steps = [ScriptedBackend.chunked(type: type)]
            case .untilClose: steps = [ScriptedBackend.untilClose(type: type ?? "text/event-stream")]
            case .length: return ScriptedBackend.whole(whole, type: type ?? "application/json")
            }
            for play in plays {
                switch play {
                case .text(let text): steps.append(framing == .chunks ? ScriptedBackend.chunk(text) : .text(text))
                case .pause(let milliseconds): steps.append(.pause(milliseconds))
                case .until(let milestone): steps.append(.until { progress.isOver(milestone, of: request) })
                case .end: steps.append(framing == .chunks ? ScriptedBackend.lastChunk : .close)
                case .drop: steps.append(.close)
                }
            }
            return steps
        }

        func play(
            _ worker: ScriptedWorker, _ request: JSONValue, _ progress: Progress, of name: String
        ) async throws {
            for play in plays {
                switch play {
                case .text(let text) where framing == .length:
                    let answer: JSONValue = [
                        "status_code": 200, "content_type": .string(type ?? "application/json"), "body": .string(text),
                    ]
                    worker.answer(request, payload: String(decoding: answer.bytes, as: UTF8.self))
                case .text(let text): worker.chunk(request, text)
                case .pause(let milliseconds): try await Task.sleep(for: .milliseconds(milliseconds))
                case .until(let milestone):
                    while !progress.isOver(milestone, of: name) { try await Task.sleep(for: .milliseconds(20)) }
                case .end: if framing != .length { worker.done(request) }
                case .drop:
                    worker.say(#"{"request_id":"\#(request.id)","status":"error","error":"connection lost"}"#)
                }
            }
        }
    }

    // MARK: The rows

    private static let hello = ScriptedBackend.event("hello ") + ScriptedBackend.event("world")
    private static let stop = ScriptedBackend.event(nil, finish: "stop")
    private static let done = ScriptedBackend.done
    private static let finished = hello + stop
    private static let whole = hello + stop + done
    private static let half = String(stop.dropLast(30))

    private static func complete(_ heard: HeardAnswer) -> Bool {
        heard.status == 200 && heard.isWhole && heard.events.isComplete("hello world") && heard.events.finish == "stop"
            && heard.contentType == "text/event-stream"
    }

    private static func quietComplete(_ heard: HeardAnswer) -> Bool {
        complete(heard) && heard.events.comments.contains(": waiting")
    }

    private static func brokeOff(_ heard: HeardAnswer) -> Bool {
        heard.status == 200 && heard.isWhole && heard.events.isBroken(["stream_interrupted"])
    }

    private static func lost(_ heard: HeardAnswer) -> Bool {
        heard.status == 200 && heard.isWhole && heard.events.isBroken(["stream_interrupted", "worker_error"])
    }

    private static func failed(_ heard: HeardAnswer) -> Bool {
        heard.status >= 500 && heard.errorCode != nil && heard.isWhole
    }

    private static func failedLate(_ heard: HeardAnswer) -> Bool {
        heard.status == 200 && heard.isWhole && heard.events.isBroken(["worker_error", "hot"])
    }

    private static func refusedPage(_ heard: HeardAnswer) -> Bool {
        heard.status == 502 && heard.errorCode == "worker_bad_answer" && !heard.text.lowercased().contains("sign in")
    }

    static let ends: [Row] = [
        Row("control", whole, complete),
        Row("open-behind-done", [.text(whole), .until(.end), .end], complete),
        Row("lost-behind-done", [.text(whole), .pause(1_200), .drop], complete),
        Row("open-behind-a-bare-done", [.text(finished + "data: [DONE]"), .until(.end), .end], complete),
        Row("more-behind-done", whole + ScriptedBackend.event("late") + done, complete),
        Row("no-done", finished, complete),
        Row("no-done-until-close", finished, complete).framed(.untilClose),
        Row("no-last-blank-line", hello + String(stop.dropLast(2)), complete).framed(.untilClose),
        Row("no-finish", hello, brokeOff).framed(.untilClose),
        Row("no-finish-in-chunks", hello, brokeOff),
        Row("half-an-event", hello + half, brokeOff).framed(.untilClose),
        Row("half-an-event-behind-the-finish", finished + "data: {\"choices\":[],\"usa", brokeOff),
        Row("lost-in-the-middle", [.text(hello), .pause(300), .drop], lost),
        Row("lost-in-an-event", [.text(hello + half), .pause(300), .drop], lost),
        Row("nothing-at-all", [.end], failed),
    ]

    private static let role = "data: \(ScriptedBackend.delta("", role: "assistant"))\n\n"
    private static let object = #"{"error":{"message":"overheated","type":"server_error","code":"hot"}}"#
    private static let slot = #"error: {"code":500,"message":"slot failed","type":"server_error"}"# + "\n\n"
    private static let plain = #","messages":[]"#
    private static let prompt = #","prompt":"x""#

    static let errors: [Row] = [
        Row("error-event-of-words", "event: error\ndata: Too many requests, please slow down\n\n", failed),
        Row("error-event-of-json", "event: error\ndata: {\"message\":\"slow down\"}\n\n", failed),
        Row("error-field", slot, failed),
        Row("error-document", object, failed).framed(.length),
        Row("error-document-in-chunks", object, failed),
        Row("error-first", "data: \(object)\n\n", failed),
        Row("error-behind-a-role", role + "data: \(object)\n\n", failed),
        Row("error-to-a-plain-request", object, failed).framed(.length).typed("application/json").asking(plain),
        Row("late-error", hello + "data: \(object)\n\n" + done, failedLate),
        Row("late-error-of-words", hello + "data: {\"error\":\"hot\"}\n\n", failedLate),
        Row("late-error-event", hello + "event: error\ndata: hot\n\n", failedLate),
        Row("late-error-field", hello + slot, failedLate),
        Row("late-error-document", hello + object, failedLate),
    ]

    /// Events of a stream in which every one has an id and a name.
    private static func named(_ events: ArraySlice<String>, breaks: String = "\n") -> String {
        var stream = ""
        for (index, data) in zip(events.indices, events) {
            let lines = [
                "id: 0192f6f0-7d6e-7c1a-9d57-3a3c8f0b2d41-\(index)", "event: message", "data: \(data)", "", "",
            ]
            stream += lines.joined(separator: breaks)
        }
        return stream
    }

    private static let texts = [
        ScriptedBackend.delta("hello "), ScriptedBackend.delta("world"), ScriptedBackend.delta(nil, finish: "stop"),
        "[DONE]",
    ]
    private static let first = "data: \(texts[0])"
    private static let rest = texts[1...].map { "data: \($0)" }
    private static let picture = ScriptedBackend.delta(String(repeating: "A", count: 1_500_000))
    private static let restOfPlain = rest.joined(separator: "\n\n") + "\n\n"

    static let shapes: [Row] = [
        Row("ids-and-names", named(texts[...]), complete),
        Row("carriage-returns", named(texts[...], breaks: "\r"), complete),
        Row("both", "\u{FEFF}" + named(texts[...], breaks: "\r\n"), complete),
        Row("comments", named(texts[..<1]) + ": busy\n\n: ping\n\nid: 7\n\n" + named(texts[1...]), complete),
        Row("empty-data", hello + "data:\n\ndata: \n\n" + stop + done, complete),
        Row(
            "first-of-carriage-returns",
            [.text(first + "\r\r"), .until(.first), .text(rest.joined(separator: "\r\r") + "\r\r"), .end],
            complete),
        Row("a-large-event", "data: \(picture)\n\n" + stop + done) { heard in
            heard.isWhole && heard.events.isComplete(String(repeating: "A", count: 1_500_000))
        },
        Row(
            "quiet-with-ids", [.text(named(texts[..<1])), .until(.comment), .text(named(texts[1...])), .end],
            quietComplete),
        Row("quiet", [.text(first + "\n\n"), .until(.comment), .text(restOfPlain), .end], quietComplete),
    ]

    private static func slowly(_ name: String, _ type: String?) -> Row {
        Row(name, [.text(first + "\n\n"), .until(.first), .text(restOfPlain), .end], complete).typed(type)
    }

    private static let page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
    private static let document = ScriptedBackend.completion("hello world")
    private static let largeDocument = ScriptedBackend.completion(
        "hello world", more: #","extra":"\#(String(repeating: "x", count: 400_000))""#)

    static let types: [Row] = [
        slowly("no-type", nil), slowly("plain-type", "text/plain; charset=utf-8"),
        slowly("octet-type", "application/octet-stream"), slowly("json-type", "application/json"),
        Row("page", page, refusedPage).framed(.length).typed("text/html"),
        Row("page-in-chunks", page, refusedPage).typed("text/html; charset=utf-8"),
        Row("page-typed-as-a-stream", "\n  " + page.lowercased(), refusedPage),
        Row("page-to-a-plain-request", page, refusedPage).framed(.length).typed("text/html").asking(plain),
        Row("page-to-completions", page, refusedPage).framed(.length).typed("text/html")
            .asking(prompt, at: "/v1/completions"),
        Row("a-document", document, complete).framed(.length).typed("application/json"),
        Row("a-large-document", largeDocument, complete).framed(.length).typed("application/json"),
        Row("a-document-typed-as-a-stream", document, complete),
    ]

    private static func deep(_ count: Int) -> Row {
        let lists = String(repeating: "[", count: count) + String(repeating: "]", count: count)
        let body = ScriptedBackend.completion("hello", more: ",\"extra\":\(lists)")
        return Row("deep-\(count)", body) { $0.status == 200 && $0.text.contains(lists) }
            .framed(.length).typed("application/json").asking(plain)
    }

    private static let sound = String(repeating: "s", count: 4_096)
    private static let speech = #","input":"x","voice":"v""#
    private static let streamed = prompt + #","stream":true"#
    private static let audio = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\n"
    private static let audioDone = "data: {\"type\":\"speech.audio.done\"}\n\n"

    static let others: [Row] = [
        deep(100), deep(300), deep(2_000),
        Row("sound", [.text(sound), .until(.first), .text(sound), .text(sound), .end]) { heard in
            heard.status == 200 && heard.isWhole && heard.body.count == 3 * 4_096
        }.typed("audio/mpeg").asking(speech, at: "/v1/audio/speech"),
        Row("speech-as-events", [.text(audio), .until(.first), .text(audioDone), .end]) { heard in
            heard.status == 200 && heard.contentType == "text/event-stream"
                && heard.text == audio + audioDone
        }.asking(speech + #","stream_format":"sse""#, at: "/v1/audio/speech"),
        Row("completions", whole, complete).asking(streamed, at: "/v1/completions"),
        Row("completions-cut", hello, brokeOff).asking(streamed, at: "/v1/completions"),
        Row("completions-open", [.text(whole), .until(.end), .end], complete)
            .asking(streamed, at: "/v1/completions"),
    ]

    static let rows = ends + errors + shapes + types + others

    // MARK: Asking

    /// Every row at once, at every node: they wait, and each for itself.
    private static func askAll(_ buyers: [(place: String, buyer: Buyer)], _ progress: Progress) async throws {
        try await withThrowingTaskGroup(of: (String, HeardAnswer, Bool).self) { tasks in
            for row in rows {
                for (place, buyer) in buyers {
                    tasks.addTask {
                        let name = "\(row.name) \(place)"
                        let body = #"{"model":"lab/\#(row.name)","user":"\#(name)"\#(row.asks)}"#
                        let heard = try await HeardAnswer.to(buyer, path: row.path, body: body) {
                            progress.heard($0, by: name)
                        }
                        return (name, heard, row.judge(heard) && !progress.wasInVain(name))
                    }
                }
            }
            for try await (name, heard, isRight) in tasks {
                #expect(
                    isRight,
                    "\(name): \(heard.status) \(heard.contentType ?? "") whole \(heard.isWhole) in vain \(progress.wasInVain(name)) \(heard.events) \(heard.text.prefix(300)) … \(heard.text.suffix(200))"
                )
            }
        }
    }

    private static func withBuyers(
        _ body:
            @escaping @Sendable (_ north: TestNode, _ buyers: [(place: String, buyer: Buyer)]) async throws -> Void
    ) async throws {
        try await withTwoNodes(firstContentMs: 80_000, streamIdleMs: 80_000) { north, south in
            var buyers: [(place: String, buyer: Buyer)] = []
            for (place, node) in [("at home", north), ("from another node", south)] {
                try await node.user("bob")
                buyers.append((place, try await node.key(of: "bob")))
            }
            try await body(north, buyers)
        }
    }

    /// Both nodes offer the last of the models.
    private static func offered(_ buyers: [(place: String, buyer: Buyer)]) async throws {
        for (_, buyer) in buyers {
            try await eventually("the models at \(buyer.port)", within: 20) {
                try await buyer.call("GET", "/v1/models").document?["data"]?.elements?
                    .contains { $0["id"]?.text == "lab/\(rows[rows.count - 1].name)" } ?? false
            }
        }
    }

    @Test(arguments: Seller.allCases) func aBackendOfOpenAIsProtocol(seller: Seller) async throws {
        let rows = Dictionary(uniqueKeysWithValues: Self.rows.map { ($0.name, $0) })
        let progress = Progress()
        let backend = ScriptedBackend(models: Self.rows.map(\.name)) { request in
            rows[request.model]?.backendSteps(progress, of: request.document?["user"]?.text ?? "") ?? [.close]
        }
        try await Self.withBuyers { north, buyers in
            try await backend.run { port in
                try await seller.sell(
                    at: north, backendPort: port, endpoints: ["v1/completions", "v1/embeddings", "v1/audio/speech"],
                    maxConcurrency: 512
                ) {
                    try await Self.offered(buyers)
                    try await Self.askAll(buyers, progress)
                }
            }
        }
    }

    @Test func aWorkerOfTheBrokersProtocol() async throws {
        let rows = Dictionary(uniqueKeysWithValues: Self.rows.map { ($0.name, $0) })
        try await Self.withBuyers { north, buyers in
            let progress = Progress()
            let made = try await north.administer(
                "POST", "providers",
                #"{"provider_id":"lab","owner":"global","access":"public","max_concurrency":512}"#)
            let worker = try await ScriptedWorker.admitted(
                at: north, token: made["registration_token"]?.text ?? "", models: Self.rows.map(\.name),
                capabilities: #"{"openai_compat":{"completions":true,"embeddings":true,"audio":true}}"#)
            try await Self.offered(buyers)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask {
                    try await withThrowingTaskGroup(of: Void.self) { played in
                        while true {
                            guard let request = try await worker.next("a request", within: 60).document,
                                ["chat.completions", "proxy"].contains(request["op"]?.text)
                            else { continue }
                            let asked = request["payload"]?["model"]?.text ?? ""
                            guard let row = rows[asked] else { continue }
                            let payload = request["payload"]
                            let name = payload?["user"]?.text ?? payload?["body"]?["user"]?.text ?? ""
                            played.addTask { try await row.play(worker, request, progress, of: name) }
                        }
                    }
                }
                tasks.addTask {
                    // Nobody answers the node's pings here, and some rows are silent for longer than a worker may be.
                    while true {
                        worker.say(#"{"op":"heartbeat","request_id":"alive"}"#)
                        try await Task.sleep(for: .seconds(2))
                    }
                }
                tasks.addTask { try await Self.askAll(buyers, progress) }
                defer { tasks.cancelAll() }
                // The others end only by failing.
                try await tasks.next()
            }
        }
    }
}
