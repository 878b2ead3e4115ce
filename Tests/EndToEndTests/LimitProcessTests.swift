import Foundation
import Testing

/// Limits of a node that is killed, stopped and started again.
@Suite(.serialized) struct LimitProcessTests {
    private static func left(_ node: NodeProcess) async throws -> Int {
        let shown = try await node.json(["limit", "show", "user/alice"])
        let now = try #require(shown["now"] as? [[String: Any]], "\(shown)")
        return try #require(now.first { $0["limit"] as? String == "tokens_per_month" }?["remaining"] as? Int)
    }

    @Test func whatWasGivenOutBeforeAKillIsNotGivenOutAgain() async throws {
        var shop = try await WorkerTests.Shop.open()
        let worker = try shop.startWorker()
        #expect(await shop.isServing(), "\(worker.output)")
        let set = try await shop.node.cli([
            "limit", "set", "user/alice", "--tokens-per-month", "40000", "--requests-per-minute", "1000",
        ])
        #expect(set.code == 0 && set.output.contains("tokens_per_month"), "\(set.output)")
        for _ in 0..<3 { #expect(try await shop.ask(tokens: 20).status == 200) }
        let before = try await Self.left(shop.node)
        #expect((39_000..<40_000).contains(before))

        shop.process.kill(SIGKILL)
        _ = await shop.process.exitCode(within: 10)
        shop.process = try shop.node.start()
        #expect(await shop.node.isUp(), "\(shop.process.output)")
        // What was open counts as used, whatever was left of it.
        let killed = try await Self.left(shop.node)
        #expect(killed > 0 && killed <= 40_000 - 32_768)

        #expect(await shop.isServing(within: 30), "\(worker.output)")
        let served = try await Self.left(shop.node)
        #expect(served < killed)
        shop.process.kill(SIGTERM)
        #expect(await shop.process.exitCode(within: 15) == 0)
        shop.process = try shop.node.start()
        #expect(await shop.node.isUp(), "\(shop.process.output)")
        // One that stops gives back what nobody has used.
        let stopped = try await Self.left(shop.node)
        #expect(stopped > 0 && stopped <= served)

        shop.process.kill(SIGKILL)
        _ = await shop.process.exitCode(within: 10)
        shop.process = try shop.node.start()
        #expect(await shop.node.isUp(), "\(shop.process.output)")
        #expect(try await Self.left(shop.node) == 0)
        let refused = await eventually(within: 30) { (try? await shop.ask().code) == "insufficient_quota" }
        #expect(refused)
        worker.kill(SIGTERM)
        _ = await worker.exitCode(within: 10)
        await shop.close()
    }
}
