import MeshModel
import MeshNode
import MeshWire
import Testing

/// What the log says of requests, workers and changes, and what it does not.
@Suite(.serialized, .nodeLog) struct JournalTests {
    @Test func everyFailedRequestHasALineWithItsID() async throws {
        let log = LogLines()
        try await withNode(log: log) { node in
            try await node.user("bob")
            let bob = try await node.key(of: "bob")
            let unknown = try await bob.ask(#"{"model":"lab/none","secret prompt":1}"#)
            let line = try await log.line("request failed", try #require(unknown["x-request-id"]))
            #expect(line.contains("error.code=model_not_found") && line.contains("http.status=404"), "\(line)")
            #expect(line.contains("http.target=\"POST /v1/chat/completions\""), "\(line)")
            #expect(unknown.document?["error"]?["request_id"]?.text == unknown["x-request-id"])
            let cold = try await bob.call("GET", "/v1/nothing?key=sk-secretsecret")
            #expect(try await log.line(cold["x-request-id"] ?? "-").contains("error.code=not_found"))
            let stranger = try await Buyer(port: node.buyerPort, key: nil).ask("{}")
            #expect(try await log.line(stranger["x-request-id"] ?? "-").contains("error.code=invalid_api_key"))
            let good = try await bob.call("GET", "/v1/models")
            #expect(good["x-request-id"]?.hasPrefix("req_") == true)
            #expect(log.with(good["x-request-id"] ?? "-").isEmpty)
            #expect(log.with("prompt").isEmpty && log.with("secretsecret").isEmpty && log.with("key=sk").isEmpty)
        }
    }

    @Test func aClientsOwnIDStandsBesideOurs() async throws {
        let log = LogLines()
        try await withNode(log: log) { node in
            for (header, value, isShown) in [
                ("x-request-id", "mine-1.2:3_4", true), ("x-client-request-id", "his", true),
                ("x-request-id", "a b", false), ("x-request-id", "q\"", false),
                ("x-request-id", String(repeating: "x", count: 128), true),
                ("x-request-id", String(repeating: "y", count: 129), false),
            ] {
                let connection = try await RawConnection.open(port: node.buyerPort)
                connection.send("GET /v1/nothing HTTP/1.1\r\nhost: n\r\n\(header): \(value)\r\n\r\n")
                let reply = try await connection.reply()
                let id = try #require(reply["x-request-id"])
                #expect(id.hasPrefix("req_") && id.utf8.count == 28)
                let line = try await log.line(id)
                #expect(line.contains("request.client_id=\(value)") == isShown, "\(line)")
                #expect(line.contains("request.client_id") == isShown, "\(line)")
            }
        }
    }

    @Test func allRequestsOrNoneHaveALine() async throws {
        let (all, none) = (LogLines(), LogLines())
        try await withNode(log: all, logRequests: "all") { node in
            let reply = try await node.admin.call("GET", "/v1/models")
            #expect(try await all.line(reply["x-request-id"] ?? "-").contains(" info t request "))
        }
        try await withNode(log: none, logRequests: "none") { node in
            let reply = try await node.admin.call("GET", "/v1/nothing")
            #expect(none.with(reply["x-request-id"] ?? "-").isEmpty)
        }
    }

    @Test func aFloodOfFailuresIsCounted() async throws {
        let log = LogLines()
        try await withNode(log: log) { node in
            let count = Limits.logEventsBurst * 2
            let connection = try await RawConnection.open(port: node.buyerPort)
            for _ in 0..<count {
                connection.send("GET /v1/models HTTP/1.1\r\nhost: n\r\n\r\n")
                #expect(try await connection.reply().status == 401)
            }
            let line = try await log.line("failed requests: more than the log takes", "invalid_api_key=")
            #expect(line.contains("log.left_out="))
            #expect(log.with("request failed").count < count)
        }
    }

    @Test func workersAreNamedWhenTheyComeGoAndAreRefused() async throws {
        let log = LogLines()
        try await withNode(log: log) { node in
            try await node.user("alice")
            let token = try await node.provider("rig", owner: "alice")
            let worker = try await ScriptedWorker.admitted(
                at: node, provider: "rig", token: token, client: "w7", username: "alice")
            _ = try await log.line("worker attached", "provider=alice@north/rig", "worker.client_id=w7")
            worker.connection.close()
            _ = try await log.line("worker session ended", "provider=alice@north/rig", "worker.client_id=w7")
            let (reply, _) = try await ScriptedWorker.dial(
                node.buyerPort, path: "/api/u/alice/coderai/wss",
                headers: ScriptedWorker.identity(
                    "rig", token: "aisbf_reg_wrongwrongwrong", client: "w=\"8 x", username: "alice"))
            #expect(reply.status == 403)
            let line = try await log.line("worker refused", "provider=alice/rig", "remote.address=127.0.0.1")
            // What the caller wrote cannot be taken for fields of the line.
            #expect(line.contains("reason=names_and_token_disagree") && !line.contains("w=\"8"), "\(line)")
            #expect(log.with("wrongwrong").isEmpty && log.with(token).isEmpty)
            let request = try await log.line("request failed", reply["x-request-id"] ?? "-")
            #expect(request.contains("error.code=access_denied"))
        }
    }

    @Test func everyChangeIsWrittenDownWithWhoMadeIt() async throws {
        let log = LogLines()
        try await withNode(log: log) { node in
            try await node.user("alice")
            let made = try await log.line("administration: POST users username=alice", "admin.by=\"global, key ")
            #expect(made.contains("request.id=req_"))
            let token = try await node.provider("rig", owner: "alice")
            _ = try await log.line("administration: POST providers owner=alice provider_id=rig access=public")
            _ = try await node.administer("PATCH", "providers/alice/rig", #"{"max_concurrency":3}"#)
            _ = try await log.line("administration: PATCH providers/alice/rig max_concurrency=3")
            let import_ = #"{"label":"old","import":"a token of somewhere else"}"#
            _ = try await node.administer("POST", "providers/alice/rig/tokens", import_)
            _ = try await log.line("administration: POST providers/alice/rig/tokens label=old")
            _ = try await node.administer("GET", "users")
            // A refused one is a failed request, and no change.
            #expect(
                try await node.admin.call("POST", "/api/admin/v1/users", body: #"{"username":"alice"}"#).status == 409)
            #expect(log.with("administration: POST users").count == 1 && log.with("administration: GET").isEmpty)
            #expect(log.with("somewhere else").isEmpty && log.with(token).isEmpty && log.with(node.adminKey).isEmpty)
        }
    }

    @Test func theHostingNodeWritesTheIDTheBuyerWasGiven() async throws {
        let (near, far) = (LogLines(), LogLines())
        let southern = try await PreparedNode("south")
        try await withNode("north", allow: [southern.summary.nodeID], log: far, logRequests: "all") { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer], log: near) { south in
                try await south.user("bob")
                let bob = try await south.key(of: "bob")
                let token = try await north.provider("lab")
                let worker = try await ScriptedWorker.admitted(at: north, token: token)
                try await south.offers("lab/m1", to: bob)
                let asked = try await bob.start(#"{"model":"lab/m1"}"#)
                let request = try await worker.request("chat.completions")
                worker.say(
                    #"{"request_id":"\#(request.id)","status":"error","event":"result","payload":{"error":{"message":"out of memory","status":500}}}"#
                )
                let reply = try await asked.reply()
                let id = try #require(reply["x-request-id"])
                #expect(reply.status >= 500)
                let here = try await near.line("request failed", id, "request.side=entry")
                #expect(here.contains("provider=global@north/lab") && here.contains("node.host=north"), "\(here)")
                #expect(here.contains("node.host.id=\(north.nodeID)") && here.contains("buyer=bob"), "\(here)")
                let there = try await far.line("request failed", id, "request.side=hosting")
                #expect(there.contains("provider=global@north/lab") && there.contains("model=m1"), "\(there)")
                #expect(
                    there.contains("node.entry=south") && there.contains("node.entry.id=\(south.nodeID)"), "\(there)")

                let left = try await bob.start(#"{"model":"lab/m1"}"#)
                _ = try await worker.request("chat.completions")
                left.close()
                _ = try await near.line("error.code=client_closed_request", "http.status=499", "request.side=entry")
                _ = try await far.line("error.code=client_closed_request", "request.side=hosting")

                _ = try await worker.request("cancel")
                let good = try await bob.start(#"{"model":"lab/m1"}"#)
                let last = try await worker.request("chat.completions")
                worker.answer(last, payload: #"{"id":"ok"}"#)
                let ok = try await good.reply()
                _ = try await far.line(" info t request ", ok["x-request-id"] ?? "-", "request.side=hosting")
            }
        }
    }

    @Test func theMetricsOfANodeAreReadStrictly() async throws {
        try await withNode { node in
            let token = try await node.provider("timed")
            let worker = try await ScriptedWorker.admitted(at: node, provider: "timed", token: token)
            try await node.offers("timed/m1", to: node.admin)
            for isFailure in [false, true] {
                let asked = try await node.admin.start(#"{"model":"timed/m1"}"#)
                let request = try await worker.request("chat.completions")
                if isFailure {
                    worker.say(
                        #"{"request_id":"\#(request.id)","status":"error","event":"result","payload":{"error":{"message":"no","status":500}}}"#
                    )
                } else {
                    worker.answer(request, payload: #"{"id":"ok"}"#)
                }
                _ = try await asked.reply()
            }
            let text = try await eventually("both requests in the metrics") { () -> String? in
                let text = try await node.admin.call("GET", "/metrics").text
                let mine = #"{model="m1",provider="global@north/timed""#
                let isThere =
                    text.contains("aisbf_model_requests_total\(mine),result=\"ok\"} 1")
                    && text.contains("aisbf_model_requests_total\(mine),result=\"failed\"} 1")
                    && text.contains("aisbf_model_request_seconds_count\(mine)} 2")
                return isThere ? text : nil
            }
            let names = text.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map {
                $0.split(separator: " ")[2]
            }
            let helped = text.split(separator: "\n").filter { $0.hasPrefix("# HELP ") }.map {
                $0.split(separator: " ")[2]
            }
            #expect(names == helped)
            #expect(text.contains(#"aisbf_request_seconds_bucket{kind="chat",le="+Inf"}"#))
            let reasons = text.matches(of: /reason="([^"]*)"/).map(\.output.1)
            #expect(reasons.contains("registration_timeout") && reasons.contains("not_json"))
            #expect(reasons.allSatisfy { $0.wholeMatch(of: /[a-z0-9_]+/) != nil })
        }
    }
}
