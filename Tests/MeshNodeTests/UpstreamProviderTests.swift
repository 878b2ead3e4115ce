import Foundation
import MeshModel
import MeshNode
import MeshWire
import Testing

/// A provider that its node serves itself: what buyers at that node and at another one get, and what nobody learns.
@Suite(.serialized, .nodeLog) struct UpstreamProviderTests {
    private struct Side: Sendable {
        var place: String
        var node: TestNode
        var buyer: Buyer

        func post(_ path: String, _ body: String, _ headers: [String] = []) async throws -> Reply {
            try await buyer.call("POST", path, headers: ["content-type: application/json"] + headers, body: body)
        }
    }

    private static let endpoints = [
        "v1/completions", "v1/embeddings", "v1/audio/speech", "v1/audio/transcriptions", "v1/files",
    ]

    /// The provider is at the north node; the second buyer at the south one.
    private static func open(
        _ backend: ScriptedBackend, model: String = "m", log: LogLines? = nil, firstContentMs: Int = 5_000,
        _ body: @escaping @Sendable (_ north: TestNode, _ sides: [Side], _ port: Int) async throws -> Void
    ) async throws {
        let southern = try await PreparedNode("south")
        try await withNode(
            "north", allow: [southern.summary.nodeID], firstContentMs: firstContentMs, log: log
        ) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer], firstContentMs: firstContentMs) { south in
                try await backend.run { port in
                    try await north.upstream(port: port, endpoints: endpoints)
                    var sides: [Side] = []
                    for (place, node) in [("at home", north), ("from another node", south)] {
                        try await node.user("bob")
                        let buyer = try await node.key(of: "bob")
                        try await node.offers("lab/\(model)", to: buyer)
                        sides.append(Side(place: place, node: node, buyer: buyer))
                    }
                    try await body(north, sides, port)
                }
            }
        }
    }

    private static let stream = #","stream":true,"messages":[]}"#
    private static let plain = #","messages":[]}"#

    // MARK: What is served

    @Test func everyEndpointAnswersAtHomeAndFromAnotherNode() async throws {
        let sound = String(repeating: "s", count: 700_000)
        let backend = ScriptedBackend(models: ["m"]) { request in
            switch request.target {
            case "/v1/chat/completions" where request.document?["stream"]?.flag == true:
                return [
                    ScriptedBackend.chunked(),
                    ScriptedBackend.chunk(ScriptedBackend.event("hello ") + ScriptedBackend.event("world")),
                    ScriptedBackend.chunk(ScriptedBackend.event(nil, finish: "stop") + ScriptedBackend.done),
                    ScriptedBackend.lastChunk,
                ]
            case "/v1/embeddings":
                return ScriptedBackend.whole(#"{"object":"list","data":[{"embedding":[0.5]}],"odd":1.50}"#)
            case "/v1/audio/speech":
                return [
                    ScriptedBackend.chunked(type: "audio/mpeg"), ScriptedBackend.chunk(sound),
                    ScriptedBackend.lastChunk,
                ]
            case "/v1/audio/transcriptions":
                let type = request["content-type"] ?? ""
                let said = String(decoding: request.body, as: UTF8.self)
                let isForm = type.hasPrefix("multipart/form-data") && said.contains("\r\n\r\nm\r\n")
                return ScriptedBackend.whole(#"{"text":"\#(isForm) \#(said.contains("RIFFsound"))"}"#)
            default: return ScriptedBackend.whole(ScriptedBackend.completion("hello"))
            }
        }
        try await Self.open(backend) { _, sides, _ in
            for side in sides {
                let plain = try await side.post(Buyer.chat, #"{"model":"lab/m""# + Self.plain)
                #expect(plain.status == 200 && plain.text == ScriptedBackend.completion("hello"), "\(plain.text)")
                #expect(plain["aisbf-provider"] == "global@north/lab" && plain["aisbf-node"] == "north")
                let streamed = try await HeardAnswer.to(
                    side.buyer, path: Buyer.chat, body: #"{"model":"lab/m""# + Self.stream)
                #expect(streamed.isWhole && streamed.events.isComplete("hello world"), "\(streamed.text)")
                let numbers = try await side.post("/v1/embeddings", #"{"model":"lab/m","input":"x"}"#)
                #expect(numbers.text == #"{"object":"list","data":[{"embedding":[0.5]}],"odd":1.50}"#)
                let speech = try await side.post("/v1/audio/speech", #"{"model":"lab/m","input":"x","voice":"v"}"#)
                #expect(speech["content-type"] == "audio/mpeg" && speech.body.count == 700_000)
                for size in [10, 3_000_000] {
                    let form = [
                        "--b", "content-disposition: form-data; name=\"model\"", "", "lab/m", "--b",
                        "content-disposition: form-data; name=\"file\"; filename=\"a.wav\"", "content-type: audio/wav",
                        "", "RIFFsound" + String(repeating: "x", count: size), "--b--", "",
                    ].joined(separator: "\r\n")
                    let text = try await side.buyer.call(
                        "POST", "/v1/audio/transcriptions", headers: ["content-type: multipart/form-data; boundary=b"],
                        body: form)
                    #expect(text.text == #"{"text":"true true"}"#, "\(side.place) \(size): \(text.status) \(text.text)")
                }
            }
            #expect(backend.seen.allSatisfy { $0["authorization"] == "Bearer \(Seller.upstreamKey)" })
            #expect(backend.seen.filter { $0.method == "POST" }.allSatisfy { $0["aisbf-worker"] == nil })
        }
    }

    @Test func itsModelsAreFollowed() async throws {
        let backend = ScriptedBackend(models: ["m", "old"]) { request in
            request.model == "old"
                ? ScriptedBackend.whole(#"{"error":{"message":"no such model"}}"#, status: 404)
                : ScriptedBackend.whole(ScriptedBackend.completion("hello"))
        }
        try await Self.open(backend) { _, sides, _ in
            backend.offer(["m", "new"])
            // What makes the list doubtful is a reason to look at it at once.
            _ = try await sides[0].post(Buyer.chat, #"{"model":"lab/old""# + Self.plain)
            for side in sides {
                try await side.node.offers("lab/new", to: side.buyer)
                let listed = try await side.buyer.call("GET", "/v1/models").text
                #expect(!listed.contains("lab/old"))
                let reply = try await side.post(Buyer.chat, #"{"model":"lab/new""# + Self.plain)
                #expect(reply.status == 200, "\(reply.text)")
            }
        }
    }

    // MARK: Failures

    @Test func aRefusedKeyIsTheSellersFailure() async throws {
        let log = LogLines()
        let backend = ScriptedBackend(models: ["m"]) { request in
            let status = Int(request.document?["user"]?.text ?? "") ?? 401
            return ScriptedBackend.whole(
                #"{"error":{"message":"Incorrect API key: \#(Seller.upstreamKey)","code":"invalid_api_key"}}"#,
                status: status)
        }
        try await Self.open(backend, log: log) { north, sides, port in
            for side in sides {
                for status in [401, 402, 403, 407] {
                    for rest in [Self.plain, Self.stream] {
                        let reply = try await side.post(
                            Buyer.chat, #"{"model":"lab/m","user":"\#(status)""# + rest)
                        #expect(reply.status == 502 && reply.errorCode == "worker_error", "\(reply.text)")
                        #expect(reply.errorMessage.contains("Incorrect API key"))
                        #expect(side.place != "at home" || reply.errorMessage.hasPrefix("the provider says: "))
                        #expect(!reply.text.contains(Seller.upstreamKey) && !reply.text.contains("127.0.0.1"))
                    }
                }
            }
            let line = try await log.line("the upstream refuses this provider's key or account", "global/lab")
            #expect(line.contains("http://127.0.0.1:\(port)/v1") && line.contains("aisbf provider set global/lab"))
            let metrics = try await north.admin.call("GET", "/metrics").text
            #expect(metrics.contains(#"aisbf_upstream_failures_total{reason="refused"}"#))
            #expect(log.with(Seller.upstreamKey).isEmpty)
        }
    }

    @Test func whatIsDownSlowOrCutIsAnErrorInTime() async throws {
        let backend = ScriptedBackend(models: ["m", "hang", "cut", "cut-late"]) { request in
            switch request.model {
            case "hang": return [.pause(60_000)]
            case "cut": return [.close]
            case "cut-late":
                return [
                    ScriptedBackend.chunked(), ScriptedBackend.chunk(ScriptedBackend.event("hello ")), .pause(200),
                    .close,
                ]
            default: return ScriptedBackend.whole(ScriptedBackend.completion("hello"))
            }
        }
        try await Self.open(backend, firstContentMs: 1_000) { north, sides, port in
            for side in sides {
                let hung = try await side.buyer.call(
                    "POST", Buyer.chat, body: #"{"model":"lab/hang""# + Self.stream, within: 30)
                #expect(hung.status == 504 && hung.errorCode == "worker_timeout", "\(side.place): \(hung.text)")
                let cut = try await side.post(Buyer.chat, #"{"model":"lab/cut""# + Self.plain)
                #expect(cut.status == 502, "\(side.place): \(cut.text)")
                let late = try await HeardAnswer.to(
                    side.buyer, path: Buyer.chat, body: #"{"model":"lab/cut-late""# + Self.stream)
                #expect(late.status == 200 && late.events.isBroken(["stream_interrupted"]), "\(late.text)")
            }
            // What is not there any more takes nothing, and no place stays taken.
            _ = try await north.administer(
                "PATCH", "providers/global/lab", #"{"base_url":"http://127.0.0.1:1/v1"}"#)
            try await eventually("nothing of it is offered") {
                let listed = try await sides[0].buyer.call("GET", "/v1/models").text
                return listed.contains("lab/m") ? nil : true
            }
            let gone = try await sides[0].post(Buyer.chat, #"{"model":"lab/m""# + Self.plain)
            #expect([404, 503].contains(gone.status), "\(gone.text)")
            _ = try await north.administer(
                "PATCH", "providers/global/lab", #"{"base_url":"http://127.0.0.1:\#(port)/v1/"}"#)
            for side in sides {
                try await side.node.offers("lab/m", to: side.buyer)
                let back = try await side.post(Buyer.chat, #"{"model":"lab/m""# + Self.plain)
                #expect(back.status == 200, "\(back.text)")
            }
            let busy = try await north.requestsInFlight()
            #expect(busy == 0)
        }
    }

    @Test func aBuyerWhoLeavesEndsTheRequestAtTheUpstream() async throws {
        let backend = ScriptedBackend(models: ["m"]) { _ in
            var steps = [ScriptedBackend.chunked()]
            for _ in 0..<200 {
                steps.append(ScriptedBackend.chunk(ScriptedBackend.event("x ")))
                steps.append(.pause(50))
            }
            return steps
        }
        try await Self.open(backend) { north, sides, _ in
            for side in sides {
                let connection = try await side.buyer.start(#"{"model":"lab/m""# + Self.stream)
                try await eventually("content") { connection.received > 300 ? true : nil }
                #expect(try await north.requestsInFlight() == 1)
                connection.close()
                try await eventually("the end at the upstream, \(side.place)") {
                    try await north.requestsInFlight() == 0 ? true : nil
                }
            }
        }
    }

    // MARK: Who may, and who learns what

    @Test func theKeyIsNowhere() async throws {
        let log = LogLines()
        let backend = ScriptedBackend(models: ["m"]) { request in
            ScriptedBackend.whole(
                #"{"error":{"message":"\#(request["authorization"] ?? "") at \#(request["host"] ?? "")"}}"#, status: 500
            )
        }
        try await Self.open(backend, log: log) { north, sides, _ in
            for side in sides {
                let reply = try await side.post(Buyer.chat, #"{"model":"lab/m""# + Self.plain)
                #expect(reply.status == 500 && !reply.text.contains(Seller.upstreamKey), "\(reply.text)")
                #expect(!reply.text.contains("127.0.0.1"))
                var told = ""
                for path in ["providers", "providers/global/lab", "mesh/providers", "mesh/records", "status"] {
                    told += try await side.node.admin.call("GET", "/api/admin/v1/\(path)").text
                }
                for path in ["/v1/models", "/api/coderai/broker/sessions"] {
                    told += try await side.node.admin.call("GET", path).text
                }
                #expect(!told.contains(Seller.upstreamKey))
            }
            let shown = try await north.administer("GET", "providers/global/lab")
            #expect(shown["upstream"]?["has_key"]?.flag == true && shown["kind"]?.text == "openai")
            let files = try FileManager.default.subpathsOfDirectory(atPath: north.directory)
            let holding = files.filter { file in
                guard let content = FileManager.default.contents(atPath: "\(north.directory)/\(file)") else {
                    return false
                }
                return content.range(of: Data(Seller.upstreamKey.utf8)) != nil
            }
            #expect(holding == ["keys/upstreams/global~lab.key"])
            let mode =
                try FileManager.default.attributesOfItem(
                    atPath: "\(north.directory)/keys/upstreams/global~lab.key")[.posixPermissions] as? Int
            #expect(mode == 0o600)
            #expect(log.with(Seller.upstreamKey).isEmpty)
            _ = try await north.admin.call("DELETE", "/api/admin/v1/providers/global/lab")
            #expect(!FileManager.default.fileExists(atPath: "\(north.directory)/keys/upstreams/global~lab.key"))
            for side in sides {
                try await eventually("it is gone \(side.place)") {
                    try await side.buyer.call("GET", "/v1/models").text.contains("lab/m") ? nil : true
                }
            }
        }
    }

    @Test func onlyTheOperatorMakesOne() async throws {
        try await withNode { node in
            try await node.user("bob")
            let buyer = try await node.key(of: "bob")
            let body = #"{"provider_id":"x","owner":"bob","kind":"openai","base_url":"http://127.0.0.1:1/v1"}"#
            for caller in [buyer, Buyer(port: node.buyerPort, key: nil)] {
                let made = try await caller.call("POST", "/api/admin/v1/providers", body: body)
                #expect([401, 403].contains(made.status))
            }
            _ = try await node.administer("POST", "providers", body)
            let changed = try await buyer.call(
                "PATCH", "/api/admin/v1/providers/bob/x", body: #"{"base_url":"http://10.0.0.1/v1"}"#)
            #expect(changed.status == 403)
            // Its owner sees it, and not where it leads.
            let own = try await buyer.call("GET", "/api/admin/v1/providers/bob/x")
            #expect(own.status == 200 && own.document?["kind"]?.text == "openai" && own.document?["upstream"] == nil)
        }
    }

    @Test func itHasNoTokens() async throws {
        try await withNode { node in
            try await node.upstream(port: 1)
            for path in ["tokens", "rotate-token"] {
                let reply = try await node.admin.call("POST", "/api/admin/v1/providers/global/lab/\(path)", body: "{}")
                #expect(reply.status == 409 && reply.errorMessage.contains("openai"), "\(reply.text)")
            }
            let shown = try await node.administer("GET", "providers/global/lab")
            #expect(shown["tokens"]?.elements == [])
        }
    }

    @Test(arguments: [
        (#""base_url":"ftp://h/v1""#, "base_url"), (#""base_url":"https://u:geheim@h/v1""#, "base_url"),
        (#""base_url":5"#, "base_url"), (#""api_key":"x""#, "base_url"),
        (#""base_url":"http://h/v1","api_key":"geheim nis""#, "api_key"),
        (#""base_url":"http://h/v1","api_key":7"#, "api_key"), (#""base_url":"http://h/v1","api_key":"""#, "api_key"),
        (#""base_url":"http://h/v1","endpoints":["v1/admin"]"#, "endpoints"),
        (#""base_url":"http://h/v1","endpoints":"v1/files""#, "endpoints"),
    ])
    func whatIsWrongIsSaid(fields: String, parameter: String) async throws {
        try await withNode { node in
            let reply = try await node.admin.call(
                "POST", "/api/admin/v1/providers", body: #"{"provider_id":"x","kind":"openai",\#(fields)}"#)
            #expect(reply.status == 400, "\(reply.text)")
            #expect(reply.document?["error"]?["param"]?.text == parameter, "\(reply.text)")
            #expect(!reply.text.contains("geheim"))
            let other = try await node.admin.call(
                "POST", "/api/admin/v1/providers", body: #"{"provider_id":"x",\#(fields)}"#)
            #expect(other.status == 400 && other.document?["error"]?["param"]?.text != nil, "\(other.text)")
        }
    }

    @Test func itIsServedAgainAfterARestartAndAPrivateOneIsItsOwners() async throws {
        let prepared = try await PreparedNode("north")
        let backend = ScriptedBackend(models: ["m"]) { _ in ScriptedBackend.whole(ScriptedBackend.completion("hello")) }
        try await backend.run { port in
            try await withNode("north", prepared: prepared, isKept: true) { node in
                try await node.upstream(port: port, access: "owner")
                try await node.offers("lab/m", to: node.admin)
            }
            try await withNode("north", prepared: prepared) { node in
                try await node.offers("lab/m", to: node.admin)
                let reply = try await node.admin.call("POST", Buyer.chat, body: #"{"model":"lab/m""# + Self.plain)
                #expect(reply.status == 200, "\(reply.text)")
                try await node.user("bob")
                let stranger = try await node.key(of: "bob")
                #expect(try await !stranger.call("GET", "/v1/models").text.contains("lab/m"))
                // What becomes public is another record, and is served as well.
                _ = try await node.administer("PATCH", "providers/global/lab", #"{"access":"public"}"#)
                try await node.offers("lab/m", to: stranger)
                let bought = try await stranger.call("POST", Buyer.chat, body: #"{"model":"lab/m""# + Self.plain)
                #expect(bought.status == 200, "\(bought.text)")
            }
        }
        #expect(backend.seen.allSatisfy { $0["authorization"] == "Bearer \(Seller.upstreamKey)" })
    }

    /// Neither the start of the node nor a change of another provider fails for it.
    @Test func aDamagedKeyCostsItsOwnProviderOnly() async throws {
        let prepared = try await PreparedNode("north")
        let log = LogLines()
        let backend = ScriptedBackend(models: ["m"]) { _ in ScriptedBackend.whole(ScriptedBackend.completion("hello")) }
        try await backend.run { port in
            try await withNode("north", prepared: prepared, isKept: true) { node in
                for id in ["lab", "other"] {
                    try await node.upstream(id, port: port)
                    try await node.offers("\(id)/m", to: node.admin)
                }
            }
            let file = "\(prepared.directory)/keys/upstreams/global~lab.key"
            let content = try #require(FileManager.default.contents(atPath: file))
            try content.dropLast(4).write(to: URL(fileURLWithPath: file))
            try await withNode("north", prepared: prepared, log: log) { node in
                try await node.offers("other/m", to: node.admin)
                let line = try await log.line("the key of an upstream cannot be read", "global/lab")
                #expect(line.contains("checksum") && !line.contains(Seller.upstreamKey))
                _ = try await node.administer("PATCH", "providers/global/other", #"{"display_name":"another"}"#)
                let listed = try await node.admin.call("GET", "/v1/models").text
                #expect(!listed.contains("lab/m") && listed.contains("other/m"))
                _ = try await node.administer("PATCH", "providers/global/lab", #"{"api_key":"\#(Seller.upstreamKey)"}"#)
                try await node.offers("lab/m", to: node.admin)
            }
        }
    }
}
