import Foundation
import Testing

/// A node whose disk is full: a file system of its own, of a few MiB, that the test fills and empties.
@Suite(.serialized) struct FullDiskTests {
    /// Mounts the file system, makes the node with its admin key there, then fills it when a file `fill` appears in the control directory and empties it when
    /// `fill` is gone again.
    private static let script = """
        mount -t tmpfs -o size=4m,mode=700 none "$DISK" || exit 77
        "$1" node init --config "$5" || exit 78
        ( while [ -d "$CONTROL" ]; do
            if [ -e "$CONTROL/fill" ]; then cat /dev/zero >> "$DISK/filler" 2>/dev/null; else rm -f "$DISK/filler"; fi
            sleep 0.2
        done ) &
        exec "$@"
        """

    /// How this user may have mounts of its own; nil where that is not allowed at all: the store's own tests
    /// have to do then.
    static func namespace() async throws -> [String]? {
        for arguments in [["unshare", "-m"], ["unshare", "-Urm"]] {
            let tried = try ChildProcess(
                "/usr/bin/env", arguments + ["sh", "-c", "mount -t tmpfs -o size=1m none /mnt"])
            if await tried.exitCode(within: 10) == 0 { return arguments }
        }
        return nil
    }

    private static func firstRefusal(
        _ make: (Int) async throws -> LocalMesh.Answer
    ) async throws -> LocalMesh.Answer? {
        for number in 0..<300 {
            let answer = try await make(number)
            if answer.status != 201 { return answer }
        }
        return nil
    }

