import Foundation
import Testing

/// What an operator types, as it is typed, and what comes of it.
@Suite(.serialized) struct OperatorCommandTests {
    @Test func accountsAreDisabledEnabledChangedAndRemoved() async throws {
        let shop = try await WorkerTests.Shop.open()
        let worker = try shop.startWorker()
        #expect(await shop.isServing(), "\(worker.output)")
        #expect(try await shop.node.cli(["user", "disable", "alice"]).code == 0)
        let refused = try await shop.ask()
        #expect(refused.status == 403 && refused.code == "account_disabled", "\(refused)")
        let told = await eventually(within: 8) { worker.output.contains("provider is disabled") }
        #expect(told, "\(worker.output)")
        worker.kill(SIGKILL)
        let listed = try await shop.node.cli(["user", "list"])
        #expect(listed.output.contains("yes"), "\(listed.output)")
        #expect(try await shop.node.cli(["user", "enable", "alice"]).code == 0)

        let set = try await shop.node.json([
            "provider", "set", "alice/gpu", "--access", "owner", "--max-concurrency", "3", "--display-name", "Rig",
        ])
        #expect(set["access"] as? String == "owner" && set["max_concurrency"] as? Int == 3, "\(set)")
        for wrong in [
            ["provider", "set", "alice/gpu"], ["provider", "set", "alice/gpu", "--access", "named"],
            ["provider", "set", "alice/gpu", "--access", "owner", "--named", "x"],
            ["provider", "set", "alice/gpu", "--max-concurrency", "0"],
            ["provider", "set", "gpu", "--access", "owner"],
            ["key", "create", "alice", "--expires-in", "soon"], ["key", "create", "alice", "--expires-in", "0"],
            ["provider", "create", "x", "--backend-url", "ftp://x"], ["user", "list", "--ca-file", "/dev/null"],
            ["user", "list", "--url", "node.example", "--admin-key", "k"],
        ] {
            let result = try await shop.node.cli(wrong)
            #expect(result.code == 64, "\(wrong): \(result)")
        }
        let key = try await shop.node.json(["key", "create", "alice", "--expires-in", "30d"])
        let life = (key["expires_at"] as? Int ?? 0) - (key["created_at"] as? Int ?? 0)
        #expect(life == 30 * 86_400)
        let id = try #require(key["key_id"] as? String)
        let rotated = try await shop.node.json(["key", "rotate", id, "--overlap", "1w"])
        #expect((rotated["key"] as? String)?.hasPrefix("sk-aisbf-") == true, "\(rotated)")
        let chosen = try await shop.node.json(["key", "set", id, "--default-model", "auto"])
        #expect(chosen["default_model"] as? String == "auto" && chosen["key"] == nil, "\(chosen)")
        #expect(try await shop.node.json(["key", "set", id, "--no-default-model"])["default_model"] is NSNull)
        let named = try await shop.node.json(["key", "create", "alice", "--default-model", "lab/m1"])
        #expect(named["default_model"] as? String == "lab/m1", "\(named)")
        #expect(try await shop.node.cli(["key", "set", id]).code == 64)
        let table = try await shop.node.cli(["key", "list"])
        #expect(table.output.contains(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}/), "\(table.output)")

        let kept = try await shop.node.cli(["user", "remove", "alice"])
        #expect(kept.code == 1 && kept.output.contains("alice/gpu"), "\(kept)")
        #expect(try await shop.node.cli(["user", "remove", "alice", "--force"]).code == 0)
        #expect(try await shop.ask().status == 401)
        #expect(try await shop.node.cli(["user", "remove", "alice"]).code == 1)
        await shop.close()
    }

    @Test func anHTTPSNodeIsReachedWithItsAuthorityOnly() async throws {
        let directory = try TemporaryDirectory()
        let files = try await SecureListenerTests.certificate(in: directory)
        let port = try NodeProcess.freePort()
        let node = try NodeProcess([
            "api": [
                "listen": "127.0.0.1:\(port)", "url": "https://127.0.0.1:\(port)",
                "tls": ["certificate": files.certificate, "key": files.key],
            ] as [String: Any]
        ])
        let process = try node.start()
        let up = await eventually(within: 10) { (try? await node.cli(["node", "status"]).code) == 0 }
        try #require(up, "\(process.output)")
        let made = try await node.json(["key", "create", "global", "--scope", "admin"])
        let key = try #require(made["key"] as? String)
        func list(_ url: String, _ more: [String] = []) async throws -> (code: Int32?, output: String) {
            let child = try ChildProcess(
                Products.aisbf, ["user", "list", "--url", url] + more, environment: ["AISBF_ADMIN_KEY": key])
            return (await child.exitCode(within: 20), child.output)
        }
        let https = "https://127.0.0.1:\(port)"
        let trusted = try await list(https, ["--ca-file", files.certificate])
        #expect(trusted.code == 0 && trusted.output.contains("No users yet"), "\(trusted)")
        let other = try TemporaryDirectory()
        let stranger = try await SecureListenerTests.certificate(in: other)
        for more in [[], ["--ca-file", stranger.certificate]] {
            let refused = try await list(https, more)
            #expect(refused.code == 69 && refused.output.contains("is not trusted"), "\(refused)")
            #expect(
                refused.output.contains("--ca-file") && !refused.output.contains("Is the node running"), "\(refused)")
        }
        for missing in ["\(other.path)/none.pem", files.key] {
            let unread = try await list(https, ["--ca-file", missing])
            #expect(unread.code == 66 && unread.output.contains(missing), "\(unread)")
        }
        let plain = try await list("http://127.0.0.1:\(port)")
        #expect(plain.code == 69 && plain.output.contains("https://"), "\(plain)")
        let nothing = try await list("https://127.0.0.1:\(try NodeProcess.freePort())")
        #expect(nothing.code == 69 && nothing.output.contains("nothing listens there"), "\(nothing)")

