import MeshModel
import MeshWire
import Testing

/// Rotations and policies of which one member offers an API that the other has to be asked in the words of a chat for.
@Suite(.serialized, .nodeLog) struct MixedPoolTests {
    private struct Pair {
        var node: TestNode
        var bob: Buyer
        /// It offers Messages and Responses.
        var native: ScriptedWorker
        var plain: ScriptedWorker
    }

    private static func open(_ body: @escaping @Sendable (Pair) async throws -> Void) async throws {
        try await withNode { node in
            try await node.user("bob")
            let bob = try await node.key(of: "bob")
            var workers: [ScriptedWorker] = []
            for (provider, offer) in [("lab", #"{"openai_compat":{"messages":true,"responses":true}}"#), ("den", "{}")]
            {
                let token = try await node.provider(provider)
                workers.append(
                    try await eventually("the worker is admitted", within: 20) {
                        try? await ScriptedWorker.attach(
                            node.buyerPort, provider: provider, token: token, client: "w-\(provider)", models: ["m1"],
                            capabilities: offer)
                    })
                try await node.offers("\(provider)/m1", to: bob)
            }
            _ = try await node.administer("POST", "rotations", #"{"name":"pair","members":["lab/m1","den/m1"]}"#)
            try await body(Pair(node: node, bob: bob, native: workers[0], plain: workers[1]))
        }
    }

    private static let requests = [
        ("/v1/messages", #""messages":[{"role":"user","content":"hi"}]"#, "message"),
        ("/v1/responses", #""input":"hi""#, "response"),
    ]

    private static func refuse(_ worker: ScriptedWorker) async {
        guard let again = try? await worker.request("chat.completions") else { return }
        worker.answer(again, payload: #"{"status_code":503,"body":{"error":{"message":"down"}}}"#)
    }

    /// Who offers the API is asked first; where it cannot answer, the other one is, for a chat.
    @Test(arguments: ["rotation/pair", "auto"]) func theOtherMemberIsAskedForAChat(model: String) async throws {
        try await Self.open { pair in
            for (path, body, kind) in Self.requests {
                let connection = try await RawConnection.open(port: pair.node.buyerPort)
                defer { connection.close() }
                connection.request(
                    "POST", path, key: pair.bob.key, headers: [], body: Array(#"{"model":"\#(model)",\#(body)}"#.utf8))
                let first = try await pair.native.request("proxy")
                #expect(first["payload"]?["endpoint_path"]?.text == path)
                pair.native.answer(
                    first,
                    payload: #"{"status_code":\#(kind == "message" ? 503 : 500),"body":{"error":{"message":"down"}}}"#)
                // It may be asked once more, for a chat.
                async let _: Void = Self.refuse(pair.native)
                let second = try await pair.plain.request("chat.completions")
                pair.plain.answer(
                    second, payload: #"{"choices":[{"message":{"content":"ho"},"finish_reason":"stop"}]}"#)
                let reply = try await connection.reply()
                #expect(reply.status == 200, "\(path): \(reply.text)")
                #expect(reply["aisbf-translation"]?.hasSuffix("; chat/completions") == true)
                #expect(reply["aisbf-provider"] == "global@north/den")
                #expect((reply.document?["type"] ?? reply.document?["object"])?.text == kind, "\(reply.text)")
            }
        }
    }

    /// What is the request's own fault is told as it came, and nobody else is asked.
    @Test func aRefusalIsTold() async throws {
        try await Self.open { pair in
            let connection = try await RawConnection.open(port: pair.node.buyerPort)
            defer { connection.close() }
            connection.request(
                "POST", "/v1/responses", key: pair.bob.key, headers: [],
                body: Array(#"{"model":"rotation/pair","input":"hi"}"#.utf8))
            pair.native.answer(
                try await pair.native.request("proxy"),
                payload: #"{"status_code":400,"body":{"error":{"message":"no such field"}}}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 400 && reply.errorMessage == "no such field", "\(reply.text)")
            #expect(reply["aisbf-provider"] == "global@north/lab" && reply["aisbf-translation"] == nil)
        }
    }
}
