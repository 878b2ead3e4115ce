import Foundation
import Testing

/// `--out`: no file is lost, and no token.
@Suite(.serialized) struct WorkerFileTests {
    private static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

    private static func mode(_ path: String) -> Int {
        (try? FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int) ?? 0
    }

    private static func tokens(_ node: NodeProcess, _ provider: String) async throws -> Int {
        (try await node.json(["provider", "show", provider])["tokens"] as? [Any])?.count ?? -1
    }

    @Test func aFileIsNeverOverwrittenAndNothingIsMintedForIt() async throws {
        let shop = try await WorkerTests.Shop.open()
        let file = try shop.node.directory.write("mine", to: "kept.json")
        let link = "\(shop.node.directory.path)/link.json"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "nowhere.json")
        for path in [file, link, shop.node.directory.path, "\(shop.node.directory.path)/no/such.json"] {
            let created = try await shop.node.cli(["provider", "create", "other", "--out", path])
            #expect(created.code == 73 && created.output.contains(path), "\(created)")
            let added = try await shop.node.cli(["provider", "token", "add", "alice/gpu", "--out", path])
            #expect(added.code == 73, "\(added)")
        }
        #expect(Self.text(file) == "mine")
        #expect(try await shop.node.json(["provider", "list"])["providers"].map { ($0 as? [Any])?.count } == 1)
        #expect(try await Self.tokens(shop.node, "alice/gpu") == 1)
        // A refusal of the node leaves no empty file behind.
        let fresh = "\(shop.node.directory.path)/fresh.json"
        #expect(try await shop.node.cli(["provider", "create", "gpu", "--owner", "nobody", "--out", fresh]).code == 1)
        #expect(!FileManager.default.fileExists(atPath: fresh))
        let made = try await shop.node.cli([
            "provider", "create", "second", "--owner", "alice", "--out", fresh, "--backend-url",
            "http://127.0.0.1:9/v1",
        ])
        #expect(made.code == 0 && !made.output.contains("aisbf_reg_"), "\(made)")
        #expect(Self.mode(fresh) == 0o600 && Self.text(fresh).contains(#""base_url" : "http://127.0.0.1:9/v1""#))
        await shop.close()
    }

    @Test func rotationChangesTheTokenInAFileAndNothingElse() async throws {
        let shop = try await WorkerTests.Shop.open()
        let path = "\(shop.node.directory.path)/mine.json"
        let document =
            (try JSONSerialization.jsonObject(with: Data(Self.text(shop.workerFile).utf8)) as? [String: Any])?["broker"]
            as? [String: Any]
        let old = try #require(document?["registration_token"] as? String)
        let before = """
            {"backend": {"kind":"openai",   "base_url":"http:\\/\\/127.0.0.1:11434/v1", "api_key": "k\u{E4}"},
              "x": [1.50, 1e3],
              "broker": { "scope":"user", "username":"alice","provider_id":"gpu",
                 "registration_token" : "\(old)", "base_url":"\(shop.node.url)", "client_id":"rig-7" } }

            """
        try before.write(toFile: path, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        let link = "\(shop.node.directory.path)/link.json"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        let rotated = try await shop.node.cli(["provider", "rotate-token", "alice/gpu", "--out", link])
        #expect(rotated.code == 0 && !rotated.output.contains("aisbf_reg_"), "\(rotated)")
        let after = Self.text(path)
        let new = try #require(after.firstMatch(of: /aisbf_reg_[a-z0-9]+/)).output
        #expect(new != old && after == before.replacingOccurrences(of: old, with: String(new)))
        #expect(Self.mode(path) == 0o640)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == path)

        // Whatever is no worker.json of this provider stays, and the tokens stay good.
        for (name, text) in [
            ("other", after.replacingOccurrences(of: "\"gpu\"", with: "\"cpu\"")),
            ("owner", after.replacingOccurrences(of: "\"alice\"", with: "\"bob\"")),
            ("twice", after.replacingOccurrences(of: "\"x\":", with: "\"registration_token\": \"y\", \"x\":")),
            ("none", after.replacingOccurrences(of: "registration_token", with: "token")), ("text", "no json"),
            ("empty", ""),
        ] {
            let file = try shop.node.directory.write(text, to: "\(name).json")
            let refused = try await shop.node.cli(["provider", "rotate-token", "alice/gpu", "--out", file])
            #expect(refused.code == 73 && refused.output.contains("left as it is"), "\(name): \(refused)")
            #expect(Self.text(file) == text)
        }
        let wrong = try await shop.node.cli([
            "provider", "rotate-token", "alice/gpu", "--out", path, "--backend", "http://127.0.0.1:1/v1",
        ])
        #expect(wrong.code == 64 && Self.text(path) == after, "\(wrong)")
        let names = try FileManager.default.contentsOfDirectory(atPath: shop.node.directory.path)
        #expect(!names.contains { $0.hasSuffix(".tmp") }, "\(names)")

        // A new file has no backend that nobody chose.
        let fresh = "\(shop.node.directory.path)/fresh.json"
        #expect(try await shop.node.cli(["provider", "rotate-token", "alice/gpu", "--out", fresh]).code == 0)
        #expect(Self.mode(fresh) == 0o600 && !Self.text(fresh).contains("backend"))
        let run = try ChildProcess(Products.aisbf, ["worker", "run", "--config", fresh])
        #expect(await run.exitCode(within: 10) == 78)
        #expect(run.output.contains("backend"), "\(run.output)")
        let shown = try await shop.node.json(["provider", "rotate-token", "alice/gpu"])
        #expect((shown["worker"] as? [String: Any])?.keys.sorted() == ["broker"])
        await shop.close()
    }

    @Test func aFullDiskPrintsTheTokenRatherThanLoseIt() async throws {
        let shop = try await WorkerTests.Shop.open()
        // The file may have no byte: as on a full disk, it can be made and not written.
        let child = try ChildProcess(
            "/bin/sh",
            [
                "-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"", Products.aisbf, "provider", "token", "add",
                "alice/gpu", "--out", "\(shop.node.directory.path)/full.json", "--data-dir", shop.node.dataDirectory,
            ])
        #expect(await child.exitCode(within: 20) == 73, "\(child.output)")
        #expect(child.output.contains("aisbf_reg_") && child.output.contains("could not be written"), "\(child.output)")
        #expect(!FileManager.default.fileExists(atPath: "\(shop.node.directory.path)/full.json"))
        await shop.close()
    }
}
