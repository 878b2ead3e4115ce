import Foundation
import Testing

@testable import MeshCLI

/// What programs are told of a node, and how it gets into their files.
@Suite struct ClientSetupTests {
    private static let terms = ClientSetup.Terms(
        url: "http://127.0.0.1:8088", key: "sk-aisbf-abc", model: "lab/m 1")

    private static func setup(_ client: ClientSetup.Client) -> ClientSetup { ClientSetup(client, terms) }

    @Test(arguments: ClientSetup.Client.allCases) func everyProgramIsToldWhereAndHow(client: ClientSetup.Client) {
        let setup = Self.setup(client)
        let said = setup.text + setup.variables.map { "\($0.name)=\($0.value)" }.joined() + setup.command
        #expect(said.contains("http://127.0.0.1:8088") && said.contains("sk-aisbf-abc"))
        #expect((setup.file == nil) == (setup.content == .variables))
        // Programs of Anthropic's API add /v1 by themselves.
        #expect(said.contains("8088/v1") != (client == .claude))
    }

    @Test(arguments: ClientSetup.Client.allCases.filter { setup($0).file != nil })
    func writingTwiceIsWritingOnce(client: ClientSetup.Client) throws {
        let setup = Self.setup(client)
        let once = try setup.applied(to: "")
        #expect(try setup.applied(to: once) == once)
        var other = Self.terms
        other.url = "https://node.example.org"
        let moved = try ClientSetup(client, other).applied(to: once)
        #expect(moved.contains("node.example.org") && !moved.contains("8088"))
    }

    @Test func whatStandsInAFileStays() throws {
        let toml = "model = \"gpt\"\n\n[mcp_servers.x]\ncommand = \"y\"\n"
        let codex = try Self.setup(.codex).applied(to: toml)
        #expect(codex.hasPrefix(toml) && codex.contains("\n[model_providers.aisbf]\n"))
        let later = codex + "[tui]\ntheme = \"dark\"\n"
        #expect(try Self.setup(.codex).applied(to: later) == later)
        let settings = #"{"permissions":{"allow":["Bash"]},"env":{"FOO":"1"}}"#
        let claude = try #require(JSONValue.parse(Array(try Self.setup(.claude).applied(to: settings).utf8)))
        #expect(claude["permissions"]?["allow"] == .array([.string("Bash")]))
        #expect(claude["env"]?["FOO"] == .string("1"))
        #expect(claude["env"]?["ANTHROPIC_BASE_URL"] == .string("http://127.0.0.1:8088"))
        let open = #"{"provider":{"other":{"name":"x"},"aisbf":{"name":"old"}},"theme":"y"}"#
        let opencode = try #require(JSONValue.parse(Array(try Self.setup(.opencode).applied(to: open).utf8)))
        #expect(opencode["provider"]?["other"]?["name"] == .string("x") && opencode["theme"] == .string("y"))
        #expect(opencode["provider"]?["aisbf"]?["models"]?["lab/m 1"] != nil)
    }

    @Test(
        arguments: [
            (ClientSetup.Client.codex, "[model_providers.aisbf]\nname = \"mine\"\n"),
            (.aider, "model: gpt\n"), (.aider, "openai-api-base: http://x\n"),
            (.claude, #"{"env":{"ANTHROPIC_BASE_URL":"https://other"}}"#),
            (.claude, #"{"env":{"ANTHROPIC_AUTH_TOKEN":"sk-ant-x"}}"#), (.claude, #"{"env":5}"#),
            (.claude, "{ // mine\n}"), (.claude, "[]"), (.opencode, #"{"provider":[]}"#), (.openwebui, ""),
        ])
    func whatSomebodyElseHasSetIsLeftAlone(client: ClientSetup.Client, file: String) {
        #expect(throws: ClientSetup.Conflict.self) { try Self.setup(client).applied(to: file) }
    }

    @Test func aFileIsReplacedAsAWholeAndItsOldTextKept() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/connect-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = "\(folder)/deep/settings.json"
        let setup = Self.setup(.claude)
        let first = try ClientFile.write(setup, to: path)
        #expect(first == .init(isChanged: true, backup: nil))
        #expect(try ClientFile.write(setup, to: path) == .init(isChanged: false, backup: nil))
        // It holds a key.
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let old = #"{"env":{"FOO":"1"}}"#
        try old.write(toFile: path, atomically: true, encoding: .utf8)
        let second = try ClientFile.write(setup, to: path)
        #expect(try String(contentsOfFile: try #require(second.backup), encoding: .utf8) == old)
        try #"{"env":{"ANTHROPIC_BASE_URL":"https://other"}}"#.write(toFile: path, atomically: true, encoding: .utf8)
        let failure = #expect(throws: CommandFailure.self) { try ClientFile.write(setup, to: path) }
        #expect(failure?.message.contains("left as it is") == true)
        #expect(try String(contentsOfFile: path, encoding: .utf8).contains("https://other"))
    }

    @Test(
        arguments: [
            (["HOME": "/h"], "/h/.codex/config.toml"), (["HOME": "/h", "CODEX_HOME": "/c"], "/c/config.toml"),
            (["HOME": "/h", "CODEX_HOME": ""], "/h/.codex/config.toml"),
        ])
    func filesAreWhereTheProgramLooks(environment: [String: String], path: String) {
        #expect(ConnectCommand.path(of: .codex, ".codex/config.toml", environment) == path)
    }

    @Test(arguments: [("plain/m-1", "plain/m-1"), ("two words", "'two words'"), ("it's", #"'it'\''s'"#), ("", "''")])
    func wordsOfAShell(text: String, quoted: String) {
        #expect(ClientSetup.shell(text) == quoted)
    }
}
