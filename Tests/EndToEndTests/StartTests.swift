import Foundation
import Testing

/// What a node says when it cannot start, and what survives a restart.
@Suite(.serialized) struct StartTests {
    @Test func aPortInUseIsNamed() async throws {
        let first = try NodeProcess()
        let running = try first.start()
        #expect(await first.isUp(), "\(running.output)")
        let second = try NodeProcess([
            "api": ["listen": "127.0.0.1:\(first.port)", "url": "http://127.0.0.1:\(first.port)"]
        ])
        let refused = try second.start()
        let code = await refused.exitCode(within: 10)
        #expect(code != 0 && code != nil)
        #expect(refused.output.contains("api.listen") && refused.output.contains("\(first.port)"), "\(refused.output)")
        #expect(refused.output.contains("another program listens there"), "\(refused.output)")
        running.kill(SIGTERM)
        #expect(await running.exitCode(within: 10) == 0)
    }

    @Test func anUnwritableDataDirectoryIsNamed() async throws {
        let directory = try TemporaryDirectory()
        let file = try directory.write("not a directory", to: "file")
        let node = try NodeProcess(dataDirectory: "\(file)/d")
        let child = try node.start()
        let code = await child.exitCode(within: 10)
        #expect(code != 0 && code != nil)
        #expect(child.output.contains(file), "\(child.output)")
    }

    @Test func aCorruptDatabaseIsLeftAsItIs() async throws {
        let node = try NodeProcess()
        let made = try await node.cli(["node", "init"])
        #expect(made.code == 0, "\(made.output)")
        let database = "\(node.dataDirectory)/mesh.sqlite"
        for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: database + suffix) }
        let garbage = Data((0..<8_192).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        try garbage.write(to: URL(fileURLWithPath: database))
        let child = try node.start()
        let code = await child.exitCode(within: 10)
        #expect(code != 0 && code != nil)
        #expect(child.output.contains("mesh.sqlite") && child.output.contains("damaged"), "\(child.output)")
        #expect(FileManager.default.contents(atPath: database) == garbage)
    }

    @Test func aSecondNodeOnTheSameDirectoryIsRefused() async throws {
        let node = try NodeProcess()
        let running = try node.start()
        #expect(await node.isUp())
        let second = try node.start()
        let code = await second.exitCode(within: 10)
        #expect(code != 0 && code != nil)
        #expect(second.output.contains("another node") && second.output.contains("\(running.pid)"), "\(second.output)")
        #expect(await node.isUp(), "the first one goes on")
        running.kill(SIGTERM)
        #expect(await running.exitCode(within: 10) == 0)
    }

    @Test func aBadFileNamesEveryProblemAndStartsNothing() async throws {
        let node = try NodeProcess([
            "api": ["listen": "nowhere"], "mesh": ["peers": ["someone@somewhere"], "beacon_interval_ms": -1],
            "colour": "red",
        ])
        let child = try node.start()
        let code = await child.exitCode(within: 10)
        #expect(code != 0 && code != nil)
        for path in ["api.listen", "mesh.peers", "mesh.beacon_interval_ms", "colour"] {
            #expect(child.output.contains(path), "\(path) is missing in: \(child.output)")
        }
        #expect(!FileManager.default.fileExists(atPath: "\(node.dataDirectory)/mesh.sqlite"))
    }

    @Test func accountsSurviveARestartAndAServicePrintsNoKey() async throws {
        let node = try NodeProcess()
        var running = try node.start()
        #expect(await node.isUp())
        #expect(!running.output.contains("sk-aisbf-"), "a service's output is kept in a journal: \(running.output)")
        #expect(running.output.contains("aisbf key create global --scope admin"), "\(running.output)")
        #expect(try await node.cli(["user", "create", "alice"]).code == 0)
        let key = try await node.json(["key", "create", "alice"])
        let secret = try #require(key["key"] as? String, "\(key)")
        let listed = try await Curl.run(["-H", "authorization: Bearer \(secret)", "\(node.url)/v1/models"])
        #expect(listed.status == 200)
        running.kill(SIGKILL)
        #expect(await running.exitCode(within: 5) != nil)
        running = try node.start()
        #expect(await node.isUp())
        #expect(!running.output.contains("sk-aisbf-"))
        let again = try await Curl.run(["-H", "authorization: Bearer \(secret)", "\(node.url)/v1/models"])
        #expect(again.status == 200)
        let users = try await node.cli(["user", "list"])
        #expect(users.output.contains("alice"))
        // A revoked key ends at once.
        let keyID = try #require(key["key_id"] as? String)
        #expect(try await node.cli(["key", "revoke", keyID]).code == 0)
        let revoked = try await Curl.run(["-H", "authorization: Bearer \(secret)", "\(node.url)/v1/models"])
        #expect(revoked.status == 401 && revoked.code == "invalid_api_key")
        running.kill(SIGTERM)
        #expect(await running.exitCode(within: 10) == 0)
    }

    /// No authority says who a node is, so none need be installed.
    @Test func aMachineWithoutCertificatesOfAuthoritiesRunsANode() async throws {
        guard let namespace = try await FullDiskTests.namespace() else { return }
        let node = try NodeProcess()
        let running = try node.start(
            wrapper: namespace + ["sh", "-c", "mount -t tmpfs none /etc/ssl && exec \"$@\"", "sh"])
        #expect(await node.isUp(), "\(running.output)")
        running.kill(SIGTERM)
        #expect(await running.exitCode(within: 10) == 0)
    }

    /// The process is the same, its name and its arguments too; who has set the variable keeps what it says.
    @Test(arguments: [nil, "glibc.malloc.tcache_count=9"] as [String?])
    func aNodeSetsItsAllocatorWhereNobodyDid(_ set: String?) async throws {
        let node = try NodeProcess()
        let running = try node.start(environment: set.map { ["GLIBC_TUNABLES": $0] } ?? [:])
        #expect(await node.isUp(), "\(running.output)")
        let folder = URL(fileURLWithPath: "/proc/\(running.pid)")
        let variables = try String(contentsOf: folder.appendingPathComponent("environ"), encoding: .utf8)
        let tunables = variables.split(separator: "\0").filter { $0.hasPrefix("GLIBC_TUNABLES=") }
        #expect(tunables == ["GLIBC_TUNABLES=\(set ?? "glibc.malloc.tcache_count=400")"])
        let name = try String(contentsOf: folder.appendingPathComponent("comm"), encoding: .utf8)
        #expect(name == "aisbf\n")
        running.kill(SIGTERM)
        #expect(await running.exitCode(within: 10) == 0)
    }
}
