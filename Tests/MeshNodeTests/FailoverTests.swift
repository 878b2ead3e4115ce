import MeshModel
import MeshNode
import MeshWire
import Testing

/// Two workers of one provider, of which one does not do its part: the other answers, wherever the buyer asks.
@Suite(.serialized, .nodeLog) struct FailoverTests {
    private struct Market: Sendable {
        var host: TestNode
        var bob: Buyer
        var bad: ScriptedWorker
        var good: ScriptedWorker
        var model = "m0"
    }

    private static let capabilities = #"{"openai_compat":{"embeddings":true,"files":true}}"#

    private static func open(
        isFar: Bool, firstContentMs: Int = 2_000, _ body: @escaping @Sendable (Market) async throws -> Void
    ) async throws {
        try await open(isFar: isFar, count: 1, firstContentMs: firstContentMs) { try await body($0[0]) }
    }

    /// As many pairs of workers, each with a model of its own: what became of one pair changes nothing for the next.
    private static func open(
        isFar: Bool, count: Int, firstContentMs: Int = 2_000,
        _ body: @escaping @Sendable ([Market]) async throws -> Void
    ) async throws {
        @Sendable func markets(_ host: TestNode, _ entry: TestNode) async throws {
            try await entry.user("bob")
            let bob = try await entry.key(of: "bob")
            let token = try await host.provider("lab")
            var markets: [Market] = []
            for number in 0..<count {
                func worker(_ name: String) async throws -> ScriptedWorker {
                    try await ScriptedWorker.admitted(
                        at: host, token: token, client: "\(name)\(number)", models: ["m\(number)"],
                        capabilities: capabilities)
                }
                let (bad, good) = (try await worker("bad"), try await worker("good"))
                markets.append(Market(host: host, bob: bob, bad: bad, good: good, model: "m\(number)"))
            }
            try await eventually("all workers have models", within: 20) {
                try await host.sessions().filter { $0["models"]?.elements?.count == 1 }.count == 2 * count
            }
            for market in markets { try await entry.offers("lab/\(market.model)", to: bob) }
            try await body(markets)
        }
        if isFar {
            try await withTwoNodes(firstContentMs: firstContentMs) { try await markets($0, $1) }
        } else {
            try await withNode(firstContentMs: firstContentMs) { try await markets($0, $0) }
        }
    }

    /// How a worker fails, and whether it is asked again at once.
    struct Fault: Sendable, CustomStringConvertible {
        var description: String
        var rests: Bool
        var streamsOnly = false
        var fail: @Sendable (ScriptedWorker, JSONValue) -> Void
    }

