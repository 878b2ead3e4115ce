import Foundation
import Testing

/// A provider that its node serves itself, with real processes: an OpenAI-compatible server elsewhere, which is another
/// network's node with a worker, sold at one node and bought at others.
@Suite(.serialized) struct UpstreamTests {
    @Test func theOfficialSDKBuysAtAnotherNodeAndTheKeyIsNowhere() async throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: Products.python),
            "the SDK is not installed; run 'make venv', as 'make test' does")
        let server = try await WorkerTests.Shop.open(backend: ["kind": "demo", "tokens_per_second": 200])
        let worker = try server.startWorker()
        #expect(await server.isServing(), "\(worker.output)")
        let mesh = try await LocalMesh.up()
        let endpoints = ["v1/embeddings", "v1/audio/speech", "v1/audio/transcriptions", "v1/images/generations"]
        let create = try ChildProcess(
            Products.aisbf,
            [
                "provider", "create", "cloud", "--kind", "openai", "--base-url", "\(server.node.url)/v1", "--access",
                "public", "--data-dir", mesh.dataDirectory("a"),
            ] + endpoints.flatMap { ["--endpoint", $0] }, environment: ["AISBF_PROVIDER_KEY": server.key])
        #expect(await create.exitCode(within: 20) == 0, "\(create.output)")
        #expect(create.output.contains("\(server.node.url)/v1") && !create.output.contains(server.key))
        let model = "cloud/gpu/demo-chat"
        for name in ["a", "c"] {
            let node = mesh.node(name)
            let isListed = await eventually(within: 15) {
                let answer = try? await Curl.run(["-H", "authorization: Bearer \(node.key)", "\(node.url)/models"])
                return answer?.body.contains("\"\(model)\"") ?? false
            }
            #expect(isListed, "at node \(name): \(mesh.log("node-a"))")
            let asked = try ChildProcess(
                Products.python, ["\(Products.root)/Tests/EndToEndTests/openai_sdk.py", node.url, node.key, model])
            #expect(await asked.exitCode(within: 60) == 0, "at node \(name): \(asked.output)")
            #expect(!asked.output.contains(server.key))
        }
        // The key of before is no key any more: the seller's trouble, and not the buyer's.
        let revoked = try await server.node.cli(["key", "revoke", String(try await Self.keyID(server))])
        #expect(revoked.code == 0, "\(revoked.output)")
        let refused = try await mesh.ask("c", model: model)
        #expect(refused.status == 502 && refused.code == "worker_error", "\(refused)")
        #expect(!refused.body.contains(server.key) && !refused.body.contains("127.0.0.1"))
        let isTold = await eventually(within: 5) { mesh.log("node-a").contains("the upstream refuses") }
        #expect(isTold, "\(mesh.log("node-a"))")
        let holding = try Self.files(below: mesh.directory.path, holding: server.key)
        #expect(
            holding.map { $0.split(separator: "/").suffix(3).joined(separator: "/") } == [
                "keys/upstreams/global~cloud.key"
            ])
        worker.kill(SIGTERM)
        try await mesh.down()
        await server.close()
    }

    /// What the owner says at one node is what buyers at another choose by.
    @Test func aPriceThatIsSetIsWhatIsCheapElsewhere() async throws {
        let server = try await WorkerTests.Shop.open(backend: ["kind": "demo", "tokens_per_second": 200])
        let worker = try server.startWorker()
        #expect(await server.isServing(), "\(worker.output)")
        let mesh = try await LocalMesh.up()
        let at = ["--data-dir", mesh.dataDirectory("a")]
        for id in ["one", "two"] {
            let arguments = [
                "provider", "create", id, "--kind", "openai", "--base-url", "\(server.node.url)/v1", "--access",
                "public",
                "--map", "chat=gpu/demo-chat",
            ]
            let create = try ChildProcess(
                Products.aisbf, arguments + at, environment: ["AISBF_PROVIDER_KEY": server.key])
            #expect(await create.exitCode(within: 20) == 0, "\(create.output)")
        }
        func price(_ id: String, _ input: String, _ output: String) async throws {
            let set = try await mesh.run(
                ["provider", "price", "set", "global/\(id)", "chat", "--input", input, "--output", output] + at)
            #expect(set.code == 0 && set.output.contains(input), "\(set.output)")
        }
        func cheapest(_ name: String) async throws -> String? {
            let body = #"{"model":"auto:cheap","provider":{"only":["one","two"]},"messages":[],"max_tokens":2}"#
            return try await mesh.post(name, body).headers["aisbf-provider"]
        }
        for (first, second, winner) in [("1.25", "3", "one"), ("9", "0.25", "two")] {
            try await price("one", first, first)
            try await price("two", second, second)
            for name in ["a", "c"] {
                let isChosen = await eventually(within: 20) {
                    (try? await cheapest(name))?.hasSuffix("/\(winner)") ?? false
                }
                #expect(isChosen, "at node \(name), \(winner): \(mesh.log("node-a"))")
            }
        }
        let listed = try await mesh.run(["provider", "price", "list", "global/two"] + at)
        #expect(listed.output.contains("0.25") && listed.output.contains("USD"), "\(listed.output)")
        let shown = try await mesh.run(["provider", "show", "global/two"] + at)
        #expect(shown.output.contains("chat is gpu/demo-chat") && shown.output.contains("serving"), "\(shown.output)")
        let removed = try await mesh.run(["provider", "price", "remove", "global/two", "chat"] + at)
        #expect(removed.code == 0 && removed.output.contains("No prices"), "\(removed.output)")
        worker.kill(SIGTERM)
        try await mesh.down()
        await server.close()
    }

    private static func keyID(_ shop: WorkerTests.Shop) async throws -> String {
        let listed = try await shop.node.json(["key", "list"])
        let keys = listed["keys"] as? [[String: Any]] ?? []
        return try #require(keys.first { $0["username"] as? String == "alice" }?["key_id"] as? String, "\(listed)")
    }

    private static func files(below directory: String, holding text: String) throws -> [String] {
        let needle = Data(text.utf8)
        return try FileManager.default.subpathsOfDirectory(atPath: directory).filter { path in
            FileManager.default.contents(atPath: "\(directory)/\(path)")?.range(of: needle) != nil
        }
    }
}
