import Foundation
import Testing

/// A node whose clock is wrong by an hour joins a mesh whose clocks are right.
@Suite(.serialized) struct ClockTests {
    @Test(arguments: ["+1h", "-1h"])
    func aNodeWithAWrongClockIsRefusedAndTheOthersGoOn(_ offset: String) async throws {
        let found = try ChildProcess("/usr/bin/env", ["sh", "-c", "command -v faketime"])
        try #require(await found.exitCode(within: 5) == 0, "faketime is missing; run 'make setup'")
        let right = try NodeProcess()
        let made = try await right.json(["node", "init"])
        let identity = try #require(made["node_id"] as? String, "\(made)")
        let settings =
            try JSONSerialization.jsonObject(
                with: Data(contentsOf: URL(fileURLWithPath: right.configuration))) as? [String: Any]
        let link = try #require((settings?["link"] as? [String: Any])?["listen"] as? String)
        // Without an allow-list of its own, the node admits the peer it names.
        let wrong = try NodeProcess(["mesh": ["peers": ["\(identity)@\(link)"]]])
        let stranger = try await wrong.json(["node", "init"])
        let id = try #require(stranger["node_id"] as? String, "\(stranger)")
        let host = try ChildProcess(
            Products.aisbf,
            [
                "node", "run", "--config", right.configuration, "--data-dir", right.dataDirectory, "--set",
                "mesh.allow=\(id)",
            ])
        #expect(await right.isUp(), "\(host.output)")
        let late = try wrong.start(wrapper: ["faketime", "-f", offset])
        // The wrapper passes no signal on, and what it runs must end whatever happens here.
        defer { Self.kill(wrong.configuration) }
        #expect(await wrong.isUp(), "\(late.output)")
        let told = await eventually(within: 15) {
            late.output.contains("clock_differs") || late.output.contains("clock is off its peers'")
        }
        #expect(told, "the node with the wrong clock does not say so:\n\(late.output)\n== the other\n\(host.output)")
        let status = try await right.json(["node", "status"])
        #expect(status["links"] as? Int == 0, "\(status)")
        #expect(await right.isUp(), "the node with the right clock goes on")
        host.kill(SIGTERM)
        #expect(await host.exitCode(within: 10) == 0, "\(host.output)")
    }

    /// Kills every process whose last argument is `file`, which only this test knows.
    private static func kill(_ file: String) {
        for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let pid = Int32(entry), let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
                data.split(separator: 0).last.map({ String(decoding: $0, as: UTF8.self) }) == file
            else { continue }
            _ = Foundation.kill(pid, SIGKILL)
        }
    }
}