    private static func errorFrame(_ code: String) -> @Sendable (ScriptedWorker, JSONValue) -> Void {
        { worker, request in
            worker.say(
                #"{"request_id":"\#(request.id)","status":"error","error":{"code":"\#(code)","message":"no"}}"#)
        }
    }

    private static func status(_ status: Int, _ body: String) -> @Sendable (ScriptedWorker, JSONValue) -> Void {
        let wrapped: JSONValue = [
            "status_code": .integer(status), "content_type": "application/json", "body": .string(body),
        ]
        return { $0.answer($1, payload: String(decoding: wrapped.bytes, as: UTF8.self)) }
    }

    static let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"

    static let faults: [Fault] = [
        Fault(description: "is being stopped", rests: true, fail: errorFrame("draining")),
        Fault(description: "lost its backend", rests: true, fail: errorFrame("backend_unreachable")),
        Fault(description: "is busy", rests: true, fail: errorFrame("busy")),
        Fault(description: "has an error", rests: false, fail: errorFrame("worker_error")),
        Fault(description: "lost the model", rests: false, fail: errorFrame("model_not_found")),
        Fault(
            description: "is loading", rests: true,
            fail: status(503, #"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#)),
        Fault(description: "has too much to do", rests: true, fail: status(429, #"{"error":{"message":"slow down"}}"#)),
        Fault(description: "breaks", rests: false, fail: status(500, "oops")),
        Fault(
            description: "has a wrong key", rests: false,
            fail: status(401, #"{"error":{"message":"Incorrect API key provided: sk-x","code":"invalid_api_key"}}"#)),
        Fault(description: "answers garbage", rests: false) { $0.answer($1, payload: "12") },
        Fault(description: "fails behind its role", rests: true, streamsOnly: true) { worker, request in
            worker.chunk(request, role)
            worker.chunk(request, "data: {\"error\":{\"message\":\"full\",\"code\":\"overloaded\"}}\n\n")
        },
        Fault(description: "says error behind its role", rests: false, streamsOnly: true) { worker, request in
            worker.chunk(request, role)
            errorFrame("worker_error")(worker, request)
        },
    ]

    private static func answer(_ worker: ScriptedWorker, _ request: JSONValue, stream: Bool) {
        guard stream else { return worker.answer(request, payload: #"{"from":"good"}"#) }
        worker.chunk(request, role)
        worker.chunk(request, "data: {\"choices\":[{\"delta\":{\"content\":\"good\"}}]}\n\n")
        worker.chunk(request, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
        worker.done(request)
    }

    /// Asks once, lets whoever is asked do its part, and tells how often the bad one was.
    private static func ask(
        _ market: Market, _ fault: Fault, stream: Bool, path: String = Buyer.chat
    ) async throws -> (reply: Reply, asked: Int) {
        let connection = try await RawConnection.open(port: market.bob.port)
        defer { connection.close() }
        connection.request(
            "POST", path, key: market.bob.key, headers: ["content-type: application/json"],
            body: Array(#"{"model":"lab/\#(market.model)","stream":\#(stream)}"#.utf8))
        var asked = 0
        let reply = try await eventually("an answer with a worker that \(fault)", within: 20) { () -> Reply? in
            if let request = Self.request(at: market.bad) {
                asked += 1
                fault.fail(market.bad, request)
            }
            if let request = Self.request(at: market.good) { answer(market.good, request, stream: stream) }
            return try Reply.parse(connection.pending)?.reply
        }
        return (reply, asked)
    }

    /// The next request that waits at a worker, if any.
    private static func request(at worker: ScriptedWorker) -> JSONValue? {
        while let (frame, length) = ScriptedWorker.decode(worker.connection.pending) {
            worker.connection.drop(length)
            if let document = frame.document, ["chat.completions", "proxy"].contains(document["op"]?.text ?? "") {
                return document
            }
        }
        return nil
    }

    @Test(arguments: [false, true], [false, true])
    func theSiblingAnswers(isFar: Bool, stream: Bool) async throws {
        try await Self.open(isFar: isFar, count: Self.faults.count) { markets in
            for (fault, market) in zip(Self.faults, markets) where stream || !fault.streamsOnly {
                var asked = 0
                for _ in 0..<6 {
                    let (reply, count) = try await Self.ask(market, fault, stream: stream)
                    asked += count
                    #expect(reply.status == 200 && reply.text.contains("good"), "\(fault): \(reply.text)")
                    #expect(!reply.text.contains("error"), "\(fault): \(reply.text)")
                    #expect(reply.text.hasSuffix("[DONE]\n\n") == stream, "\(fault)")
                    // At another node the sibling is tried there, and for the entry node it is one attempt.
                    if isFar { #expect(reply["aisbf-attempts"] == "1", "\(fault)") }
                }
                // A worker that does nothing is left alone for a moment.
                #expect(asked > 0 && (asked < 6 || !fault.rests), "\(fault): \(asked)")
            }
        }
    }

    @Test(arguments: [false, true])
    func whatIsTheRequestsOwnFaultIsTheAnswerAtOnce(isFar: Bool) async throws {
        try await Self.open(isFar: isFar) { market in
            let document = #"{"error":{"message":"too long","code":"context_length_exceeded"}}"#
            for status in [400, 404, 413, 422] {
                let fault = Fault(description: "says \(status)", rests: false, fail: Self.status(status, document))
                var seen = 0
                for _ in 0..<12 where seen == 0 {
                    let (reply, asked) = try await Self.ask(market, fault, stream: false)
                    seen += asked
                    if asked > 0 {
                        #expect(reply.status == status && reply.text == document)
                        #expect(asked == 1 && reply["aisbf-attempts"] == "1")
                    }
                }
                #expect(seen == 1)
            }
        }
    }

    /// What may have had an effect is not asked for a second time; what was refused is.
    @Test(arguments: [false, true])
    func aFileIsNotStoredTwice(isFar: Bool) async throws {
        try await Self.open(isFar: isFar, count: 3) { markets in
            func first(_ market: Market, _ fault: Fault) async throws -> Reply {
                for _ in 0..<12 {
                    let (reply, asked) = try await Self.ask(market, fault, stream: false, path: "/v1/files")
                    if asked > 0 { return reply }
                }
                throw NotSeen(description: "a turn of the worker that \(fault)")
            }
            let broken = try await first(
                markets[0], Fault(description: "has an error", rests: false, fail: Self.errorFrame("x")))
            #expect(broken.status == 502 && broken.errorCode == "worker_error", "\(broken.text)")
            let loading = try await first(
                markets[1], Fault(description: "says 503", rests: false, fail: Self.status(503, "{}")))
            #expect(loading.status == 503)
            let stopping = try await first(
                markets[2], Fault(description: "stops", rests: true, fail: Self.errorFrame("draining")))
            #expect(stopping.status == 200 && stopping.text.contains("good"), "\(stopping.text)")
        }
    }

    /// Nobody can answer: the buyer reads what says the most, and when to come back.
    @Test(arguments: [false, true])
    func whenAllFailTheMostUsefulFailureIsTold(isFar: Bool) async throws {
        try await Self.open(isFar: isFar) { market in
            let connection = try await market.bob.start(#"{"model":"lab/m0"}"#)
            let reply = try await eventually("an answer", within: 20) { () -> Reply? in
                if let request = Self.request(at: market.bad) { Self.errorFrame("draining")(market.bad, request) }
                if let request = Self.request(at: market.good) {
                    let body: JSONValue = [
                        "status_code": 503, "content_type": "application/json", "headers": ["retry-after": "20"],
                        "body": #"{"error":{"message":"Loading model"}}"#,
                    ]
                    market.good.answer(request, payload: String(decoding: body.bytes, as: UTF8.self))
                }
                return try Reply.parse(connection.pending)?.reply
            }
            #expect(reply.status == 503 && reply.errorMessage == "Loading model", "\(reply.text)")
            #expect(reply["retry-after"] == "2")
        }
    }

    /// A seller with a queue may say so; while nobody else is there to ask it gets some times the first content's time.
    @Test func pendingMovesTheWaitWithinABound() async throws {
        try await atOnce([false, true]) { try await Self.pendingMovesTheWait(isFar: $0) }
    }

    private static func pendingMovesTheWait(isFar: Bool) async throws {
        try await Self.open(isFar: isFar, firstContentMs: 1_000) { market in
            @Sendable func pending(_ worker: ScriptedWorker, _ request: JSONValue) {
                worker.say(
                    #"{"event":"pending","request_id":"\#(request.id)","payload":{"estimated_timeout":600}}"#)
            }
            // A stream goes to the sibling as soon as its own time is over.
            let queue = Fault(description: "has a queue", rests: false) { pending($0, $1) }
            for _ in 0..<4 {
                let (reply, _) = try await Self.ask(market, queue, stream: true)
                #expect(reply.status == 200 && reply.text.contains("good"), "\(reply.text)")
            }
            market.bad.connection.close()
            try await eventually("one worker") { try await market.host.sessions().count == 1 }
            // Alone, it is waited for, and not for ever.
            for stream in [false, true] {
                let late = try await market.bob.start(#"{"model":"lab/m0","stream":\#(stream)}"#)
                let request = try await eventually("the request") { Self.request(at: market.good) }
                pending(market.good, request)
                try await Task.sleep(for: .milliseconds(2_600))
                Self.answer(market.good, request, stream: stream)
                #expect(try await late.reply().text.contains("good"))
            }
            let begun = ContinuousClock.now
            let never = try await market.bob.start(#"{"model":"lab/m0"}"#)
            pending(market.good, try await eventually("the request") { Self.request(at: market.good) })
            let reply = try await never.reply(within: 20)
            #expect(reply.status == 504 && reply.errorCode == "worker_timeout")
            #expect((4...12).contains(begun.duration(to: .now).components.seconds))
        }
    }

    /// Another provider's worker is asked first for a while, although both are here.
    @Test func whoLetItsTimePassIsAskedLater() async throws {
        try await withNode(firstContentMs: 1_000) { node in
            try await node.user("bob")
            let bob = try await node.key(of: "bob")
            var sellers: [Serving] = []
            for (provider, answer) in [("lab", Serving.silent), ("den", Serving.well)] {
                let token = try await node.provider(provider)
                let worker = try await ScriptedWorker.admitted(
                    at: node, provider: provider, token: token, client: provider, models: ["m"])
                sellers.append(Serving(worker, answer: answer))
                try await node.offers("\(provider)/m", to: bob)
            }
            let (silent, good) = (sellers[0], sellers[1])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for seller in sellers { group.addTask { await seller.run() } }
                // Asked alone, it has shown what it is.
                let late = try await bob.ask(model: "lab/m")
                #expect(late.errorCode == "worker_timeout")
                for _ in 0..<4 {
                    let reply = try await bob.ask(model: "m")
                    #expect(reply.status == 200, "\(reply.text)")
                }
                #expect(silent.count == 1 && good.count == 4, "\(silent.count) \(good.count)")
                group.cancelAll()
            }
        }
    }
}
