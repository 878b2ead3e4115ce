import Foundation
import Testing

/// What a seller does with `aisbf worker run` as a process: files that are not ready, stopping one of two machines, two
/// machines of one name.
@Suite(.serialized) struct SellerTests {
    private static func changed(
        _ shop: WorkerTests.Shop, _ name: String, _ change: (inout [String: Any]) -> Void
    ) throws -> String {
        let data = try Data(contentsOf: URL(fileURLWithPath: shop.workerFile))
        var file = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
        change(&file)
        let text = String(decoding: try JSONSerialization.data(withJSONObject: file), as: UTF8.self)
        return try shop.node.directory.write(text, to: name)
    }

    private static func broker(_ file: inout [String: Any], _ key: String, _ value: Any) {
        var broker = file["broker"] as? [String: Any] ?? [:]
        broker[key] = value
        file["broker"] = broker
    }

    @Test func aFileThatIsNotReadyIsNamedAndNothingIsSoldUnasked() async throws {
        let shop = try await WorkerTests.Shop.open()
        let created = try await shop.node.json(["provider", "create", "bare", "--owner", "alice"])
        let worker = try #require(created["worker"] as? [String: Any], "\(created)")
        #expect(worker["backend"] == nil && (worker["broker"] as? [String: Any])?["client_id"] == nil)
        let asked = try await shop.node.json([
            "provider", "create", "asked", "--owner", "alice", "--backend", "http://127.0.0.1:11434/v1",
        ])
        let backend = (asked["worker"] as? [String: Any])?["backend"] as? [String: Any]
        #expect(backend?["kind"] as? String == "openai")
        #expect(backend?["base_url"] as? String == "http://127.0.0.1:11434/v1")

        let bare = String(decoding: try JSONSerialization.data(withJSONObject: worker), as: UTF8.self)
        let mistyped = try Self.changed(shop, "mistyped.json") { file in
            let token = (file["broker"] as? [String: Any])?["registration_token"] as? String ?? ""
            Self.broker(&file, "registration_token", String(token.dropLast()) + (token.hasSuffix("a") ? "b" : "a"))
        }
        let bareFile = try shop.node.directory.write(bare, to: "bare.json")
        for (file, words) in [(bareFile, "backend: is missing"), (mistyped, "checksum")] {
            let run = try ChildProcess(Products.aisbf, ["worker", "run", "--config", file])
            #expect(await run.exitCode(within: 15) == 78, "\(run.output)")
            #expect(run.output.contains(words), "\(run.output)")
        }
        await shop.close()
    }

    @Test func oneOfTwoWorkersIsStoppedAndNoRequestIsLost() async throws {
        let shop = try await WorkerTests.Shop.open(backend: ["kind": "demo", "tokens_per_second": 8])
        let other = try Self.changed(shop, "worker-02.json") { Self.broker(&$0, "client_id", "worker-02") }
        let first = try shop.startWorker()
        let second = try ChildProcess(Products.aisbf, ["worker", "run", "--config", other])
        let both = await eventually(within: 15) {
            let show = try? await shop.node.json(["provider", "show", "alice/gpu"])
            let workers = show?["workers"] as? [[String: Any]] ?? []
            return workers.count == 2 && workers.allSatisfy { ($0["models"] as? [Any])?.isEmpty == false }
        }
        #expect(both, "\(first.output)\n\(second.output)")
        async let streams = withThrowingTaskGroup(of: LocalMesh.Answer.self) { group in
            for _ in 0..<4 { group.addTask { try await shop.ask(stream: true, within: 30) } }
            return try await group.reduce(into: [LocalMesh.Answer]()) { $0.append($1) }
        }
        #expect(await shop.isBusy(with: 4))
        first.kill(SIGTERM)
        for number in 0..<20 {
            let answer = try await shop.ask(tokens: 2, within: 30)
            #expect(answer.status == 200, "\(number): \(answer.body)")
        }
        for stream in try await streams {
            #expect(stream.status == 200 && stream.body.contains("[DONE]"), "\(stream.body)")
        }
        #expect(await first.exitCode(within: 10) == 0)
        second.kill(SIGTERM)
        _ = await second.exitCode(within: 10)
        await shop.close()
    }

    @Test func twoMachinesOfOneNameAreToldWhatToChange() async throws {
        let shop = try await WorkerTests.Shop.open()
        let first = try shop.startWorker()
        #expect(await shop.isServing(), "\(first.output)")
        #expect(first.output.contains("offering the models of the backend"), "\(first.output)")
        let second = try shop.startWorker()
        let told = await eventually(within: 10) {
            first.output.contains("both call themselves 'worker-01'") && first.output.contains("broker.client_id")
        }
        #expect(told, "\(first.output)")
        for worker in [first, second] { worker.kill(SIGTERM) }
        _ = await first.exitCode(within: 10)
        _ = await second.exitCode(within: 10)
        await shop.close()
    }
}
