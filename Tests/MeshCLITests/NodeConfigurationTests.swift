import Foundation
import MeshModel
import MeshNode
import Testing

@Suite struct NodeConfigurationTests {
    private static let peer =
        KeyText.node.text([UInt8](repeating: 7, count: 32)) + "@node.example.org:7443"

    private static func load(
        _ file: String? = nil, _ environment: [String: String] = [:], _ overrides: NodeConfiguration.Overrides = [:]
    ) async throws -> NodeConfiguration {
        var path: String?
        if let file {
            let url = FileManager.default.temporaryDirectory.appending(path: "aisbf-\(UUID().uuidString).yaml")
            try Data(file.utf8).write(to: url)
            path = url.path
        }
        defer { if let path { try? FileManager.default.removeItem(atPath: path) } }
        let home = ["HOME": "/home/somebody"]
        return try await NodeConfiguration.load(
            file: path, environment: home.merging(environment) { _, new in new }, overrides: overrides)
    }

    private static func problems(_ file: String?, _ environment: [String: String] = [:]) async throws -> [String] {
        do {
            _ = try await load(file, environment)
            return []
        } catch let problems as ConfigurationProblems {
            return problems.problems.map(\.description)
        }
    }

    @Test func defaultsHold() async throws {
        let configuration = try await Self.load()
        #expect(configuration.dataDirectory == "/home/somebody/.local/share/aisbf")
        #expect(configuration.api.listen == SocketEndpoint(host: "127.0.0.1", port: 8080))
        #expect(configuration.api.url == "http://127.0.0.1:8080")
        #expect(configuration.link.listen.description == "0.0.0.0:7443")
        #expect(configuration.link.advertise.isEmpty)
        #expect(configuration.mesh.beaconIntervalMs == 5_000)
        #expect(configuration.firstContentMs == 120_000)
        #expect(configuration.log.level == "info")
        #expect(configuration.log.format == .text)
    }

    @Test func flagsWinOverEnvironmentOverFile() async throws {
        let file = "node: {name: from-file}\nlog: {level: debug}\nmesh: {region: eu}"
        let environment = ["AISBF_NODE_NAME": "from-env", "AISBF_LOG_LEVEL": "error", "AISBF_MESH_REGION": ""]
        let configuration = try await Self.load(file, environment, [.nodeName: ["from-flag"]])
        #expect(configuration.nodeName == "from-flag")
        #expect(configuration.log.level == "error")
        #expect(configuration.mesh.region == "eu")
    }

    @Test(arguments: [
        "mesh:\n  peers: [\"\(peer)\"]", "{\"mesh\": {\"peers\": [\"\(peer)\"]}}", "mesh: {peers: \"\(peer)\"}",
    ])
    func peersAreReadFromYAMLAndJSON(file: String) async throws {
        let configuration = try await Self.load(file)
        #expect(configuration.mesh.peers.map(\.description) == [Self.peer])
    }

    @Test func listsInTheEnvironmentAreCommaSeparated() async throws {
        let configuration = try await Self.load(nil, ["AISBF_LINK_ADVERTISE": "a.example:1, [::1]:2"])
        #expect(configuration.link.advertise.map(\.description) == ["a.example:1", "[::1]:2"])
    }

    @Test(arguments: [
        ("node: {nam: x}", "node.nam: is not a configuration key (did you mean 'node.name'?)"),
        ("colour: red", "colour: is not a configuration key"),
        ("node: x", "node: must be a section"),
        ("node: {name: [x]}", "node.name: takes one value"),
        ("node: {name: Ä}", "node.name: must be 1 to 64"),
        ("api: {listen: 8080}", "api.listen: '8080' is not host:port"),
        ("api: {listen: \"h:99999\"}", "api.listen: 'h:99999' is not host:port"),
        ("api: {url: ftp://x}", "api.url: must be a base URL"),
        ("api: {tls: {key: /nowhere/key.pem}}", "api.tls.key: '/nowhere/key.pem' does not exist"),
        ("api: {tls: {key: /nowhere/key.pem}}", "api.tls.certificate: is missing"),
        ("mesh: {peers: [x]}", "mesh.peers[0]: must look like"),
        ("mesh: {peers: [\"aisbf_node_abc@h:1\"]}", "mesh.peers[0]: a node id is incomplete or mistyped"),
        ("mesh: {allow: [sk-aisbf-abc]}", "mesh.allow[0]: this is an API key"),
        ("mesh: {beacon_interval_ms: soon}", "mesh.beacon_interval_ms: 'soon' is not a whole number"),
        ("log: {level: inf}", "log.level: must be one of"),
        ("log: {format: xml}", "log.format: must be 'text' or 'json'"),
        ("link: {listen: \"127.0.0.1:8080\"}", "link.listen: is the same address as api.listen"),
    ])
    func aProblemIsNamedWithItsKeyPath(file: String, expected: String) async throws {
        let problems = try await Self.problems(file)
        #expect(problems.contains { $0.hasPrefix(expected) }, "\(problems)")
    }

    @Test func allProblemsOfAllSourcesAreNamedAtOnce() async throws {
        let problems = try await Self.problems(
            "node: {name: A}\nlog: {format: xml}\nx: 1", ["AISBF_LIMITS_STREAM_IDLE_MS": "1"])
        #expect(problems.count == 4, "\(problems)")
        #expect(problems.contains { $0.hasSuffix("(set by AISBF_LIMITS_STREAM_IDLE_MS)") }, "\(problems)")
    }

    @Test func aMissingFileIsAProblem() async throws {
        await #expect(throws: ConfigurationProblems.self) {
            try await NodeConfiguration.load(file: "/nowhere/node.yaml", environment: ["HOME": "/"])
        }
    }

    @Test func everyKeyStandsInTheReference() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Docs/Reference/configuration.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        for key in NodeConfigurationKey.allCases {
            #expect(text.contains("| `\(key.rawValue)` | `\(key.environmentName)` |"), "\(key.rawValue)")
        }
    }
}
