import Foundation
import Testing

/// SIGHUP: what changes while the node runs, and what a bad file does not change.
@Suite(.serialized) struct ReloadTests {
    private static let stranger = "aisbf_node_zzzz"

    private func rewrite(_ node: NodeProcess, _ change: (inout [String: Any]) -> Void) throws {
        let data = try #require(FileManager.default.contents(atPath: node.configuration))
        var document = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        change(&document)
        try JSONSerialization.data(withJSONObject: document).write(to: URL(fileURLWithPath: node.configuration))
    }

    @Test func sighupReadsTheListsAndALevelAgainAndRefusesABadFile() async throws {
        let node = try NodeProcess()
        let process = try node.start()
        #expect(await node.isUp(), "\(process.output)")
        let other = try NodeProcess()
        let made = try await other.json(["node", "init"])
        let otherID = try #require(made["node_id"] as? String, "\(made)")

        try rewrite(node) {
            $0["mesh"] = ["allow": [otherID]]
            $0["log"] = ["level": "debug"]
            $0["node"] = ["name": "renamed"]
        }
        process.kill(SIGHUP)
        let reloaded = await eventually(within: 10) { process.output.contains("configuration reloaded") }
        #expect(reloaded, "\(process.output)")
        #expect(process.output.contains("restart.needed=node.name"), "\(process.output)")
        let list = try await node.cli(["mesh", "allow", "list"])
        #expect(list.output.contains(otherID) && list.output.contains("configuration"), "\(list.output)")

        // Two things are wrong: both are named, and nothing changes.
        try rewrite(node) {
            $0["mesh"] = ["allow": [Self.stranger]]
            $0["log"] = ["level": "loud"]
        }
        process.kill(SIGHUP)
        let refused = await eventually(within: 10) { process.output.contains("configuration not reloaded") }
        #expect(refused, "\(process.output)")
        #expect(process.output.contains("mesh.allow[0]") && process.output.contains("log.level"), "\(process.output)")
        #expect(try await node.cli(["mesh", "allow", "list"]).output.contains(otherID))
        #expect(await node.isUp())
        process.kill(SIGTERM)
        #expect(await process.exitCode(within: 10) == 0, "\(process.output)")
    }

    @Test func sighupTakesTheNewCertificateAndKeepsTheOldForABadOne() async throws {
        let directory = try TemporaryDirectory()
        let files = try await SecureListenerTests.certificate(in: directory)
        let port = try NodeProcess.freePort()
        let base = "https://127.0.0.1:\(port)"
        let node = try NodeProcess([
            "api": [
                "listen": "127.0.0.1:\(port)", "url": base,
                "tls": ["certificate": files.certificate, "key": files.key],
            ] as [String: Any]
        ])
        let process = try node.start()
        let first = "\(directory.path)/first.pem"
        try FileManager.default.copyItem(atPath: files.certificate, toPath: first)
        func trusts(_ authority: String) async -> Bool {
            (try? await Curl.run(["--cacert", authority, "\(base)/health"]).status) == 200
        }
        let up = await eventually(within: 10) { await trusts(first) }
        try #require(up, "\(process.output)")
        let before = try await certificate(of: node)
        #expect(before["names"] as? [String] == ["localhost", "127.0.0.1"], "\(before)")
        let life = ((before["not_after"] as? Int) ?? 0) - ((before["not_before"] as? Int) ?? 0)
        #expect(life == 2 * 86_400, "\(before)")

        _ = try await SecureListenerTests.certificate(in: directory)
        #expect(await trusts(first), "nothing is read before it is asked for")
        process.kill(SIGHUP)
        let renewed = await eventually(within: 10) { await trusts(files.certificate) }
        #expect(renewed, "\(process.output)")
        #expect(await !trusts(first))

        try "no certificate".write(toFile: files.certificate, atomically: true, encoding: .utf8)
        process.kill(SIGHUP)
        let refused = await eventually(within: 10) { process.output.contains("configuration not reloaded") }
        #expect(refused && process.output.contains("api.tls.certificate"), "\(process.output)")
        let problem = try await certificate(of: node)["problem"] as? String
        #expect(problem?.contains("api.tls.certificate") == true)
        process.kill(SIGTERM)
        #expect(await process.exitCode(within: 10) == 0, "\(process.output)")
    }

    private func certificate(of node: NodeProcess) async throws -> [String: Any] {
        let status = try await node.json(["node", "status"])
        return (status["certificates"] as? [[String: Any]])?.first ?? ["raw": status]
    }
}