        let doctor = try await node.cli(["doctor", "--config", node.configuration])
        #expect(doctor.output.contains("certificate") && doctor.output.contains("renew it soon"), "\(doctor.output)")
        process.kill(SIGTERM)
        #expect(await process.exitCode(within: 10) == 0)
    }

    @Test func doctorFindsWhatKeepsANodeFromStarting() async throws {
        let node = try NodeProcess()
        #expect(try await node.cli(["node", "init"]).code == 0)
        func doctor() async throws -> (code: Int32?, output: String) {
            try await node.cli(["doctor", "--config", node.configuration])
        }
        let fine = try await doctor()
        #expect(fine.code == 0 && fine.output.contains("key files, readable and whole"), "\(fine)")
        let key = "\(node.dataDirectory)/keys/node.key"
        let content = try String(contentsOfFile: key, encoding: .utf8)
        func agree(_ words: String, _ sourceLine: String) async throws {
            let found = try await doctor()
            #expect(found.code == 1 && found.output.contains(words), "\(sourceLine): \(found)")
            let child = try node.start()
            #expect(await child.exitCode(within: 10) == 78, "\(sourceLine): \(child.output)")
            #expect(child.output.contains(words), "\(sourceLine): \(child.output)")
        }
        let files = FileManager.default
        try files.setAttributes([.posixPermissions: 0o644], ofItemAtPath: key)
        try await agree("chmod 600", "readable by others")
        try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: key)
        try content.replacingOccurrences(of: "seed ", with: "seed 0").write(
            toFile: key, atomically: false, encoding: .utf8)
        try await agree("incomplete, or its checksum", "damaged")
        try files.removeItem(atPath: key)
        try await agree("is missing", "missing")
        try files.copyItem(atPath: "\(node.dataDirectory)/keys/operator.key", toPath: key)
        try await agree("it holds the operator key", "another key")
        try content.write(toFile: key, atomically: false, encoding: .utf8)
        try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: key)
        #expect(try await doctor().code == 0)
        let full = try ChildProcess(
            "/bin/sh",
            [
                "-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"", Products.aisbf, "doctor", "--config",
                node.configuration,
            ])
        #expect(await full.exitCode(within: 20) == 1)
        #expect(full.output.contains("nothing can be written"), "\(full.output)")
    }

    @Test func anotherUserIsToldWhoMayAsk() async throws {
        guard getuid() == 0, FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv") else { return }
        let node = try NodeProcess()
        let process = try node.start()
        #expect(await node.isUp())
        let child = try ChildProcess(
            "/usr/bin/setpriv",
            [
                "--reuid=65534", "--regid=65534", "--clear-groups", Products.aisbf, "user", "list", "--data-dir",
                node.dataDirectory,
            ], environment: ["HOME": "/nonexistent"])
        let code = await child.exitCode(within: 20)
        // Where the executable itself cannot be reached by others there is nothing to see.
        if code != 126, code != 127 {
            #expect(code == 77 && child.output.contains("permission denied"), "\(child.output)")
            #expect(!child.output.contains("Is the node running"), "\(child.output)")
        }
        process.kill(SIGTERM)
        #expect(await process.exitCode(within: 10) == 0)
    }

    @Test func theUnitFitsTheConfiguration() async throws {
        let node = try NodeProcess()
        let unit = try await node.cli(["node", "unit", "--config", node.configuration, "--user", "mesh"])
        #expect(unit.code == 0 && unit.output.contains("User=mesh"), "\(unit)")
        #expect(unit.output.contains("node run --config \(node.configuration)"), "\(unit)")
        #expect(!unit.output.contains("AmbientCapabilities"))
        let low = try await node.cli(["node", "unit", "--user", "a b"])
        #expect(low.code == 64)
    }
}
