import Foundation
import Testing

/// Exchanges that last, on everything that carries them: whatever a handler does after some seconds of one, it must not
/// end the node. All at the same time, because each takes half a minute.
@Suite(.serialized) struct LongExchangeTests {
    private struct Row: Sendable {
        var name: String
        var method = "POST"
        var path: String
        var type = "application/json"
        /// What is sent at once, in front of a space every two seconds.
        var begin = ""
        /// Bytes of filling behind that.
        var filling = 0
        var end = ""
        var isSlow = true
        var withKey = 200
        var withoutKey = 401
        /// What the answer holds, with a key.
        var says = ""
    }

    private static let words = (1...24).map { "word\($0)" }.joined(separator: " ")

    private static func chat(stream: Bool) -> String {
        #"{"model":"gpu/demo-chat","stream":\#(stream),"max_tokens":30,"messages":[{"role":"user","content":"\#(words)"}]}"#
    }

    private static func responses(stream: Bool) -> String {
        #"{"model":"gpu/demo-chat","stream":\#(stream),"max_output_tokens":30,"input":"\#(words)"}"#
    }

    private static let rows = [
        Row(name: "models", method: "GET", path: "/v1/models", says: "gpu/demo-chat"),
        Row(
            name: "chat, streamed", path: "/v1/chat/completions", begin: chat(stream: true), isSlow: false,
            says: "data: [DONE]"),
        Row(
            name: "chat", path: "/v1/chat/completions", begin: chat(stream: false), isSlow: false,
            says: "chat.completion"),
        Row(
            name: "chat, sent slowly", path: "/v1/chat/completions",
            begin: #"{"model":"gpu/demo-chat","max_tokens":1,"messages":[{"role":"user","content":"a"}]}"#,
            says: "chat.completion"),
        Row(
            name: "messages, streamed", path: "/v1/messages", begin: chat(stream: true), isSlow: false,
            says: "event: message_stop"),
        Row(name: "messages", path: "/v1/messages", begin: chat(stream: false), isSlow: false, says: "stop_reason"),
        Row(
            name: "responses, streamed", path: "/v1/responses", begin: responses(stream: true), isSlow: false,
            says: "event: response.incomplete"),
        Row(
            name: "responses", path: "/v1/responses", begin: responses(stream: false), isSlow: false,
            says: "output_text"),
        Row(
            name: "responses, sent slowly", path: "/v1/responses",
            begin: #"{"model":"gpu/demo-chat","max_output_tokens":1,"input":"a"}"#, says: "output_text"),
        Row(
            name: "embeddings", path: "/v1/embeddings", begin: #"{"model":"gpu/demo-chat","input":"a"}"#,
            says: "embedding"),
        Row(
            name: "upload", path: "/v1/files?model=gpu/demo-chat", type: "multipart/form-data; boundary=b",
            begin:
                "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n",
            filling: 1_300_000, end: "\r\n--b--\r\n", says: "demo"),
        Row(name: "file", method: "GET", path: "/v1/files/demo-1000/content?model=gpu/demo-chat"),
        Row(name: "admin", method: "GET", path: "/api/admin/v1/users", withKey: 403, says: "insufficient_scope"),
        Row(name: "broker status", method: "GET", path: "/api/coderai/broker/sessions", says: "sessions"),
        Row(name: "health", method: "GET", path: "/health", withoutKey: 200, says: "status"),
        Row(name: "metrics", method: "GET", path: "/metrics", withKey: 403),
        Row(name: "nothing", method: "GET", path: "/v1/nothing", withKey: 404, says: "not_found"),
        Row(name: "nowhere", method: "POST", path: "/nowhere", withKey: 404, withoutKey: 404, says: "not_found"),
    ]

    /// Sends a row's request over half a minute, or has it answered over half a minute, with the real curl.
    private static func script(_ row: Row) -> String {
        let slowly = "i=0; while [ $i -lt 15 ]; do sleep 2; printf ' '; i=$((i+1)); done;"
        return """
            { printf '%s' "$BEGIN"; head -c \(row.filling) /dev/zero | tr '\\0' a; \(row.isSlow ? slowly : "") \
            printf '%s' "$END"; } | curl -sS -w '\\n%{http_code} %{http_version} %{time_total}' --max-time 60 \
            -X \(row.method) -T - -H 'Expect:' -H 'content-type: \(row.type)' "$@"
            """
    }

    private struct Outcome: Sendable {
        var what: String
        var status: Int
        var version: String
        var seconds: Double
        var output: String
    }

    private static func run(
        _ row: Row, at base: String, key: String?, curl: [String], what: String
    ) async throws -> Outcome {
        let authorization = key.map { ["-H", "authorization: Bearer \($0)"] } ?? []
        let child = try ChildProcess(
            "/bin/sh", ["-c", script(row), "sh"] + curl + authorization + ["\(base)\(row.path)"],
            environment: ["BEGIN": row.begin, "END": row.end])
        _ = await child.exitCode(within: 70)
        let last = child.output.split(separator: "\n").last?.split(separator: " ") ?? []
        return Outcome(
            what: what, status: last.first.flatMap { Int($0) } ?? 0, version: last.count > 1 ? String(last[1]) : "",
            seconds: last.last.flatMap { Double($0) } ?? 0, output: child.output)
    }

    @Test func halfAMinuteOnEveryRouteAndTransportEndsNoNode() async throws {
        let directory = try TemporaryDirectory()
        let files = try await SecureListenerTests.certificate(in: directory)
        let port = try NodeProcess.freePort()
        let secureBase = "https://127.0.0.1:\(port)"
        let secure = try NodeProcess([
            "api": [
                "listen": "127.0.0.1:\(port)", "url": secureBase,
                "tls": ["certificate": files.certificate, "key": files.key],
            ] as [String: Any]
        ])
        let plain = try NodeProcess()
        let processes = [try plain.start(), try secure.start()]
        var workers: [ChildProcess] = []
        var keys: [String] = []
        for (node, base, authority) in [(plain, plain.url, nil), (secure, secureBase, files.certificate)] {
            let trusted = authority.map { ["--cacert", $0] } ?? []
            let up = await eventually(within: 15) { (try? await Curl.run(trusted + ["\(base)/health"]).status) == 200 }
            try #require(up, "\(processes.map(\.output))")
            #expect(try await node.cli(["user", "create", "alice"]).code == 0)
            let made = try await node.json(["provider", "create", "gpu", "--owner", "alice", "--access", "public"])
            let key = try #require(try await node.json(["key", "create", "alice"])["key"] as? String)
            var file = try #require(made["worker"] as? [String: Any], "\(made)")
            var broker = try #require(file["broker"] as? [String: Any])
            broker["tls_ca_file"] = authority
            file["broker"] = broker
            file["backend"] = ["kind": "demo", "tokens_per_second": 1] as [String: Any]
            let text = String(decoding: try JSONSerialization.data(withJSONObject: file), as: UTF8.self)
            let path = try node.directory.write(text, to: "worker.json")
            let worker = try ChildProcess(Products.aisbf, ["worker", "run", "--config", path])
            let ask = trusted + ["-H", "authorization: Bearer \(key)", "\(base)/v1/models"]
            let serving = await eventually(within: 20) {
                (try? await Curl.run(ask).body.contains("gpu/demo-chat")) ?? false
            }
            try #require(serving, "\(worker.output)")
            workers.append(worker)
            keys.append(key)
        }
        let carriers = [
            ("HTTP/1.1", plain.url, keys[0], [], "1.1"),
            ("HTTP/1.1 and TLS", secureBase, keys[1], ["--http1.1", "--cacert", files.certificate], "1.1"),
            ("HTTP/2 and TLS", secureBase, keys[1], ["--http2", "--cacert", files.certificate], "2"),
        ]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (name, base, key, curl, version) in carriers {
                for row in Self.rows {
                    group.addTask {
                        let what = "\(row.name) over \(name)"
                        let known = try await Self.run(row, at: base, key: key, curl: curl, what: what)
                        Self.check(known, status: row.withKey, version: version, seconds: 25)
                        #expect(
                            row.says.isEmpty || known.output.contains(row.says), "\(what): \(known.output.suffix(500))")
                    }
                    group.addTask {
                        let what = "\(row.name) over \(name) without a key"
                        let unknown = try await Self.run(row, at: base, key: nil, curl: curl, what: what)
                        Self.check(
                            unknown, status: row.withoutKey, version: version, seconds: row.isSlow ? 25 : 0)
                    }
                }
            }
            try await group.waitForAll()
        }
        for process in processes { #expect(process.isRunning, "\(process.output)") }
        #expect(try await Curl.run(["\(plain.url)/health"]).status == 200)
        #expect(try await Curl.run(["--cacert", files.certificate, "\(secureBase)/health"]).status == 200)
        for child in workers + processes { child.kill(SIGTERM) }
        for process in processes { #expect(await process.exitCode(within: 20) == 0, "\(process.output)") }
    }

    private static func check(_ outcome: Outcome, status: Int, version: String, seconds: Double) {
        let said = "\(outcome.what): \(outcome.output.suffix(500))"
        #expect(outcome.status == status, "\(said)")
        #expect(outcome.version == version, "\(said)")
        // Shorter, and nothing was tried.
        #expect(outcome.seconds >= seconds, "\(said)")
    }
}
