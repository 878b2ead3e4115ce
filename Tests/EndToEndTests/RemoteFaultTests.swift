import Foundation
import Testing

/// What a buyer at one node sees when something happens at the node that holds the worker.
@Suite(.serialized) struct RemoteFaultTests {
    @Test func aDrainingHostingNodeFinishesAForwardedStream() async throws {
        let mesh = try await LocalMesh.up(workerSpeed: 8)
        let host = try #require(mesh.pid(of: mesh.configuration("a")))
        let node = mesh.node("b")
        let buyer = try ChildProcess(
            "/usr/bin/env",
            [
                "curl", "-sN", "--max-time", "30", "-H", "authorization: Bearer \(node.key)", "-d",
                #"{"model":"demo/demo-chat","stream":true,"messages":[{"role":"user","content":"drain"}]}"#,
                "\(node.url)/chat/completions",
            ])
        #expect(await eventually(within: 5) { buyer.output.contains("data:") })
        kill(host, SIGTERM)
        #expect(await buyer.exitCode(within: 30) == 0)
        #expect(buyer.output.contains("data: [DONE]"), "the stream was cut: \(buyer.output)")
        #expect(!buyer.output.contains("\"error\""), "\(buyer.output)")
        let ended = await eventually(within: 10) { mesh.pid(of: mesh.configuration("a")) == nil }
        #expect(ended, "\(mesh.log("node-a"))")
        try await mesh.down()
    }

    @Test func aWorkerKilledBeforeItsFirstWordIsAStatusAndNotAStream() async throws {
        // One token in four seconds: the answer has not begun when the worker dies.
        let mesh = try await LocalMesh.up(workerSpeed: 1)
        let node = mesh.node("b")
        let worker = try #require(mesh.workerPID)
        async let answered = mesh.ask("b", stream: false, tokens: 30)
        let busy = await eventually(within: 5) { (try? await mesh.status("b")["requests_in_flight"] as? Int) == 1 }
        #expect(busy, "the request never reached \(node.url)")
        kill(worker, SIGKILL)
        let answer = try await answered
        #expect([502, 503].contains(answer.status), "\(answer)")
        #expect(["worker_lost", "worker_unavailable"].contains(answer.code), "\(answer)")
        let idle = await eventually(within: 5) { (try? await mesh.status("b")["requests_in_flight"] as? Int) == 0 }
        #expect(idle)
        try await mesh.down()
    }

    @Test func aNodeOfAnotherNetworkIsRefusedAndSaysWhy() async throws {
        let mesh = try await LocalMesh.up()
        let settings = try #require(
            try JSONSerialization.jsonObject(
                with: Data(contentsOf: URL(fileURLWithPath: mesh.configuration("a")))) as? [String: Any])
        let link = try #require((settings["link"] as? [String: Any])?["listen"] as? String)
        let identity = try #require(try await mesh.status("a")["node_id"] as? String)
        let stranger = try NodeProcess(["mesh": ["network": "somewhere-else", "peers": ["\(identity)@\(link)"]]])
        let process = try stranger.start()
        #expect(await stranger.isUp(), "\(process.output)")
        let refused = await eventually(within: 10) { process.output.contains("wrong_network") }
        #expect(refused, "\(process.output)")
        #expect(try await mesh.ask("b").status == 200, "the others go on")
        process.kill(SIGTERM)
        #expect(await process.exitCode(within: 10) == 0)
        try await mesh.down()
    }

    @Test func upSpeaksJSONForScripts() async throws {
        let mesh = try await LocalMesh.up()
        let directory = "\(mesh.directory.path)/s"
        let again = try ChildProcess(
            "/bin/sh",
            [
                "-c",
                "exec '\(Products.aisbf)' local up '\(mesh.topology)' --state-dir '\(directory)' --json 2>/dev/null",
            ])
        #expect(await again.exitCode(within: 60) == 0, "\(again.output)")
        let document = try JSONSerialization.jsonObject(with: Data(again.output.utf8)) as? [String: Any]
        let nodes = try #require(document?["nodes"] as? [[String: Any]], "\(again.output)")
        #expect(nodes.compactMap { $0["name"] as? String } == ["a", "b", "c"])
        #expect(nodes.compactMap { $0["base_url"] as? String } == mesh.nodes.map(\.url))
        #expect(nodes.compactMap { ($0["keys"] as? [String])?.first } == mesh.nodes.map(\.key))
        try await mesh.down()
    }
}

extension LocalMesh {
    /// The one worker process of this mesh.
    var workerPID: Int32? {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { Int32($0) }.first { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
            let words = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            return words.contains("worker") && words.last?.hasPrefix(directory.path) == true
        }
    }
}
