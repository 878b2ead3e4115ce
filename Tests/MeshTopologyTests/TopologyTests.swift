import Foundation
import MeshTopology
import Testing

@Suite struct TopologyTests {
    private static let directory = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Topology")

    private static func problems(_ text: String) -> [String] {
        switch Topology.parse(text) {
        case .success: []
        case .failure(let problems): problems.problems.map(\.description)
        }
    }

    @Test(arguments: ["single", "triangle", "pool"])
    func everyShippedFileIsValidAndNamedAsItsFile(name: String) throws {
        let text = try String(contentsOf: Self.directory.appending(path: "\(name).yaml"), encoding: .utf8)
        #expect(try Topology.parse(text).get().name == name)
    }

    @Test func theTriangleIsWhatItsNameSays() throws {
        let text = try String(contentsOf: Self.directory.appending(path: "triangle.yaml"), encoding: .utf8)
        let triangle = try Topology.parse(text).get()
        #expect(triangle.nodes.map(\.name) == ["a", "b", "c"])
        #expect(triangle.nodes.allSatisfy { $0.peers.count == 1 })
        #expect(triangle.workers.map(\.attach) == ["a"])
        #expect(triangle.buyers.map(\.node) == ["a", "b", "c"])
        #expect(triangle.providers.first?.access == .public)
        #expect(triangle.network == "aisbf-local-triangle")
        #expect(triangle.workers.first?.backend == .demo(models: ["demo-chat"], tokensPerSecond: 50))
    }

    @Test func thePoolHasAMarket() throws {
        let text = try String(contentsOf: Self.directory.appending(path: "pool.yaml"), encoding: .utf8)
        let pool = try Topology.parse(text).get()
        #expect(pool.providers.map { $0.backend != nil } == [false, false, true])
        #expect(pool.markets.map(\.nodes) == [["a", "b", "c"]])
        #expect(pool.markets.first?.firstRotation == "rotation/all")
        let json = String(decoding: pool.markets.first?.json ?? [], as: UTF8.self)
        #expect(json.contains(#"{"target":"ann@a/lab/demo-chat","weight":3}"#), "\(json)")
    }

    @Test(arguments: [
        (
            "{a: off, b: yes, c: true, d: null, e: ~, f: 1.50, g: -3, h: '7', i: 0x10, j: 1e3}",
            #"{"a":"off","b":"yes","c":true,"d":null,"e":null,"f":1.50,"g":-3,"h":"7","i":"0x10","j":1e3}"#
        ),
        (#"{"a": [1, {"b": "x"}]}"#, #"{"a":[1,{"b":"x"}]}"#), ("word", #""word""#), ("", "null"),
    ])
    func yamlIsJSON(text: String, json: String) throws {
        #expect(String(decoding: try YAMLFile.json(text), as: UTF8.self) == json)
    }

    @Test(arguments: ["a: [", "{1: {[x]: 2}}", "a: &x 1\nb: *x\n? [k]\n: v", String(repeating: "[", count: 200)])
    func whatIsNoJSONIsNone(text: String) {
        #expect(throws: YAMLFile.Failure.self) { _ = try YAMLFile.json(text) }
    }

    private static let one = "name: x\nnodes: [{name: a}]\n"

    @Test(arguments: [
        (one + "market: [{rotations: []}]", "market[0].nodes: must name the nodes"),
        (one + "market: [{nodes: [z]}]", "market[0].nodes[0]: there is no node 'z'"),
        (one + "market: [{nodes: [a], rotations: [{name: r}]}]", "market[0].rotations[0].members: it must be a list"),
        (one + "market: [{nodes: [a], rotations: [{name: r, members: [rotation/r]}]}]", "market[0].rotations[0]."),
        (one + "market: [{nodes: [a], policies: [{name: p, order_by: luck}]}]", "market[0].policies[0].order_by"),
        (one + "market: [{nodes: [a], rotations: [7]}]", "market[0].rotations[0]: must be a section"),
        (one + "market: [{nodes: [a], extra: 1}]", "market[0].extra: is not known here"),
        (
            one + "providers: [{id: p, owner: global, home: a, backend: {kind: demo}}]\n"
                + "workers: [{name: w, provider: global@a/p, attach: a}]",
            "workers[0].provider: 'global@a/p' has a backend"
        ),
    ])
    func whatIsWrongWithAMarketIsSaid(text: String, beginning: String) {
        let problems = Self.problems(text)
        #expect(problems.contains { $0.hasPrefix(beginning) }, "\(problems)")
    }

    @Test(arguments: [
        ("", "(file): must be a mapping"),
        ("- a", "(file): must be a mapping"),
        ("a: [", "(file): is not valid YAML"),
        ("nodes: [{name: a}]", "name: is missing"),
        ("name: x", "nodes: must name at least one node"),
        ("name: x\nnodes: 3", "nodes: must be a list"),
        ("name: x\nnodes: [a]", "nodes[0]: must be a section"),
        ("name: X\nnodes: [{name: a}]", "name: must be 1 to 64 characters"),
        ("name: x\nnode: []\nnodes: [{name: a}]", "node: is not known here (did you mean 'nodes'?)"),
        ("name: x\nnodes: [{name: a}, {name: a}]", "nodes[1].name: 'a' is there twice"),
        ("name: x\nnodes: [{name: a, peers: [b]}]", "nodes[0].peers[0]: there is no node 'b'"),
        ("name: x\nnodes: [{name: a, peers: [a]}]", "nodes[0].peers[0]: a node is not its own peer"),
        ("name: x\nnodes: [{name: a}, {name: b}]", "nodes[1].peers: no chain of peers joins 'b' to 'a'"),
        ("name: x\nbeacon_interval_ms: 1\nnodes: [{name: a}]", "beacon_interval_ms: must be a whole number"),
        ("name: x\nnodes: [{name: a}]\nusers: [{name: global, home: a}]", "users[0].name: 'global' means the operator"),
        (
            "name: x\nnodes: [{name: a}]\nproviders: [{id: p, owner: u, home: a}]",
            "providers[0].owner: 'u' is no user at node 'a'"
        ),
        (
            "name: x\nnodes: [{name: a}]\nproviders: [{id: p, owner: global, home: a, access: all}]",
            "providers[0].access: must be 'public'"
        ),
        (
            "name: x\nnodes: [{name: a}]\nproviders: [{id: p, owner: global, home: a, access: named}]",
            "providers[0].named: belongs to"
        ),
        (
            "name: x\nnodes: [{name: a}]\nproviders: [{id: p, owner: global, home: a}]\n"
                + "workers: [{name: w, provider: global@a/q, attach: a}]",
            "workers[0].provider: there is no provider 'global@a/q' (did you mean 'global@a/p'?)"
        ),
        (
            "name: x\nnodes: [{name: a}]\nworkers: [{name: w, provider: p, attach: a}]",
            "workers[0].provider: must look like owner@node/id"
        ),
        (
            "name: x\nnodes: [{name: a}]\nworkers: [{name: w, provider: g@a/p, attach: a, backend: {kind: magic}}]",
            "workers[0].backend.kind: must be 'demo' or 'openai'"
        ),
    ])
    func aProblemIsNamedWithItsPath(text: String, expected: String) {
        let problems = Self.problems(text)
        #expect(problems.contains { $0.hasPrefix(expected) }, "\(problems)")
    }

    @Test func allProblemsAreNamedAtOnce() {
        let problems = Self.problems("name: X\nnodez: []\nnodes: [{name: a, colour: red}, {nme: b}]")
        #expect(problems.count == 5, "\(problems)")
    }
}