    private static func text(_ answer: LocalMesh.Answer, _ name: String) throws -> Any? {
        (try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any])?[name]
    }

    @Test func aFullDiskEndsNothingAndIsOverWhenThereIsRoomAgain() async throws {
        guard let namespace = try await Self.namespace() else { return }
        let control = try TemporaryDirectory()
        let node = try NodeProcess(["log": ["level": "info"]])
        try FileManager.default.createDirectory(
            atPath: node.dataDirectory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let process = try node.start(
            wrapper: [
                "DISK=\(node.dataDirectory)", "CONTROL=\(control.path)",
            ] + namespace + ["sh", "-c", Self.script, "sh"])
        try #require(await node.isUp(), "\(process.output)")
        let line = try #require(process.output.split(separator: "\n").first { $0.contains("admin key") })
        let admin = try #require(line.split(separator: " ").last.map { String($0) })

        func call(_ method: String, _ path: String, _ body: String = "{}", key: String = admin) async throws
            -> LocalMesh.Answer
        {
            var arguments = ["-X", method, "-H", "authorization: Bearer \(key)", "\(node.url)\(path)"]
            if method == "POST" { arguments += ["-d", body] }
            return try await Curl.run(arguments)
        }
        func writable() async throws -> Bool? {
            (try Self.text(try await call("GET", "/api/admin/v1/status"), "store") as? [String: Any])?["writable"]
                as? Bool
        }

        let made = try await call("POST", "/api/admin/v1/providers", #"{"provider_id":"gpu","access":"public"}"#)
        var file = try #require(try Self.text(made, "worker") as? [String: Any], "\(made.body)")
        file["backend"] = "demo"
        let configuration = try control.write(
            String(decoding: try JSONSerialization.data(withJSONObject: file), as: UTF8.self), to: "worker.json")
        let buyer = try #require(
            try Self.text(try await call("POST", "/api/admin/v1/keys", #"{"username":"global"}"#), "key") as? String)
        let worker = try ChildProcess(Products.aisbf, ["worker", "run", "--config", configuration])
        func ask() async throws -> Int {
            try await call(
                "POST", "/v1/chat/completions",
                #"{"model":"gpu/demo-chat","max_tokens":2,"messages":[{"role":"user","content":"Hi"}]}"#, key: buyer
            ).status
        }
        try #require(await eventually(within: 15) { (try? await ask()) == 200 }, "\(worker.output)")
        #expect(try await writable() == true)

        _ = try control.write("", to: "fill")
        // The first writes may still find room in what the database has already.
        let refusal = try await Self.firstRefusal { number in
            try await call("POST", "/api/admin/v1/users", #"{"username":"u\#(number)"}"#)
        }
        #expect(refusal?.status == 507 && refusal?.code == "store_full", "\(String(describing: refusal))")
        #expect(refusal?.headers["retry-after"] != nil)
        #expect(await eventually(within: 10) { (try? await writable()) == false })
        let health = try await Curl.run(["\(node.url)/health"])
        #expect(health.status == 200 && health.body.contains(#""store":"disk_full""#), "\(health.body)")
        let metric = await eventually(within: 10) {
            (try? await call("GET", "/metrics").body.contains("aisbf_store_writable 0")) ?? false
        }
        #expect(metric)
        // Long enough for everything that a node writes by itself.
        for _ in 0..<8 {
            #expect(try await ask() == 200)
            try await Task.sleep(for: .seconds(1))
        }
        #expect(process.isRunning, "\(process.output)")
        #expect(process.output.contains("the disk is full"), "\(process.output)")
        // A worker that comes anew is let in.
        worker.kill(SIGKILL)
        let again = try ChildProcess(Products.aisbf, ["worker", "run", "--config", configuration])
        #expect(await eventually(within: 15) { (try? await ask()) == 200 }, "\(again.output)")

        try FileManager.default.removeItem(atPath: "\(control.path)/fill")
        #expect(await eventually(within: 15) { (try? await writable()) == true }, "\(process.output)")
        #expect(try await call("POST", "/api/admin/v1/users", #"{"username":"later"}"#).status == 201)
        #expect(try await call("GET", "/metrics").body.contains("aisbf_store_writable 1"))
        #expect(process.output.contains("the store is writable again"), "\(process.output)")
        again.kill(SIGTERM)
        process.kill(SIGTERM)
        // What fills the disk shares the node's output, and ends with the directory.
        try FileManager.default.removeItem(atPath: control.path)
        #expect(await process.exitCode(within: 20) == 0, "\(process.output)")
    }

    /// As long as a node is stopping, it says so to whoever asks, and on new connections too.
    @Test func aStoppingNodeAnswers503UntilItsLastRequestIsOver() async throws {
        let node = try NodeProcess()
        let process = try node.start()
        try #require(await node.isUp(), "\(process.output)")
        #expect(try await node.cli(["user", "create", "alice"]).code == 0)
        let made = try await node.json(["provider", "create", "gpu", "--owner", "alice", "--access", "public"])
        let key = try #require(try await node.json(["key", "create", "alice"])["key"] as? String)
        var file = try #require(made["worker"] as? [String: Any], "\(made)")
        file["backend"] = ["kind": "demo", "tokens_per_second": 2] as [String: Any]
        let configuration = try node.directory.write(
            String(decoding: try JSONSerialization.data(withJSONObject: file), as: UTF8.self), to: "worker.json")
        let worker = try ChildProcess(Products.aisbf, ["worker", "run", "--config", configuration])
        let base = node.url
        @Sendable func ask(_ tokens: Int) async throws -> LocalMesh.Answer {
            try await Curl.run(
                [
                    "-H", "authorization: Bearer \(key)", "\(base)/v1/chat/completions", "-d",
                    #"{"model":"gpu/demo-chat","stream":true,"max_tokens":\#(tokens),"messages":[{"role":"user","content":"Hi"}]}"#,
                ], within: 30)
        }
        try #require(await eventually(within: 15) { (try? await ask(1).status) == 200 }, "\(worker.output)")
        async let running = ask(10)
        let socket = ["--unix-socket", "\(node.dataDirectory)/admin.sock", "http://node/api/admin/v1/status"]
        let isRunning = await eventually(within: 10) {
            (try? await Curl.run(socket).body.contains(#""requests_in_flight":1"#)) ?? false
        }
        #expect(isRunning)
        process.kill(SIGTERM)
        #expect(await eventually(within: 3) { (try? await Curl.run(["\(base)/health"]).status) == 503 })
        let refused = try await ask(1)
        #expect(refused.status == 503 && refused.code == "node_draining", "\(refused)")
        #expect(try await running.body.contains("data: [DONE]"))
        #expect(await process.exitCode(within: 20) == 0, "\(process.output)")
        worker.kill(SIGTERM)
    }
}
