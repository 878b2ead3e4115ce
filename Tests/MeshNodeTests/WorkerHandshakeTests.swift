import MeshWire
import Testing

/// A node with a provider, and nobody attached yet.
private func withProvider(_ body: @escaping @Sendable (TestNode, String) async throws -> Void) async throws {
    try await withNode { node in
        let token = try await node.provider("lab")
        // The provider counts once its advert is in the catalog. Trying the token until then would count as guessing.
        try await eventually("the provider in the catalog") {
            try await node.administer("GET", "mesh/providers")["providers"]?.elements?
                .contains { $0["provider_id"]?.text == "lab" } ?? false
        }
        try await body(node, token)
    }
}

private func register(_ node: TestNode, token: String, provider: String = "lab") async throws -> Reply {
    try await Buyer(port: node.buyerPort, key: nil).call(
        "POST", "/api/coderai/register",
        body: #"{"provider_id":"\#(provider)","client_id":"w9","registration_token":"\#(token)","request_id":"r1"}"#)
}

private func sessions(_ node: TestNode) async throws -> [JSONValue] {
    let reply = try await node.admin.call("GET", "/api/coderai/broker/sessions")
    return reply.document?["sessions"]?.elements ?? []
}

@Suite(.serialized, .nodeLog) struct WorkerHandshakeTests {
    @Test func everyRefusalIsTheSame403() async throws {
        try await withProvider { node, token in
            try await node.user("alice")
            let other = try await node.provider("other")
            let refused = [
                ("/api/coderai/wss", ScriptedWorker.identity("none", token: token, client: "w")),
                ("/api/coderai/wss", ScriptedWorker.identity("lab", token: other, client: "w")),
                ("/api/coderai/wss", ScriptedWorker.identity("lab", token: String(token.dropLast()), client: "w")),
                ("/api/coderai/wss", ScriptedWorker.identity("lab", token: node.adminKey, client: "w")),
                ("/api/coderai/wss", ScriptedWorker.identity("lab", token: token, client: "w", username: "alice")),
                (
                    "/api/u/alice/coderai/wss",
                    ScriptedWorker.identity("lab", token: token, client: "w", username: "alice")
                ),
                (
                    "/api/u/nobody/coderai/wss",
                    ScriptedWorker.identity("lab", token: token, client: "w", username: "nobody")
                ),
                ("/api/coderai/wss", []),
            ]
            var answers: [String] = []
            for (path, headers) in refused {
                guard
                    let (reply, connection) = try? await ScriptedWorker.dial(
                        node.buyerPort, path: path, headers: headers)
                else {
                    Issue.record("no answer to \(path) \(headers.first ?? "")")
                    continue
                }
                #expect(reply.status == 403, "\(path) \(headers.first ?? "")")
                answers.append(reply.errorMessage)
                #expect(!reply.text.contains(token))
                connection.close()
            }
            #expect(answers == Array(repeating: answers[0], count: refused.count))
            #expect(!answers[0].isEmpty)
        }
    }

    @Test func identityMayStandInTheQueryOrTheAuthorization() async throws {
        try await withProvider { node, token in
            let query =
                "/prefix/api/coderai/wss?provider_id=lab&client_id=q1&username=global&registration_token=\(token)"
            let (reply, first) = try await ScriptedWorker.dial(node.buyerPort, path: query, headers: [])
            #expect(reply.status == 101)
            let (bearer, second) = try await ScriptedWorker.dial(
                node.buyerPort, path: "/api/coderai/wss?provider_id=lab", headers: ["authorization: Bearer \(token)"])
            #expect(bearer.status == 101)
            first.close()
            second.close()
        }
    }

    @Test func whoSpeaksFirstHearsRegisteredFirstAndThenTheQuestionForModels() async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.connect(node.buyerPort, provider: "lab", token: token)
            worker.register("reg-7")
            let registered = try await worker.event("registered")
            #expect(registered.id == "reg-7")
            #expect(registered["status"]?.text == "ok")
            #expect(registered["accepted"]?.flag == true)
            #expect(registered["session_id"]?.text?.isEmpty == false)
            #expect(registered["provider_id"]?.text == "lab")
            #expect(registered["owner_user_id"] == .null)
            _ = try await worker.request("models.list")
            worker.register("reg-8")
            let again = try await worker.event("registered")
            #expect(again.id == "reg-8")
            #expect(again["session_id"] == registered["session_id"])
            _ = try await worker.request("models.list")
        }
    }

    @Test func whoWaitsIsGreetedAndMayThenRegister() async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.connect(node.buyerPort, provider: "lab", token: token)
            let greeting = try await worker.event("registered")
            #expect(greeting["accepted"]?.flag == true)
            worker.register("reg-2")
            #expect(try await worker.event("registered").id == "reg-2")
        }
    }

    @Test(arguments: [
        (#"{"op":"heartbeat"}"#, "op=register"), (#"{"status":"ok"}"#, "op=register"), ("hello", "JSON"),
        ("[]", "JSON"),
        (#"{"op":"register","registration_token":"other"}"#, "token"),
    ])
    func aWrongFirstFrameIs1008(text: String, reason: String) async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.connect(node.buyerPort, provider: "lab", token: token)
            worker.say(text)
            let close = try await worker.closed()
            #expect(close.code == 1008)
            #expect(close.reason.contains(reason))
        }
    }

    @Test func aWrongTokenLaterIsAnErrorAndNoMore() async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            worker.say(#"{"op":"register","request_id":"r","payload":{"registration_token":"other"}}"#)
            let answer = try #require(try await worker.next().document)
            #expect(answer["status"]?.text == "error")
            worker.say(#"{"op":"heartbeat","request_id":"hb-1"}"#)
            #expect(try await worker.event("heartbeat").id == "hb-1")
        }
    }

    @Test func aSecondConnectionReplacesTheFirstWhoseLateCloseChangesNothing() async throws {
        try await withProvider { node, token in
            let first = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            try await node.offers("lab/m1", to: node.admin)
            let second = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            let close = try await first.closed()
            #expect(close.reason == "replaced by a new connection of the same client")
            first.connection.close()
            let connection = try await node.admin.start(#"{"model":"lab/m1"}"#)
            second.answer(try await second.request("chat.completions"), payload: "{}")
            #expect(try await connection.reply().status == 200)
            #expect(try await sessions(node).count == 1)
            // And when the second leaves, nothing of the first keeps the provider in the catalog.
            second.connection.close()
            try await eventually("no models") {
                try await node.admin.call("GET", "/v1/models").document?["data"]?.elements?.isEmpty ?? false
            }
        }
    }

    @Test func theDryRunMakesNoSession() async throws {
        try await withProvider { node, token in
            let reply = try await register(node, token: token)
            #expect(reply.document?["event"]?.text == "registered")
            #expect(reply.document?["client_id"]?.text == "w9")
            #expect(reply.document?.id == "r1")
            #expect(!reply.text.contains(token))
            #expect(try await register(node, token: "x").status == 403)
            #expect(try await register(node, token: token, provider: "none").status == 403)
            #expect(try await sessions(node).isEmpty)
        }
    }

    @Test func aRotatedTokenEndsTheSessionAndIsRefused() async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            _ = try await node.administer("POST", "providers/global/lab/rotate-token", "{}")
            let close = try await worker.closed()
            #expect(close.code == 1008)
            #expect(close.reason == "this registration token is no longer valid")
            try await eventually("403") { try await register(node, token: token).status == 403 }
        }
    }

    @Test func halfClosedAndBrokenSocketsLeaveNoSession() async throws {
        try await withProvider { node, token in
            for client in ["a", "b", "c"] {
                let worker = try await ScriptedWorker.attach(
                    node.buyerPort, provider: "lab", token: token, client: client)
                if client == "a" { worker.connection.closeOutput() }
                if client == "b" { worker.connection.close() }
                if client == "c" { worker.frame(8, [0x03, 0xE8]) }
            }
            try await eventually("no sessions") { try await sessions(node).isEmpty }
        }
    }
}

