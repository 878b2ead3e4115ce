import Foundation
import Testing

/// What `aisbf mesh providers` and `aisbf provider show` print, about a provider whose worker runs.
@Suite(.serialized) struct ProviderCommandTests {
    private static func rows(_ text: String) -> [[String]] {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            // Columns are two blanks apart.
            line.replacing(/\ {2,}/, with: "\t").split(separator: "\t").map(String.init)
        }
    }

    @Test func aProviderIsShownWithItsTokensAndWorkers() async throws {
        let shop = try await WorkerTests.Shop.open()
        let empty = try await shop.node.cli(["mesh", "providers"])
        #expect(empty.code == 0, "\(empty.output)")
        #expect(Self.rows(empty.output).first == ["FULL NAME", "KEY NAME", "ACCESS", "MODELS", "ATTACHED AT"])
        let alone = try #require(Self.rows(empty.output).dropFirst().first)
        #expect(alone.count == 3 && alone[0] == "alice@solo/gpu" && alone[2] == "public", "\(empty.output)")
        #expect(alone[1].hasPrefix("key:"), "\(empty.output)")

        let worker = try shop.startWorker()
        #expect(await shop.isServing(), "\(worker.output)")
        let list = try await shop.node.cli(["mesh", "providers"])
        #expect(list.code == 0)
        let row = try #require(Self.rows(list.output).first { $0.first == "alice@solo/gpu" })
        #expect(row.count == 5 && row[2] == "public" && row[3].contains("demo-chat"), "\(list.output)")
        #expect(row.last?.hasPrefix("solo") == true, "\(list.output)")

        let json = try await shop.node.json(["mesh", "providers"])
        let provider = try #require((json["providers"] as? [[String: Any]])?.first)
        #expect(provider["full_name"] as? String == "alice@solo/gpu")
        #expect((provider["models"] as? [String])?.contains("demo-chat") == true)
        let attachment = try #require((provider["attachments"] as? [[String: Any]])?.first)
        #expect(attachment["node_name"] as? String == "solo" && attachment["usable"] as? Bool == true)

        let show = try await shop.node.cli(["provider", "show", "alice/gpu"])
        #expect(show.code == 0, "\(show.output)")
        let shown = Self.rows(show.output)
        #expect(show.output.contains("alice@solo/gpu") && show.output.contains("max concurrency"), "\(show.output)")
        #expect(shown.contains { $0.first == "WORKER" && $0.contains("TOK/S") && $0.contains("FIRST MS") })
        let line = try #require(shown.first { $0.first == "worker-01" }, "\(show.output)")
        #expect(line.contains("this node") && line.contains { $0.contains("demo-chat") }, "\(show.output)")
        #expect(shown.contains { $0.contains("first") }, "the label of the token: \(show.output)")
        #expect(!show.output.contains("aisbf_reg_"))

        let document = try await shop.node.json(["provider", "show", "alice/gpu"])
        #expect(document["full_name"] as? String == "alice@solo/gpu" && document["access"] as? String == "public")
        let known = try #require((document["workers"] as? [[String: Any]])?.first, "\(document)")
        #expect(known["client_id"] as? String == "worker-01" && known["in_flight"] as? Int == 0)
        #expect((document["tokens"] as? [[String: Any]])?.count == 1)

        let none = try await shop.node.cli(["provider", "show", "alice/none"])
        #expect(none.code == 1 && !none.output.isEmpty, "\(none)")
        let wrong = try await shop.node.cli(["provider", "show", "gpu"])
        #expect(wrong.code == 64 && wrong.output.contains("owner/id"), "\(wrong)")

        worker.kill(SIGTERM)
        let gone = await eventually(within: 20) {
            let show = try? await shop.node.json(["provider", "show", "alice/gpu"])
            return (show?["workers"] as? [Any])?.isEmpty == true
        }
        #expect(gone)
        let after = try await shop.node.cli(["provider", "show", "alice/gpu"])
        let end = try #require(Self.rows(after.output).last { $0.first == "worker-01" }, "\(after.output)")
        #expect(end.contains("1000") && end.last == "closed by the worker", "\(after.output)")
        await shop.close()
    }
}
