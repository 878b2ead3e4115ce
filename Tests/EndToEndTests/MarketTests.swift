import Foundation
import Testing

/// Pools and policies, as buyers' own programs use them at every node of a mesh.
@Suite(.serialized) struct MarketTests {
    private static let file = """
        rotations:
          - name: all
            members: [{target: demo/demo-chat, weight: 3}, seller@a/demo/demo-chat]
        policies:
          - {name: quick, order_by: latency}
        """

    @Test func theSDKBuysThroughPoolsAndPoliciesAtEveryNode() async throws {
        let mesh = try await LocalMesh.up()
        let file = "\(mesh.directory.path)/market.yaml"
        try Self.file.write(toFile: file, atomically: true, encoding: .utf8)
        for node in mesh.nodes {
            for _ in 0..<2 {
                let applied = try await mesh.run(["apply", file, "--data-dir", mesh.dataDirectory(node.name)])
                #expect(applied.code == 0, "\(applied.output)")
                #expect(applied.output.contains("rotation/all of global"), "\(applied.output)")
            }
            for model in ["rotation/all", "autoselect/quick", "auto:cheap"] {
                let buyer = try ChildProcess(
                    Products.python,
                    ["\(Products.root)/Tests/EndToEndTests/openai_sdk.py", node.url, node.key, model])
                #expect(await buyer.exitCode(within: 60) == 0, "\(model) at \(node.name): \(buyer.output)")
            }
        }
        try await mesh.down()
    }

    /// Two sellers, a hosted API, a rotation and a policy: from the file alone.
    @Test func thePoolOfTheFileServesAtEveryNodeAndSurvivesItsWorkers() async throws {
        let mesh = try await LocalMesh.up("Topology/pool.yaml")
        for node in mesh.nodes {
            for model in ["rotation/all", "auto:cheap", "autoselect/quick"] {
                let buyer = try ChildProcess(
                    Products.python,
                    ["\(Products.root)/Tests/EndToEndTests/openai_sdk.py", node.url, node.key, model])
                #expect(await buyer.exitCode(within: 60) == 0, "\(model) at \(node.name): \(buyer.output)")
            }
            let explained = try await mesh.run([
                "route", "explain", "rotation/all", "--data-dir", mesh.dataDirectory(node.name),
            ])
            #expect(explained.output.contains("3 of 3 can take it"), "\(explained.output)")
        }
        let failover = try await mesh.run(
            ["local", "failover", mesh.topology, "--state-dir", "\(mesh.directory.path)/s"], within: 120)
        #expect(failover.code == 0, "\(failover.output)")
        #expect(failover.output.contains("goes on]") && failover.output.contains("stream_interrupted"))
        try await mesh.down()
    }

    /// Made and published at one node, used at all, removed and gone at all.
    @Test func whatIsPublishedAtOneNodeServesAtAll() async throws {
        let mesh = try await LocalMesh.up()
        let directory = ["--data-dir", mesh.dataDirectory("a")]
        let name = "seller@a/rotation/shown"
        let made = try await mesh.run(
            ["rotation", "create", "shown", "--owner", "seller", "--member", "demo/demo-chat"] + directory)
        #expect(made.code == 0, "\(made.output)")
        for node in mesh.nodes { #expect(try await mesh.ask(node.name, model: name).status == 404) }
        let told = try await mesh.run(["rotation", "publish", "shown", "--owner", "seller"] + directory)
        #expect(told.code == 0 && told.output.contains(name), "\(told.output)")
        let policy = try await mesh.run(
            ["policy", "create", "quick", "--set", "order_by=latency", "--set", "publish=true"] + directory)
        #expect(policy.code == 0 && policy.output.contains("global@a/autoselect/quick"), "\(policy.output)")
        for node in mesh.nodes {
            for model in [name, "global@a/autoselect/quick"] {
                let isThere = try await eventually(within: 20) {
                    try await mesh.ask(node.name, model: model).status == 200
                }
                #expect(isThere, "\(model) at \(node.name)")
            }
        }
        let listed = try await mesh.run(["rotation", "list"] + directory)
        #expect(listed.output.contains(name), "\(listed.output)")
        #expect(try await mesh.run(["policy", "unpublish", "quick"] + directory).code == 0)
        #expect(try await mesh.run(["rotation", "remove", "shown", "--owner", "seller"] + directory).code == 0)
        for node in mesh.nodes {
            for model in [name, "global@a/autoselect/quick"] {
                let isGone = try await eventually(within: 20) {
                    try await mesh.ask(node.name, model: model).status == 404
                }
                #expect(isGone, "\(model) at \(node.name)")
            }
        }
        try await mesh.down()
    }

    @Test func theCommandsSayWhatIsWrong() async throws {
        let mesh = try await LocalMesh.up()
        let directory = ["--data-dir", mesh.dataDirectory("b")]
        let made = try await mesh.run(["rotation", "create", "one", "--member", "demo,weight=2"] + directory)
        #expect(made.code == 0, "\(made.output)")
        #expect(made.output.contains("rotation/one"))
        let again = try await mesh.run(["rotation", "create", "one", "--member", "demo"] + directory)
        #expect(again.code != 0)
        #expect(again.output.contains("edit it instead"), "\(again.output)")
        let loop = try await mesh.run(["rotation", "edit", "one", "--member", "rotation/one"] + directory)
        #expect(loop.output.contains("circle"), "\(loop.output)")
        let none = try await mesh.run(["rotation", "create", "two"] + directory)
        #expect(none.output.contains("--member"), "\(none.output)")
        let broken = "\(mesh.directory.path)/broken.yaml"
        try "rotations: [{name: x".write(toFile: broken, atomically: true, encoding: .utf8)
        let unread = try await mesh.run(["apply", broken] + directory)
        #expect(unread.code == 65, "\(unread.output)")
        let listed = try await mesh.run(["rotation", "list", "--json"] + directory)
        #expect(listed.output.contains("\"demo\""), "\(listed.output)")
        #expect(try await mesh.run(["rotation", "remove", "one"] + directory).code == 0)
        try await mesh.down()
    }
}
