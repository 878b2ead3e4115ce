import Foundation
import Testing

/// The official SDKs of Messages and of Responses through two nodes: to a worker that has chat completions only, and to one
/// that has the API.
@Suite(.serialized) struct DialectSDKTests {
    private static func script(_ api: String) -> String {
        "\(Products.root)/Tests/EndToEndTests/Clients/\(api)_client.py"
    }

    /// A provider at node a, and its worker before a scripted backend.
    private static func sell(
        _ provider: String, at mesh: LocalMesh, backend: [String: Any]
    ) async throws -> ChildProcess {
        let created = try await mesh.run([
            "provider", "create", provider, "--owner", "seller", "--access", "public", "--json", "--data-dir",
            mesh.dataDirectory("a"),
        ])
        guard created.code == 0,
            let document = try JSONSerialization.jsonObject(with: Data(created.output.utf8)) as? [String: Any],
            var worker = document["worker"] as? [String: Any]
        else { throw LocalMesh.Failure(description: created.output) }
        worker["backend"] = backend
        let data = try JSONSerialization.data(withJSONObject: worker)
        let file = try mesh.directory.write(String(decoding: data, as: UTF8.self), to: "\(provider).json")
        return try ChildProcess(Products.aisbf, ["worker", "run", "--config", file])
    }

    /// What programs are written with.
    private static func runLibraries(_ host: String, _ key: String) async throws {
        for library in ["langchain", "litellm", "pydantic"] {
            let program = try ChildProcess(Products.python, ["-u", script("programs"), host, key, library])
            let code = await program.exitCode(within: 120)
            #expect(code == 0, "\(library): \(program.output)")
        }
    }

    /// Whatever is asked of the routes that the node says it has, it answers as it says.
    private static func checkDocument(_ host: String, _ key: String) async throws {
        let checks = [
            "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
            "response_headers_conformance",
        ]
        let program = try ChildProcess(
            Products.root + "/.build/venv/bin/schemathesis",
            [
                "run", "\(host)/openapi.yaml", "-H", "authorization: Bearer \(key)", "--phases", "coverage", "--seed",
                "1",
                "--no-color", "--suppress-health-check", "all", "--checks", checks.joined(separator: ","),
            ])
        let code = await program.exitCode(within: 240)
        #expect(code == 0, "\(program.output.suffix(4_000))")
    }

    @Test(arguments: ["messages", "responses"])
    func theSDKIsAnsweredByBothKindsOfWorkers(api: String) async throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: Products.python),
            "the SDK is not installed; run 'make venv', as 'make test' does")
        let backend = try ChildProcess(Products.python, ["-u", Self.script(api), "serve"])
        #expect(await eventually(within: 20) { backend.output.contains("\n") }, "\(backend.output)")
        let port = backend.output.trimmingCharacters(in: .whitespacesAndNewlines)
        let plain: [String: Any] = ["kind": "openai", "base_url": "http://127.0.0.1:\(port)/v1"]
        let mesh = try await LocalMesh.up()
        let workers = [
            try await Self.sell("shop", at: mesh, backend: plain),
            try await Self.sell("native", at: mesh, backend: plain.merging(["endpoints": ["v1/\(api)"]]) { $1 }),
        ]
        for node in mesh.nodes where node.name != "c" {
            let isListed = await eventually(within: 30) {
                let answer = try? await Curl.run(
                    ["-H", "authorization: Bearer \(node.key)", "\(node.url)/models"], within: 5)
                return answer.map { $0.body.contains("shop/chat") && $0.body.contains("native/chat") } ?? false
            }
            #expect(isListed, "\(workers.map(\.output))")
            // Anthropic's programs add /v1 by themselves.
            let base = api == "messages" ? node.url.replacing("/v1", with: "") : node.url
            let asked = try ChildProcess(Products.python, ["-u", Self.script(api), "ask", base, node.key])
            let code = await asked.exitCode(within: 90)
            #expect(code == 0, "at node \(node.name): \(asked.output)")
            // The rest at the node where the worker is not.
            guard node.name == "b" else { continue }
            if api == "messages" {
                try await Self.runLibraries(base, node.key)
            } else {
                try await Self.checkDocument(node.url.replacing("/v1", with: ""), node.key)
            }
        }
        for worker in workers {
            worker.kill(SIGTERM)
            _ = await worker.exitCode(within: 15)
        }
        backend.kill(SIGKILL)
        try await mesh.down()
    }

    /// At the worker's node, and at the one that has to ask it.
    @Test func theSDKGetsCompletionsEmbeddingsAndModerations() async throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: Products.python),
            "the SDK is not installed; run 'make venv', as 'make test' does")
        let backend = try ChildProcess(Products.python, ["-u", Self.script("completions"), "serve"])
        #expect(await eventually(within: 20) { backend.output.contains("\n") }, "\(backend.output)")
        let port = backend.output.trimmingCharacters(in: .whitespacesAndNewlines)
        let mesh = try await LocalMesh.up()
        let endpoints = ["v1/completions", "v1/embeddings", "v1/moderations"]
        let worker = try await Self.sell(
            "texts", at: mesh,
            backend: ["kind": "openai", "base_url": "http://127.0.0.1:\(port)/v1", "endpoints": endpoints])
        for node in mesh.nodes where node.name != "b" {
            let isListed = await eventually(within: 30) {
                let answer = try? await Curl.run(
                    ["-H", "authorization: Bearer \(node.key)", "\(node.url)/models"], within: 5)
                return answer?.body.contains("texts/chat") ?? false
            }
            #expect(isListed, "\(worker.output)")
            let asked = try ChildProcess(
                Products.python, ["-u", Self.script("completions"), "ask", node.url, node.key])
            let code = await asked.exitCode(within: 60)
            #expect(code == 0, "at node \(node.name): \(asked.output)")
        }
        worker.kill(SIGTERM)
        _ = await worker.exitCode(within: 15)
        backend.kill(SIGKILL)
        try await mesh.down()
    }
}
