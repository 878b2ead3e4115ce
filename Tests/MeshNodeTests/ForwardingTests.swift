import MeshCrypto
import MeshModel
import MeshNode
import MeshRuntime
import MeshWire
import Testing

/// Two linked nodes: workers attach at the north one, bob buys at the south one.
private struct Pair: Sendable {
    var north: TestNode
    var south: TestNode
    var bob: Buyer
    var token: String

    static func open(_ body: @escaping @Sendable (Pair) async throws -> Void) async throws {
        let southern = try await PreparedNode("south")
        try await withNode("north", allow: [southern.summary.nodeID]) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer]) { south in
                try await south.user("bob")
                let bob = try await south.key(of: "bob")
                let token = try await north.provider("lab")
                try await body(Pair(north: north, south: south, bob: bob, token: token))
            }
        }
    }

    func worker(at node: TestNode, models: [String] = ["m1"], capabilities: String = "{}") async throws
        -> ScriptedWorker
    {
        try await eventually("the worker is admitted", within: 20) {
            try? await ScriptedWorker.attach(
                node.buyerPort, provider: "lab", token: token, client: "w\(node.buyerPort)", models: models,
                capabilities: capabilities)
        }
    }
}

@Suite(.serialized, .nodeLog) struct ForwardingTests {
    @Test func aBuyerAtOneNodeIsAnsweredByAWorkerAtAnother() async throws {
        try await Pair.open { pair in
            let worker = try await pair.worker(at: pair.north)
            try await pair.south.offers("lab/m1", to: pair.bob)
            let body = #"{"model":"lab/m1", "x_kept": 1.50}"#
            let connection = try await pair.bob.start(body)
            let frame = try await worker.next()
            #expect(frame.text.hasSuffix(#""payload":{"model":"m1", "x_kept": 1.50}}"#))
            worker.answer(try #require(frame.document), payload: #"{"id":"far"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply.text == #"{"id":"far"}"#)
            #expect(reply["aisbf-node"] == "north")
            #expect(reply["aisbf-provider"] == "global@north/lab")
            #expect(reply["aisbf-attempts"] == "1")
        }
    }

    /// Requests that leave together share a signature; each is answered with its own answer, and one that is given up
    /// meanwhile hurts no other.
    @Test func manyAtOnceAreAnsweredEachWithItsOwn() async throws {
        try await Pair.open { pair in
            let worker = try await pair.worker(at: pair.north)
            try await pair.south.offers("lab/m1", to: pair.bob)
            let buyers = 40
            var connections: [RawConnection] = []
            for _ in 0..<buyers { connections.append(try await RawConnection.open(port: pair.south.buyerPort)) }
            for (number, connection) in connections.enumerated() {
                connection.request(
                    "POST", "/v1/chat/completions", key: pair.bob.key,
                    body: Array(#"{"model":"lab/m1","x":"n\#(number)"}"#.utf8))
                if number % 8 == 7 { connection.close() }
            }
            var asked = 0
            while asked < buyers - buyers / 8 {
                let frame = try await worker.next()
                guard let document = frame.document, document["op"]?.text == "chat.completions",
                    let number = document["payload"]?["x"]?.text
                else { continue }
                worker.answer(document, payload: #"{"id":"\#(number)"}"#)
                if (Int(number.dropFirst()) ?? 0) % 8 != 7 { asked += 1 }
            }
            for (number, connection) in connections.enumerated() where number % 8 != 7 {
                let reply = try await connection.reply()
                #expect(reply.status == 200 && reply.text == #"{"id":"n\#(number)"}"#)
            }
        }
    }

    @Test func aStreamFlowsAcrossAndACancelGoesBack() async throws {
        try await Pair.open { pair in
            let worker = try await pair.worker(at: pair.north)
            try await pair.south.offers("lab/m1", to: pair.bob)
            let whole = try await pair.bob.start(#"{"model":"lab/m1","stream":true}"#)
            let first = try await worker.request("chat.completions")
            worker.chunk(first, "data: 1\n\nda")
            try await eventually("the first event") { whole.received > 0 }
            worker.chunk(first, "ta: 2\n\n")
            worker.done(first)
            #expect(try await whole.reply().text == "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n")

            let left = try await pair.bob.start(#"{"model":"lab/m1","stream":true}"#)
            let second = try await worker.request("chat.completions")
            worker.chunk(second, "data: 1\n\n")
            try await eventually("the first event") { left.received > 0 }
            left.close()
            #expect(try await worker.request("cancel")["payload"]?.id == second.id)
        }
    }

    @Test func whatIsNotChatCrossesTheMeshToo() async throws {
        try await Pair.open { pair in
            let worker = try await pair.worker(
                at: pair.north, capabilities: #"{"openai_compat":{"embeddings":true,"audio":true,"files":true}}"#)
            try await pair.south.offers("lab/m1", to: pair.bob)
            let connection = try await RawConnection.open(port: pair.south.buyerPort)
            connection.request(
                "POST", "/v1/embeddings", key: pair.bob.key, headers: ["content-type: application/json"],
                body: Array(#"{"model":"lab/m1", "input":"x"}"#.utf8))
            let frame = try await worker.next()
            #expect(frame.text.hasSuffix(#","body":{"model":"m1", "input":"x"}}}"#))
            worker.answer(
                try #require(frame.document),
                payload: #"{"status_code":201,"content_type":"audio/wav","filename":"a.wav","body_base64":"AAEC"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 201)
            #expect(reply.body == [0, 1, 2])
            #expect(reply["content-length"] == "3")
            #expect(reply["content-type"] == "audio/wav")
            #expect(reply["content-disposition"] == "attachment; filename=\"a.wav\"")
            let mark = try #require(reply["aisbf-worker"])

            // What an earlier request left at one worker is asked for there and nowhere else.
            let there = try await pair.bob.call("GET", "/v1/files/f?worker=000000000000")
            #expect(there.status == 503)
            connection.request("GET", "/v1/files/f?worker=\(mark)", key: pair.bob.key)
            worker.answer(try await worker.request("proxy"), payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await connection.reply().status == 200)

            let refused = try await pair.bob.call("POST", "/v1/rerank", body: #"{"model":"lab/m1"}"#)
            #expect(refused.status == 404)
            #expect(refused.errorCode == "endpoint_not_offered")
        }
    }

    @Test func aLargeBinaryAnswerCrossesByCreditAndWindow() async throws {
        try await Pair.open { pair in
            let worker = try await pair.worker(
                at: pair.north, capabilities: #"{"binary_frames":true,"openai_compat":{"files":true}}"#)
            try await pair.south.offers("lab/m1", to: pair.bob)
            let connection = try await RawConnection.open(port: pair.south.buyerPort)
            connection.request("GET", "/v1/files/f", key: pair.bob.key)
            let request = try await worker.request("proxy")
            let block = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 >> 5) }
            let head = [1, UInt8(request.id.utf8.count)] + Array(request.id.utf8)
            worker.say(#"{"request_id":"\#(request.id)","event":"start","payload":{"length":\#(48 * block.count)}}"#)
            var credit = Limits.answerWindowBytes
            for _ in 0..<48 {
                while credit < block.count {
                    credit += Int(try #require(try await worker.request("credit")["payload"]?["bytes"]?.integer))
                }
                worker.frame(2, head + block)
                credit -= block.count
            }
            worker.done(request)
            #expect(try await connection.reply().body == Array((0..<48).map { _ in block }.joined()))
        }
    }

    @Test func aWorkerLostFarAwayInMidStreamIsAnInBandError() async throws {
        try await Pair.open { pair in
            let worker = try await pair.worker(at: pair.north)
            try await pair.south.offers("lab/m1", to: pair.bob)
            let connection = try await pair.bob.start(#"{"model":"lab/m1","stream":true}"#)
            worker.chunk(try await worker.request("chat.completions"), "data: 1\n\n")
            try await eventually("the first event") { connection.received > 0 }
            worker.connection.close()
            let reply = try await connection.reply()
            #expect(reply.text.hasPrefix("data: 1\n\ndata: {\"error\":{"))
            #expect(!reply.text.contains("[DONE]"))
        }
    }

    @Test func beforeContentAnotherNodesWorkerTakesOver() async throws {
        try await Pair.open { pair in
            let far = try await pair.worker(at: pair.north)
            let near = try await pair.worker(at: pair.south)
            try await eventually("both hosts in the catalog") {
                let list = try await pair.bob.call("GET", "/v1/models").document?["data"]?.elements
                return list?.first?["aisbf"]?["nodes"]?.elements?.count == 2
            }
            let connection = try await pair.bob.start(#"{"model":"lab/m1"}"#)
            _ = try await near.request("chat.completions")
            near.connection.close()
            far.answer(try await far.request("chat.completions"), payload: #"{"from":"north"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply.text == #"{"from":"north"}"#)
            #expect(reply["aisbf-attempts"] == "2")
            #expect(reply["aisbf-node"] == "north")
        }
    }

    @Test func aProviderForItsOwnerAloneIsUnknownToNamesakesElsewhere() async throws {
        try await Pair.open { pair in
            try await pair.north.user("alice")
            try await pair.south.user("alice")
            let token = try await pair.north.provider("den", owner: "alice", access: "owner")
            let worker = try await eventually("the worker is admitted") {
                try? await ScriptedWorker.attach(pair.north.buyerPort, provider: "den", token: token, username: "alice")
            }
            let owner = try await pair.north.key(of: "alice")
            try await pair.north.offers("den/m1", to: owner)
            let namesake = try await pair.south.key(of: "alice")
            try await eventually("the advert at the other node") {
                let adverts = try await pair.south.administer("GET", "mesh/records?type=provider-advert")
                return adverts["records"]?.elements?.count == 2
            }
            for model in ["den/m1", "alice@north/den/m1", "m1"] {
                #expect(try await namesake.ask(model: model).status == 404)
                #expect(try await pair.bob.ask(model: model).status == 404)
            }
            let connection = try await owner.start(#"{"model":"den/m1"}"#)
            worker.answer(try await worker.request("chat.completions"), payload: "{}")
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func theHostingNodesStopIs503AndItsReturnIsNotNeededForAnAnswer() async throws {
        let southern = try await PreparedNode("south")
        let northern = try await PreparedNode("north")
        try await withNode("south", prepared: southern, allow: [northern.summary.nodeID]) { south in
            try await south.user("bob")
            let bob = try await south.key(of: "bob")
            try await withNode(
                "north", prepared: northern, peers: ["\(south.nodeID)@127.0.0.1:\(south.linkPort)"]
            ) { north in
                let token = try await north.provider("lab")
                _ = try await eventually("the worker is admitted") {
                    try? await ScriptedWorker.attach(north.buyerPort, provider: "lab", token: token)
                }
                // The node that was dialled reaches the worker of the node that dialled it.
                try await south.offers("lab/m1", to: bob)
            }
            let reply = try await bob.ask(model: "lab/m1")
            #expect(reply.status == 503)
            #expect(reply["retry-after"] != nil)
        }
    }
}

/// The hosting node's checks that need no link.
@Suite struct ForwardGuardTests {
    @Test func aMarkIsTakenOnceForTwoGenerations() {
        let guarded = ReplayGuard(generationMs: 1_000, capacity: 4)
        func take(_ marks: [String], at ms: Int64) -> Bool {
            guarded.take(marks.map { Array($0.utf8) }, now: Instant(nanoseconds: ms * 1_000_000))
        }
        #expect(take(["a", "b"], at: 10_000))
        #expect(!take(["a", "c"], at: 10_001))
        #expect(!take(["d", "b"], at: 10_002))
        #expect(take(["e", "f"], at: 10_003))
        // Full: refuses instead of forgetting.
        #expect(!take(["g"], at: 10_004))
        #expect(take(["g"], at: 11_100))
        #expect(!take(["a"], at: 11_200))
        #expect(take(["a"], at: 13_000))
    }

    @Test func aProofHoldsForOneOwnerOneEntryNodeAndItsTime() throws {
        let owner = SigningKey.random()
        let entry = SigningKey.random().publicKey
        let wall = Timestamp(milliseconds: 1_800_000_000_000)
        let end = wall.advanced(byMilliseconds: Limits.principalProofMs)
        let text = PrincipalProof.text(owner: owner, entry: entry, notAfter: end)
        #expect(PrincipalProof.verify(text, entry: entry, wall: wall) == owner.publicKey)
        #expect(PrincipalProof.verify(text, entry: SigningKey.random().publicKey, wall: wall) == nil)
        #expect(PrincipalProof.verify(text, entry: entry, wall: end) == nil)
        #expect(PrincipalProof.verify(text, entry: entry, wall: Timestamp(milliseconds: 0)) == nil)
        let parts = text.split(separator: ".")
        let victim = SigningKey.random().publicKey.description
        #expect(
            PrincipalProof.verify("\(victim).\(parts[1...].joined(separator: "."))", entry: entry, wall: wall) == nil)
        let later = end.advanced(byMilliseconds: 1).milliseconds
        #expect(PrincipalProof.verify("\(parts[0]).\(parts[1]).\(later).\(parts[3])", entry: entry, wall: wall) == nil)
        for damaged in ["", ".", "...", String(text.dropLast()), text + "0", text + ".x"] {
            #expect(PrincipalProof.verify(damaged, entry: entry, wall: wall) == nil)
        }
    }
}
