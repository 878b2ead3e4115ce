import ArgumentParser
import Foundation
import Testing

@testable import MeshCLI

/// How a provider that its node serves itself is made, and that its key stands on no command line.
@Suite struct UpstreamOptionsTests {
    private static func withFile<Value>(
        _ text: String, mode: Int = 0o600, _ body: (String) throws -> Value
    ) throws -> Value {
        let path = NSTemporaryDirectory() + "aisbf-key-\(UInt32.random(in: 0 ... .max))"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }

    @Test func theKeyComesFromAFileOrTheEnvironment() throws {
        let environment = [UpstreamKey.variable: " sk-env \n"]
        let fromFile = try Self.withFile("sk-file\n") { try UpstreamKey.read(file: $0, environment: environment) }
        let fromEnvironment = try UpstreamKey.read(file: nil, environment: environment)
        let fromNowhere = try UpstreamKey.read(file: nil, environment: [:])
        #expect(fromFile == "sk-file" && fromEnvironment == "sk-env" && fromNowhere == nil)
    }

    @Test(arguments: [0o640, 0o604, 0o660, 0o644]) func aFileThatOthersReadIsRefused(mode: Int) throws {
        try Self.withFile("sk-geheim", mode: mode) { path in
            let failure = #expect(throws: CommandFailure.self) {
                try UpstreamKey.read(file: path, environment: [:])
            }
            #expect(failure?.message.contains("chmod 600") == true && failure?.exitCode == 77)
        }
    }

    @Test(arguments: [
        "", "\n", "sk geheim", "sk-geheim\nsk-geheim", "schlüssel-geheim", String(repeating: "geheim", count: 1_000),
    ])
    func whatIsNoKeyIsRefusedAndNotRepeated(text: String) throws {
        try Self.withFile(text) { path in
            let failure = #expect(throws: CommandFailure.self) { try UpstreamKey.read(file: path, environment: [:]) }
            #expect(failure?.message.contains("geheim") == false && failure?.exitCode == 65)
        }
    }

    @Test func aFileThatIsNotThereOrNoFileIsSaid() throws {
        for path in ["/nowhere/key", "/tmp"] {
            let failure = #expect(throws: CommandFailure.self) { try UpstreamKey.read(file: path, environment: [:]) }
            #expect(failure?.message.contains(path) == true && failure?.exitCode == 66)
        }
    }

    @Test func whatDoesNotBelongTogetherIsRefused() throws {
        let create = ["provider", "create", "cloud"]
        let good =
            create + ["--kind", "openai", "--base-url", "https://h/v1", "--endpoint", "v1/files", "--key-file", "k"]
        #expect(throws: Never.self) { try MeshCommand.check(good) }
        for arguments in [
            create + ["--base-url", "https://h/v1"], create + ["--key-file", "k"], create + ["--kind", "openai"],
            create + ["--kind", "runpod"], good + ["--out", "worker.json"], good + ["--backend", "demo"],
            ["provider", "set", "global/cloud"], ["provider", "set", "global/cloud", "--no-key", "--key-file", "k"],
            good + ["--api-key", "sk-1"],
        ] {
            #expect(throws: (any Error).self, "\(arguments)") { try MeshCommand.check(arguments) }
        }
        for change in [
            ["--base-url", "https://h/v1"], ["--endpoint", "v1/files"], ["--key-file", "k"], ["--no-key"],
        ] {
            #expect(throws: Never.self) { try MeshCommand.check(["provider", "set", "global/cloud"] + change) }
        }
    }

    @Test func anUpstreamIsShownBesideTheRest() {
        let shown = ProviderDocument(
            .object([
                "name": .string("global/cloud"),
                "upstream": .object([
                    "base_url": .string("https://h/v1"), "endpoints": .array([.string("v1/files")]),
                    "has_key": .bool(true),
                ]),
            ])
        ).shown
        #expect(shown["base_url"]?.cell == "https://h/v1" && shown["endpoints"]?.cell == "v1/files")
        #expect(shown["key"]?.cell == "in this node's data directory")
    }
}

/// Reads a command line without doing what it says.
private enum MeshCommand {
    static func check(_ arguments: [String]) throws {
        switch arguments.dropFirst().first {
        case "create": _ = try ProviderCommand.Create.parse(Array(arguments.dropFirst(2)))
        default: _ = try ProviderCommand.Set.parse(Array(arguments.dropFirst(2)))
        }
    }
}
