import Foundation
import Testing

/// The public listener with TLS: HTTP/2 by ALPN for buyers, `wss` for workers, and what a worker does with a
/// certificate that nobody vouches for.
@Suite(.serialized) struct SecureListenerTests {
    /// A certificate for 127.0.0.1 that is its own authority, made by the system's openssl.
    static func certificate(
        in directory: TemporaryDirectory, days: Int = 2
    ) async throws -> (certificate: String, key: String) {
        let files = (certificate: "\(directory.path)/tls.pem", key: "\(directory.path)/tls.key")
        let made = try ChildProcess(
            "/usr/bin/env",
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "\(days)", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", files.key, "-out", files.certificate,
            ])
        guard await made.exitCode(within: 20) == 0 else { throw LocalMesh.Failure(description: made.output) }
        return files
    }

    @Test func buyersGetHTTP2AndWorkersAttachOverTLS() async throws {
        let directory = try TemporaryDirectory()
        let files = try await Self.certificate(in: directory)
        let port = try NodeProcess.freePort()
        let base = "https://127.0.0.1:\(port)"
        let node = try NodeProcess([
            "api": [
                "listen": "127.0.0.1:\(port)", "url": base,
                "tls": ["certificate": files.certificate, "key": files.key],
            ] as [String: Any]
        ])
        let process = try node.start()
        let trusted = ["--cacert", files.certificate]
        let up = await eventually(within: 10) { (try? await Curl.run(trusted + ["\(base)/health"]).status) == 200 }
        try #require(up, "\(process.output)")

        #expect(try await node.cli(["user", "create", "alice"]).code == 0)
        let provider = try await node.json(["provider", "create", "gpu", "--owner", "alice", "--access", "public"])
        let key = try #require(try await node.json(["key", "create", "alice"])["key"] as? String)
        var file = try #require(provider["worker"] as? [String: Any], "\(provider)")
        var broker = try #require(file["broker"] as? [String: Any])
        #expect(broker["base_url"] as? String == base)
        file["backend"] = "demo"
        let untrusting = try directory.write(Self.text(file), to: "untrusting.json")
        broker["tls_ca_file"] = files.certificate
        file["broker"] = broker
        let trusting = try directory.write(Self.text(file), to: "worker.json")

        // Without the authority the worker refuses the node: it must not hand its token to whoever answers.
        let refusing = try ChildProcess(Products.aisbf, ["worker", "run", "--config", untrusting])
        let refused = await eventually(within: 10) { refusing.output.contains("retrying") }
        #expect(refused && !refusing.output.contains("registered with the broker"), "\(refusing.output)")
        refusing.kill(SIGKILL)

        let worker = try ChildProcess(Products.aisbf, ["worker", "run", "--config", trusting])
        func ask(_ version: String, stream: Bool) async throws -> LocalMesh.Answer {
            try await Curl.run(
                trusted + [
                    version, "-H", "authorization: Bearer \(key)", "-d",
                    #"{"model":"gpu/demo-chat","stream":\#(stream),"max_tokens":4,"messages":[{"role":"user","content":"Hi"}]}"#,
                    "\(base)/v1/chat/completions",
                ])
        }
        let serving = await eventually(within: 10) { (try? await ask("--http2", stream: false).status) == 200 }
        try #require(serving, "\(worker.output)\n\(process.output)")
        for version in ["--http1.1", "--http2"] {
            let streamed = try await ask(version, stream: true)
            #expect(streamed.body.components(separatedBy: "data: [DONE]").count == 2, "\(version): \(streamed.body)")
        }
        let negotiated = try ChildProcess(
            "/usr/bin/env",
            ["curl", "-sS", "--http2", "-o", "/dev/null", "-w", "%{http_version}"] + trusted + ["\(base)/health"])
        #expect(await negotiated.exitCode(within: 10) == 0)
        #expect(negotiated.output == "2", "ALPN chose \(negotiated.output)")
        try await Self.lineBreaksReachNoBackend(node, port, files.certificate, key)
        worker.kill(SIGTERM)
        #expect(await worker.exitCode(within: 10) == 0, "\(worker.output)")
        process.kill(SIGTERM)
        #expect(await process.exitCode(within: 10) == 0, "\(process.output)")
    }

    /// HTTP/2 carries what cannot stand in a field of HTTP/1.1, which the backend is asked in.
    private static func lineBreaksReachNoBackend(
        _ node: NodeProcess, _ port: Int, _ certificate: String, _ key: String
    ) async throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: Products.python),
            "the Python packages are not installed; run 'make venv', as 'make test' does")
        let script = "\(Products.root)/Tests/EndToEndTests/Clients/raw_http2.py"
        let backend = try ChildProcess(Products.python, ["-u", script, "serve"])
        #expect(await eventually(within: 10) { backend.output.contains("port ") })
        let backendPort = backend.output.split(separator: "\n").first?.split(separator: " ").last ?? ""
        let made = try await node.json(["provider", "create", "raw", "--owner", "alice", "--access", "public"])
        var file = try #require(made["worker"] as? [String: Any], "\(made)")
        var broker = try #require(file["broker"] as? [String: Any])
        broker["tls_ca_file"] = certificate
        file["broker"] = broker
        file["backend"] = [
            "kind": "openai", "base_url": "http://127.0.0.1:\(backendPort)/v1", "endpoints": ["v1/embeddings"],
        ]
        let path = try node.directory.write(Self.text(file), to: "raw.json")
        let worker = try ChildProcess(Products.aisbf, ["worker", "run", "--config", path])
        let models = [
            "--cacert", certificate, "-H", "authorization: Bearer \(key)", "https://127.0.0.1:\(port)/v1/models",
        ]
        let listed = await eventually(within: 15) { (try? await Curl.run(models).body.contains("raw/m")) ?? false }
        #expect(listed, "\(worker.output)")
        let asked = try ChildProcess(
            Products.python, ["-u", script, "ask", "\(port)", certificate, key, "raw/m"])
        #expect(await asked.exitCode(within: 60) == 0, "\(asked.output)\n\(backend.output)")
        #expect(asked.output.contains("done"), "\(asked.output)")
        #expect(backend.output.contains("accept: image/x-good") && backend.output.contains("accept: image/x-last"))
        #expect(!backend.output.contains("x-evil"), "\(backend.output)")
        for process in [worker, backend] { process.kill(SIGTERM) }
    }

    private static func text(_ document: [String: Any]) throws -> String {
        String(decoding: try JSONSerialization.data(withJSONObject: document), as: UTF8.self)
    }
}
