import Foundation
import Testing

/// Three real nodes, one worker, buyers at every node. One suite after the other: the machine is small.
@Suite(.serialized) struct TriangleTests {
    /// Whoever tests is often root; whoever runs a node is not, and has no capability.
    @Test func aMeshNeedsNoPrivilege() async throws {
        let plain = geteuid() == 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : []
        let mesh = try await LocalMesh.up(wrapper: plain)
        let check = try await mesh.run(
            ["local", "check", mesh.topology, "--state-dir", "\(mesh.directory.path)/s"])
        #expect(check.code == 0, "\(check.output)")
        #expect(try await mesh.down() == 0)
    }

    @Test func theOfficialSDKIsAnsweredByEveryNode() async throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: Products.python),
            "the SDK is not installed; run 'make venv', as 'make test' does")
        let mesh = try await LocalMesh.up()
        #expect(mesh.nodes.map(\.name) == ["a", "b", "c"])
        await atOnce(mesh.nodes) { node in
            let child = try ChildProcess(
                Products.python, ["\(Products.root)/Tests/EndToEndTests/openai_sdk.py", node.url, node.key])
            let code = await child.exitCode(within: 60)
            #expect(code == 0, "at node \(node.name): \(child.output)")
        }
        try await mesh.down()
    }

    @Test func upIsIdempotentCheckReportsAndDownStops() async throws {
        let mesh = try await LocalMesh.up()
        let state = ["--state-dir", "\(mesh.directory.path)/s"]
        let again = try await mesh.run(["local", "up", mesh.topology] + state)
        #expect(again.code == 0 && again.output.contains("is up"), "\(again.output)")
        let check = try await mesh.run(["local", "check", mesh.topology, "--json"] + state)
        #expect(check.code == 0, "\(check.output)")
        let answer = try await mesh.ask("b")
        #expect(answer.status == 200, "\(answer)")
        #expect(answer.headers["aisbf-node"] == "a")
        #expect(answer.headers["aisbf-provider"] == "seller@a/demo")
        let streamed = try await mesh.ask("c", stream: true)
        #expect(streamed.body.components(separatedBy: "data: [DONE]").count == 2, "\(streamed.body)")
        #expect(try await mesh.down() == 0)
        #expect(mesh.pid(of: mesh.configuration("a")) == nil)
        let failing = try await mesh.run(["local", "check", mesh.topology] + state)
        #expect(failing.code != 0)
    }

    @Test func theHostingNodeIsKilledAndComesBack() async throws {
        let mesh = try await LocalMesh.up()
        let pid = try #require(mesh.pid(of: mesh.configuration("a")))
        kill(pid, SIGKILL)
        // The socket is closed at once, so the answer is too.
        let gone = await eventually(within: 2) { (try? await mesh.ask("b").status) == 503 }
        #expect(gone)
        let refused = try await mesh.ask("c")
        #expect(refused.status == 503 && refused.code == "worker_unavailable", "\(refused)")
        #expect(refused.headers["retry-after"] != nil)
        let node = try ChildProcess(Products.aisbf, ["node", "run", "--config", mesh.configuration("a")])
        let back = await eventually(within: 10) { (try? await mesh.ask("b").status) == 200 }
        #expect(back, "\(node.output)\n\(mesh.log("node-b"))\n\(mesh.log("worker-demo-worker"))")
        #expect(try await mesh.ask("a").status == 200, "the buyer's key survived the restart")
        node.kill(SIGTERM)
        #expect(await node.exitCode(within: 10) == 0, "\(node.output)")
        try await mesh.down()
    }

    @Test func theHostingNodeFallsSilent() async throws {
        let mesh = try await LocalMesh.up()
        let pid = try #require(mesh.pid(of: mesh.configuration("a")))
        kill(pid, SIGSTOP)
        let out = await eventually(within: 12) { (try? await mesh.ask("b", within: 12).status) == 503 }
        #expect(out)
        kill(pid, SIGCONT)
        let back = await eventually(within: 15) { (try? await mesh.ask("b").status) == 200 }
        #expect(back, "\(mesh.log("node-b"))")
        try await mesh.down()
    }

    @Test func anEntryNodeIsKilledAndAnotherServesItsBuyers() async throws {
        let mesh = try await LocalMesh.up()
        kill(try #require(mesh.pid(of: mesh.configuration("b"))), SIGKILL)
        #expect(try await mesh.ask("c").status == 200)
        #expect(try await mesh.ask("c", model: "seller@a/demo/demo-chat").status == 200)
        // Then everything else at once; whoever starts it again gets it again, with the keys of before.
        let rest =
            ["a", "c"].compactMap { mesh.pid(of: mesh.configuration($0)) } + [workerPID(mesh)].compactMap(\.self)
        #expect(rest.count == 3)
        for pid in rest { kill(pid, SIGKILL) }
        let again = try await mesh.run(["local", "up", mesh.topology, "--state-dir", "\(mesh.directory.path)/s"])
        #expect(again.code == 0, "\(again.output)")
        for node in ["a", "b", "c"] {
            let back = await eventually(within: 10) { (try? await mesh.ask(node).status) == 200 }
            #expect(back, "\(node): \(mesh.log("node-\(node)"))")
        }
        try await mesh.down()
    }

    @Test func theWorkerIsKilledInTheMiddleOfAStream() async throws {
        let mesh = try await LocalMesh.up(workerSpeed: 5)
        let node = mesh.node("b")
        let buyer = try ChildProcess(
            "/usr/bin/env",
            [
                "curl", "-sSNi", "--max-time", "20", "-H", "authorization: Bearer \(node.key)", "-d",
                #"{"model":"demo/demo-chat","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#,
                "\(node.url)/chat/completions",
            ])
        let hasBegun = await eventually(within: 10) { buyer.output.contains(#""content":""#) }
        #expect(hasBegun, "\(buyer.output)\n\(mesh.logs)")
        let worker = try #require(mesh.pid(of: "\(mesh.directory.path)/s/workers/demo-worker.json") ?? workerPID(mesh))
        kill(worker, SIGKILL)
        #expect(await buyer.exitCode(within: 25) != nil)
        let answer = buyer.output
        #expect(answer.hasPrefix("HTTP/1.1 200"), "\(answer)")
        #expect(answer.contains("\"error\""), "never silence: \(answer)")
        #expect(!answer.contains("[DONE]"))
        let gone = await eventually(within: 2) { (try? await mesh.ask("b").status) == 503 }
        #expect(gone)
        try await mesh.down()
    }

    @Test func aBuyerWhoLeavesCancelsTheWorkerAcrossNodes() async throws {
        let mesh = try await LocalMesh.up(workerSpeed: 2)
        let node = mesh.node("c")
        let buyer = try ChildProcess(
            "/usr/bin/env",
            [
                "curl", "-sN", "-H", "authorization: Bearer \(node.key)", "-d",
                #"{"model":"demo/demo-chat","stream":true,"messages":[{"role":"user","content":"a long story"}]}"#,
                "\(node.url)/chat/completions",
            ])
        let started = await eventually(within: 5) { buyer.output.contains("data:") }
        #expect(started)
        let busy = try await mesh.status("c")["requests_in_flight"] as? Int
        #expect(busy == 1)
        buyer.kill(SIGKILL)
        let idle = await eventually(within: 3) {
            let entry = try? await mesh.status("c")["requests_in_flight"] as? Int
            let sessions = try? await Curl.run([
                "--unix-socket", "\(mesh.dataDirectory("a"))/admin.sock", "http://n/api/coderai/broker/sessions",
            ])
            return entry == 0 && sessions?.body.contains("\"in_flight\":0") == true
        }
        #expect(idle)
        try await mesh.down()
    }

    private func workerPID(_ mesh: LocalMesh) -> Int32? {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { Int32($0) }.first { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
            let words = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            return words.contains("worker") && words.last?.hasPrefix(mesh.directory.path) == true
        }
    }
}
