import Foundation
import Testing

/// `aisbf provider token` with the real program and a real worker.
@Suite(.serialized) struct TokenCommandTests {
    private static let minted = "tok_3f9a7c-minted-elsewhere"

    private static func tokens(_ shop: WorkerTests.Shop) async throws -> [[String: Any]] {
        try await shop.node.json(["provider", "token", "list", "alice/gpu"])["tokens"] as? [[String: Any]] ?? []
    }

    @Test func tokensAreAddedListedAndRemoved() async throws {
        let shop = try await WorkerTests.Shop.open()
        let file = "\(shop.node.directory.path)/second.json"
        let added = try await shop.node.cli([
            "provider", "token", "add", "alice/gpu", "--label", "second rig", "--expires", "30d", "--backend", "demo",
            "--out", file,
        ])
        #expect(added.code == 0, "\(added.output)")
        #expect(!added.output.contains("aisbf_reg_"))
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let list = try await Self.tokens(shop)
        #expect(list.compactMap { $0["label"] as? String } == ["first", "second rig"])
        let id = try #require(list.last?["id"] as? String)
        #expect(list.last?["not_after"] is Int)
        let table = try await shop.node.cli(["provider", "token", "list", "alice/gpu"])
        #expect(table.output.contains(id) && table.output.contains("second rig") && table.output.contains("any"))

        let worker = try ChildProcess(Products.aisbf, ["worker", "run", "--config", file])
        #expect(await shop.isServing(), "\(worker.output)")
        let removed = try await shop.node.cli(["provider", "token", "remove", "alice/gpu", id])
        #expect(removed.code == 0, "\(removed.output)")
        let told = await eventually(within: 8) { worker.output.contains("no longer valid") }
        #expect(told, "\(worker.output)")
        #expect(try await Self.tokens(shop).count == 1)
        #expect(try await shop.node.cli(["provider", "token", "remove", "alice/gpu", id]).code == 1)
        worker.kill(SIGTERM)
        await shop.close()
    }

    @Test func aTokenIsImportedFromAFileAndNeverFromTheCommandLine() async throws {
        let shop = try await WorkerTests.Shop.open()
        let direct = try await shop.node.cli(["provider", "token", "add", "alice/gpu", "--import", Self.minted])
        #expect(direct.code == 66)
        #expect(!direct.output.contains(Self.minted))
        let file = try shop.node.directory.write("\(Self.minted)\n", to: "token.txt")
        let added = try await shop.node.cli(["provider", "token", "add", "alice/gpu", "--import", file])
        #expect(added.code == 0, "\(added.output)")
        #expect(!added.output.contains(Self.minted))
        let list = try await Self.tokens(shop)
        #expect(list.last?["imported"] as? Bool == true)
        let piped = try ChildProcess(
            "/bin/sh",
            [
                "-c", "printf '%s\\n' another-token-minted-elsewhere | \"$0\" \"$@\"", Products.aisbf, "provider",
                "token",
                "add", "alice/gpu", "--import", "-", "--data-dir", shop.node.dataDirectory,
            ])
        #expect(await piped.exitCode(within: 20) == 0, "\(piped.output)")
        #expect(try await Self.tokens(shop).count == 3)
        // Standard input of these tests is empty.
        let nothing = try await shop.node.cli(["provider", "token", "add", "alice/gpu", "--import", "-"])
        #expect(nothing.code == 66)

        var text = try String(contentsOfFile: shop.workerFile, encoding: .utf8)
        let original = try #require(text.firstMatch(of: /aisbf_reg_[a-z0-9]+/)).output
        text = text.replacingOccurrences(of: String(original), with: Self.minted)
        try text.write(toFile: shop.workerFile, atomically: true, encoding: .utf8)
        let worker = try shop.startWorker()
        #expect(await shop.isServing(), "\(worker.output)")
        #expect(!worker.output.contains(Self.minted) && !shop.process.output.contains(Self.minted))
        worker.kill(SIGTERM)
        await shop.close()
    }

    @Test(arguments: [
        ["--expires", "soon"], ["--expires", "0"], ["--import", "-", "--out", "worker.json"],
        ["--allow-node"],
    ])
    func wrongUsageIs64(arguments: [String]) async throws {
        let child = try ChildProcess(Products.aisbf, ["provider", "token", "add", "alice/gpu"] + arguments)
        #expect(await child.exitCode(within: 20) == 64, "\(child.output)")
    }
}