@Suite(.serialized, .nodeLog) struct WorkerFrameTests {
    @Test(arguments: [
        #"{"data":[{"id":"m1"},{"id":"m2"}]}"#, #"{"models":["m1","m2"]}"#, #"["m1",{"name":"m2"}]"#,
        #"{"data":[{"model":"m1","context_length":4096},{"id":"m2"},{"id":7},null,{},{"id":""}]}"#,
        #"{"status_code":200,"content_type":"application/json","body":"{\"data\":[{\"id\":\"m1\"},\"m2\"]}"}"#,
        #"{"status_code":200,"body":{"models":[{"name":"m1"},{"name":"m2"}]}}"#,
    ])
    func everyShapeOfAModelListIsRead(payload: String) async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.connect(node.buyerPort, provider: "lab", token: token)
            worker.register()
            _ = try await worker.event("registered")
            worker.answer(try await worker.request("models.list"), payload: payload)
            try await node.offers("lab/m1", to: node.admin)
            let list = try await node.admin.call("GET", "/v1/models").document?["data"]?.elements ?? []
            #expect(list.compactMap { $0["id"]?.text } == ["lab/m1", "lab/m2"])
        }
    }

    @Test func fragmentsAndBinaryFramesAreMessagesToo() async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            worker.frame(2, Array(#"{"op":"heartbeat","request_id":"binary"}"#.utf8))
            #expect(try await worker.event("heartbeat").id == "binary")
            worker.frame(1, isFinal: false, Array(#"{"op":"heart"#.utf8))
            worker.frame(9, [1, 2])
            worker.frame(0, isFinal: false, Array(#"beat","request"#.utf8))
            worker.frame(0, Array(#"_id":"parts"}"#.utf8))
            #expect(try await worker.event("heartbeat").id == "parts")
        }
    }

    @Test func aFrameOver16MiBEndsTheSession() async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            worker.frame(1, [UInt8](repeating: 0x20, count: 17 << 20))
            try await eventually("the end of the connection") { worker.connection.isClosed }
            try await eventually("no sessions") { try await sessions(node).isEmpty }
        }
    }

    /// What is announced is judged; nothing is waited for.
    @Test func anAnnouncedFrameOver16MiBIs1009() async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            worker.connection.send(
                Array(ScriptedWorker.encode(1, [UInt8](repeating: 0x20, count: 17 << 20)).prefix(14)))
            let close = try await worker.closed()
            #expect(close.code == 1009)
            #expect(close.reason == "message too large")
        }
    }

    /// A control frame may not be fragmented (RFC 6455, section 5.5), and a message not begin with a continuation.
    @Test(arguments: [(9, false), (0, true)] as [(UInt8, Bool)])
    func framesAgainstTheProtocolEndTheSessionWithAReason(opcode: UInt8, isFinal: Bool) async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            worker.frame(opcode, isFinal: isFinal, [1, 2])
            let close = try await worker.closed()
            #expect(close.code == 1002)
            #expect(close.reason == "not a WebSocket message")
            try await eventually("no sessions") { try await sessions(node).isEmpty }
        }
    }

    @Test func aFloodOfBadFramesEndsTheSessionAFewDoNot() async throws {
        try await withProvider { node, token in
            let worker = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            for text in ["", "nonsense", "[1]", #"{"op":"explode"}"#, #"{"status":"ok","request_id":"x"}"#] {
                worker.say(text)
            }
            worker.say(#"{"op":"heartbeat","request_id":"still"}"#)
            #expect(try await worker.event("heartbeat").id == "still")
            for _ in 0..<100 { worker.say("nonsense") }
            let close = try await worker.closed()
            #expect(close.code == 1008)
            #expect(close.reason == "too many unreadable messages")
        }
    }

    @Test func answersToRequestsOfAnotherSessionAreNobodys() async throws {
        try await Shop.open { shop in
            let other = try await ScriptedWorker.attach(
                shop.node.buyerPort, provider: "lab", token: shop.token, client: "w2", models: ["m2"])
            let connection = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
            let request = try await shop.worker.request("chat.completions")
            other.answer(request, payload: #"{"forged":true}"#)
            other.say(#"{"op":"heartbeat","request_id":"hb"}"#)
            _ = try await other.event("heartbeat")
            #expect(connection.received == 0)
            shop.worker.answer(request, payload: #"{"real":true}"#)
            #expect(try await connection.reply().text == #"{"real":true}"#)
        }
    }

    @Test func aStoppingNodeTellsItsWorkers() async throws {
        let worker = try await withNode { node in
            let token = try await node.provider("lab")
            return try await eventually("the worker is admitted") {
                try? await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            }
        }
        let close = try await worker.closed()
        #expect(close.code == 1001)
        #expect(close.reason == "node is shutting down")
    }

    @Test func aRequestOverTheWorkersFrameLimitIs413UnlessItTakesMore() async throws {
        let body = #"{"model":"lab/m1","x":""# + String(repeating: "y", count: 1 << 20) + #""}"#
        try await Shop.open { shop in
            let reply = try await shop.buyer.ask(body)
            #expect(reply.status == 413)
            #expect(reply.errorCode == "worker_frame_limit")
        }
        try await Shop.open(capabilities: #"{"max_frame_bytes":4194304}"#) { shop in
            let (reply, _) = try await shop.exchange(body, answer: "{}")
            #expect(reply.status == 200)
        }
    }
}
