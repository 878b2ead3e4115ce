import MeshModel
import MeshNode
import MeshWire
import Synchronization
import Testing

/// What is agreed about an upstream: several keys, headers, names of its own, how long it may sleep, what it costs; at home
/// and from another node.
@Suite(.serialized, .nodeLog) struct UpstreamTermsTests {
    private struct Side: Sendable {
        var place: String
        var node: TestNode
        var buyer: Buyer

        func post(_ model: String, _ more: String = "", within seconds: Int = 30) async throws -> Reply {
            try await buyer.call(
                "POST", Buyer.chat, body: #"{"model":"\#(model)"\#(more),"messages":[]}"#, within: seconds)
        }
    }

    private static func open(
        _ backend: ScriptedBackend, log: LogLines? = nil, upstreamRanges: [String] = ["127.0.0.0/8"],
        _ body: @escaping @Sendable (_ north: TestNode, _ sides: [Side], _ port: Int) async throws -> Void
    ) async throws {
        let southern = try await PreparedNode("south")
        try await withNode(
            "north", allow: [southern.summary.nodeID], firstContentMs: 5_000, log: log, upstreamRanges: upstreamRanges
        ) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer], firstContentMs: 5_000) { south in
                try await backend.run { port in
                    var sides: [Side] = []
                    for (place, node) in [("at home", north), ("from another node", south)] {
                        try await node.user("bob")
                        sides.append(Side(place: place, node: node, buyer: try await node.key(of: "bob")))
                    }
                    try await body(north, sides, port)
                }
            }
        }
    }

    private static func make(_ node: TestNode, _ id: String, _ port: Int, _ more: String) async throws {
        _ = try await node.administer(
            "POST", "providers",
            #"{"provider_id":"\#(id)","kind":"openai","access":"public","base_url":"http://127.0.0.1:\#(port)/v1",\#(more)}"#
        )
    }

    private static func offered(_ model: String, to sides: [Side]) async throws {
        for side in sides { try await side.node.offers(model, to: side.buyer) }
    }

    private static func standing(_ node: TestNode, _ id: String = "lab") async throws -> JSONValue? {
        try await node.administer("GET", "providers/global/\(id)")["upstream"]?["standing"]
    }

    // MARK: Keys

    private static let keys = ["sk-refused-0001", "sk-good-0002", "sk-limited-0003"]

    @Test func ofSeveralKeysEachRestsForItself() async throws {
        let log = LogLines()
        let backend = ScriptedBackend(models: ["m"]) { request in
            let key = request["authorization"] ?? ""
            if key.contains("refused") {
                return ScriptedBackend.whole(#"{"error":{"message":"no key \#(key)"}}"#, status: 401)
            }
            if key.contains("limited") {
                return ScriptedBackend.whole(#"{"error":{"message":"slow"}}"#, status: 429, ["retry-after: 600"])
            }
            return ScriptedBackend.whole(ScriptedBackend.completion("hello"))
        }
        try await Self.open(backend, log: log) { north, sides, port in
            let list = Self.keys.map { #""\#($0)""# }.joined(separator: ",")
            try await Self.make(north, "lab", port, #""api_keys":[\#(list)]"#)
            try await Self.offered("lab/m", to: sides)
            for side in sides {
                for _ in 0..<4 {
                    let reply = try await side.post("lab/m")
                    #expect(reply.status == 200 && reply["aisbf-attempts"] == "1", "\(side.place): \(reply.text)")
                }
            }
            let posts = backend.seen.filter { $0.method == "POST" }
            for (key, times) in zip(Self.keys, [1, 8, 1]) {
                #expect(posts.filter { $0["authorization"] == "Bearer \(key)" }.count == times, "\(key)")
            }
            let shown = try await north.administer("GET", "providers/global/lab")
            let standing = try #require(shown["upstream"]?["standing"])
            #expect(standing["keys"]?.elements?.compactMap { $0["state"]?.text } == ["refused", "good", "limited"])
            #expect(standing["keys"]?.elements?[2]["rests_for_seconds"]?.integer ?? 0 > 500)
            #expect(standing["state"]?.text == "serving")
            _ = try await log.line("a key of the upstream is refused and rests", "global/lab")
            let metrics = try await north.admin.call("GET", "/metrics").text
            #expect(metrics.contains(#"aisbf_upstream_key_rests_total{reason="refused"}"#))
            let text = String(decoding: shown.bytes, as: UTF8.self) + log.all.joined() + metrics
            #expect(Self.keys.allSatisfy { !text.contains($0) })
            // A new key is asked at once.
            _ = try await north.administer("PATCH", "providers/global/lab", #"{"api_key":"sk-good-0009"}"#)
            try await eventually("the new key is asked") {
                _ = try await sides[1].post("lab/m")
                return backend.seen.last { $0.method == "POST" }?["authorization"] == "Bearer sk-good-0009"
            }
        }
    }

    /// Its own account is the seller's trouble: another member answers, and it is not asked again for half an hour.
    @Test(arguments: [401, 402, 429]) func aPoolLeavesASellerWhoseKeyIsRefused(status: Int) async throws {
        let backend = ScriptedBackend(models: ["m"]) { request in
            request["authorization"] == "Bearer sk-refused-0001"
                ? ScriptedBackend.whole(
                    #"{"error":{"message":"no"}}"#, status: status, status == 429 ? ["retry-after: 900"] : [])
                : ScriptedBackend.whole(ScriptedBackend.completion("hello"))
        }
        let log = LogLines()
        try await Self.open(backend, log: log) { north, sides, port in
            for (id, key) in [("lab", "sk-refused-0001"), ("den", "sk-good-0002")] {
                try await Self.make(north, id, port, #""api_key":"\#(key)""#)
                try await Self.offered("\(id)/m", to: sides)
            }
            for side in sides {
                let body = #"{"name":"pair","members":["global@north/lab/m","global@north/den/m"]}"#
                _ = try await side.node.administer("POST", "rotations", body)
                var failovers = 0
                for _ in 0..<8 {
                    let reply = try await side.post("rotation/pair")
                    #expect(reply.status == 200 && reply["aisbf-provider"] == "global@north/den", "\(reply.text)")
                    if reply["aisbf-attempts"] == "2" { failovers += 1 }
                }
                #expect(failovers == 1, "\(side.place)")
                // By its own name the seller's trouble is told, and never as the buyer's.
                let direct = try await side.post("lab/m")
                #expect(direct.status == (status == 429 ? 429 : 502), "\(direct.text)")
                #expect(status == 429 ? direct["retry-after"] == "900" : direct.errorCode == "worker_error")
                for _ in 0..<4 {
                    let chosen = try await side.post("auto", #","provider":{"only":["lab","den"]}"#)
                    #expect(chosen.status == 200, "\(side.place): \(chosen.text)")
                }
            }
            guard status != 429 else { return }
            let asked = backend.seen.filter { $0["authorization"] == "Bearer sk-refused-0001" && $0.method == "POST" }
            // At each node once by the pool, once by its name, and at most once by the policy.
            #expect((4...6).contains(asked.count), "\(asked.count)")
            let standing = try await Self.standing(north)
            #expect(standing?["state"]?.text == "refused" && standing?["problem"]?.text?.contains("\(status)") == true)
            _ = try await log.line("a member's own key or account is refused where it buys")
        }
    }

    // MARK: Headers and names

    @Test func headersAndNamesOfItsOwn() async throws {
        let backend = ScriptedBackend(models: ["org/big", "plain"]) { request in
            if request.target.hasSuffix("transcriptions") {
                let said = String(decoding: request.body, as: UTF8.self)
                return ScriptedBackend.whole(#"{"text":"\#(said.contains("org/big")) \#(said.contains("fast"))"}"#)
            }
            let model = request.model
            guard request.document?["stream"]?.flag == true else {
                return ScriptedBackend.whole(
                    #"{"id":"c","object":"chat.completion","created":1,"model":"\#(model)","choices":[{"index":0,"#
                        + #""message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"n":1.50}"#)
            }
            let event = ScriptedBackend.delta("hi", finish: "stop").replacing("scripted", with: model)
            return [
                ScriptedBackend.chunked(), ScriptedBackend.chunk(String("data: \(event)\n\n".prefix(40))),
                ScriptedBackend.chunk(String("data: \(event)\n\n".dropFirst(40))),
                ScriptedBackend.chunk(ScriptedBackend.done), ScriptedBackend.lastChunk,
            ]
        }
        try await Self.open(backend) { north, sides, port in
            try await Self.make(
                north, "lab", port,
                #""endpoints":["v1/embeddings","v1/audio/transcriptions"],"headers":{"X-Team":"blue-secret-1"},"#
                    + #""models":{"fast":"org/big"}"#)
            try await Self.offered("lab/fast", to: sides)
            for side in sides {
                let listed = try await side.buyer.call("GET", "/v1/models").text
                #expect(listed.contains("lab/plain") && !listed.contains("org/big"))
                let whole = try await side.post("lab/fast")
                #expect(
                    whole.document?["model"]?.text == "fast" && whole.text.hasSuffix(#""n":1.50}"#), "\(whole.text)")
                let streamed = try await side.post("lab/fast", #","stream":true"#)
                #expect(streamed.text.contains(#""model":"fast""#) && !streamed.text.contains("org/big"))
                let plain = try await side.post("lab/plain")
                #expect(plain.document?["model"]?.text == "plain")
                let unknown = try await side.post("lab/org/big")
                #expect(unknown.status == 404, "\(unknown.text)")
            }
            for side in sides {
                let numbers = try await side.buyer.call(
                    "POST", "/v1/embeddings", body: #"{"model":"lab/fast","input":"x"}"#)
                #expect(numbers.status == 200 && numbers.document?["model"]?.text == "fast", "\(numbers.text)")
                let form = [
                    "--b", "content-disposition: form-data; name=\"model\"", "", "lab/fast", "--b",
                    "content-disposition: form-data; name=\"file\"; filename=\"a.wav\"", "", "RIFF", "--b--", "",
                ].joined(separator: "\r\n")
                let heard = try await side.buyer.call(
                    "POST", "/v1/audio/transcriptions", headers: ["content-type: multipart/form-data; boundary=b"],
                    body: form)
                #expect(heard.text == #"{"text":"true false"}"#, "\(side.place): \(heard.text)")
            }
            let posts = backend.seen.filter { $0.method == "POST" && !$0.model.isEmpty }
            #expect(Set(posts.map(\.model)) == ["org/big", "plain"])
            #expect(backend.seen.allSatisfy { $0["x-team"] == "blue-secret-1" })
            let shown = try await north.administer("GET", "providers/global/lab")
            #expect(shown["upstream"]?["headers"] == ["X-Team"])
            #expect(shown["upstream"]?["models"]?["fast"]?.text == "org/big")
            #expect(!String(decoding: shown.bytes, as: UTF8.self).contains("blue-secret"))
            for wrong in [
                #"{"headers":{"Authorization":"x"}}"#, #"{"headers":{"Host":"x"}}"#, #"{"headers":["x"]}"#,
                #"{"models":{"a":5}}"#, #"{"models":{"":"x"}}"#, #"{"cold_start_seconds":-1}"#, #"{"api_keys":[]}"#,
                #"{"api_keys":["k","k"]}"#, #"{"api_key":"a","api_keys":["b"]}"#,
            ] {
                let reply = try await north.admin.call("PATCH", "/api/admin/v1/providers/global/lab", body: wrong)
                #expect(reply.status == 400, "\(wrong): \(reply.text)")
            }
            _ = try await north.administer("PATCH", "providers/global/lab", #"{"headers":null,"models":null}"#)
            try await Self.offered("lab/org/big", to: sides)
        }
    }

    // MARK: Sleep

    @Test func aSleeperIsWaitedFor() async throws {
        let isAwake = Mutex(false)
        let backend = ScriptedBackend(models: ["m"]) { _ in
            isAwake.withLock { $0 }
                ? ScriptedBackend.whole(ScriptedBackend.completion("hello"))
                : ScriptedBackend.whole("<html>no server</html>", status: 503, type: "text/html")
        }
        try await Self.open(backend) { north, sides, port in
            try await Self.make(north, "lab", port, #""cold_start_seconds":20"#)
            try await Self.offered("lab/m", to: sides)
            for side in sides {
                _ = try await side.node.administer(
                    "POST", "rotations", #"{"name":"one","members":["global@north/lab/m"]}"#)
            }
            for side in sides {
                for model in ["lab/m", "rotation/one"] {
                    isAwake.withLock { $0 = false }
                    let asked = backend.seen.count
                    async let first = side.post(model)
                    async let second = side.post(model, #","stream":true"#)
                    try await eventually("it is asked in vain") { backend.seen.count > asked + 3 ? true : nil }
                    let standing = try await Self.standing(north)
                    #expect(standing?["state"]?.text == "asleep")
                    isAwake.withLock { $0 = true }
                    let (whole, streamed) = (try await first, try await second)
                    #expect(whole.status == 200 && streamed.status == 200, "\(side.place) \(model): \(whole.text)")
                }
            }
            // One that does not wake is said to sleep, and is no failure of anybody's.
            _ = try await north.administer("PATCH", "providers/global/lab", #"{"cold_start_seconds":1}"#)
            try await Self.offered("lab/m", to: sides)
            for side in sides {
                isAwake.withLock { $0 = false }
                for _ in 0..<4 {
                    let reply = try await side.post("lab/m")
                    #expect(reply.status == 503 && reply.errorCode == "worker_unavailable", "\(reply.text)")
                    #expect(reply.errorMessage.contains("did not wake within 1 s"), "\(reply.text)")
                    #expect(reply["retry-after"] != nil)
                }
                _ = try await side.post("rotation/one")
                isAwake.withLock { $0 = true }
                try await eventually("it is asked again", within: 5) {
                    try await side.post("rotation/one").status == 200 ? true : nil
                }
            }
        }
    }

    // MARK: Addresses

    @Test func addressesThatAreNotNamedAreNotDialled() async throws {
        let backend = ScriptedBackend(models: ["m"]) { _ in ScriptedBackend.whole(ScriptedBackend.completion("hello")) }
        try await Self.open(backend, upstreamRanges: []) { north, _, port in
            for host in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "100.64.0.1"] {
                let body = #"{"provider_id":"x","kind":"openai","base_url":"http://\#(host):\#(port)/v1"}"#
                let reply = try await north.admin.call("POST", "/api/admin/v1/providers", body: body)
                #expect(reply.status == 400 && reply.document?["error"]?["param"]?.text == "base_url", "\(reply.text)")
                #expect(reply.errorMessage.contains("upstream.allow_private_addresses"), "\(reply.text)")
            }
            // A name is judged when it is used.
            _ = try await north.administer(
                "POST", "providers",
                #"{"provider_id":"lab","kind":"openai","access":"public","base_url":"http://localhost:\#(port)/v1"}"#)
            try await eventually("it is told") {
                try await Self.standing(north)?["problem"]?.text?.contains("upstream.allow_private_addresses")
            }
            #expect(backend.connections == 0)
        }
    }

    // MARK: Prices

    @Test func whatIsCheapIsWhatItsOwnersSay() async throws {
        let backend = ScriptedBackend(models: ["m"]) { _ in ScriptedBackend.whole(ScriptedBackend.completion("hello")) }
        try await Self.open(backend) { north, sides, port in
            for id in ["lab", "den"] {
                try await Self.make(north, id, port, #""api_key":"sk-\#(id)-0001""#)
                try await Self.offered("\(id)/m", to: sides)
            }
            func price(_ id: String, _ price: String) async throws -> JSONValue {
                try await north.administer("PATCH", "providers/global/\(id)", #"{"prices":{\#(price)}}"#)
            }
            let set = try await price(
                "lab", #""m":{"input":"1.50","output":6,"cached_input":"0.15","request":"0.002"}"#)
            #expect(set["prices"]?.elements?.first?["input"]?.text == "1.5")
            #expect(set["prices"]?.elements?.first?["request"]?.text == "0.002")
            _ = try await price("den", #""*":{"input":"3","output":"9","request":"0.01"}"#)
            _ = try await north.administer("PATCH", "providers/global/lab", #"{"data_policy":"none"}"#)
            for cheap in ["lab", "den"] {
                for side in sides {
                    try await eventually("\(cheap) is taken \(side.place)", within: 20) {
                        let reply = try await side.post("auto:cheap")
                        return reply["aisbf-provider"] == "global@north/\(cheap)" ? true : nil
                    }
                }
                if cheap == "lab" {
                    let model = try await sides[1].buyer.call("GET", "/v1/models/lab/m").document
                    #expect(model?["pricing"]?["prompt"]?.text == "0.0000015", "\(model ?? .null)")
                    #expect(model?["pricing"]?["input_cache_read"]?.text == "0.00000015")
                    #expect(model?["pricing"]?["request"]?.text == "0.002")
                    #expect(model?["aisbf"]?["data_policy"]?.text == "none")
                    #expect(model?["aisbf"]?["prices"]?["output"]?.text == "6")
                    _ = try await price("lab", #""m":{"input":"30","output":"60","request":"1"}"#)
                }
            }
            for wrong in [
                #""m":{"input":"-1"}"#, #""m":{"input":"1e99"}"#, #""m":{"input":"0.0000001"}"#, #""m":{"price":"1"}"#,
                #""m":{}"#, #""m":5"#, #""m":{"currency":"usd"}"#, #""m":{"input":"2000000000"}"#,
            ] {
                let reply = try await north.admin.call(
                    "PATCH", "/api/admin/v1/providers/global/lab", body: #"{"prices":{\#(wrong)}}"#)
                #expect(
                    reply.status == 400 && reply.document?["error"]?["param"]?.text == "prices",
                    "\(wrong): \(reply.text)")
            }
            let gone = try await north.administer("PATCH", "providers/global/lab", #"{"prices":null}"#)
            #expect(gone["prices"]?.elements?.isEmpty == true)
        }
    }
}
