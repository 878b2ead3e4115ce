import MeshModel
import MeshNode
import MeshWire
import Testing

/// Nodes keep links to some of the others only. A request reaches every host all the same.
@Suite(.serialized, .nodeLog) struct UnlinkedHostTests {
    /// North and south are linked with a hub, and not with each other: a worker is at north, bob buys at south.
    private struct Mesh: Sendable {
        var north: TestNode
        var south: TestNode
        var bob: Buyer
        var worker: ScriptedWorker

        static func open(_ body: @escaping @Sendable (Mesh) async throws -> Void) async throws {
            let northern = try await PreparedNode("north")
            let southern = try await PreparedNode("south")
            let both = [northern.summary.nodeID, southern.summary.nodeID]
            try await withNode("hub", allow: both, degree: 1) { hub in
                let peers = ["\(hub.nodeID)@127.0.0.1:\(hub.linkPort)"]
                try await withNode("north", prepared: northern, peers: peers, allow: both, degree: 1) { north in
                    try await withNode("south", prepared: southern, peers: peers, allow: both, degree: 1) { south in
                        try await south.user("bob")
                        let bob = try await south.key(of: "bob")
                        let token = try await north.provider("lab")
                        let worker = try await eventually("the worker is admitted", within: 20) {
                            try? await ScriptedWorker.attach(
                                north.buyerPort, provider: "lab", token: token, client: "w", models: ["m1"],
                                capabilities: #"{"openai_compat":{"audio":true}}"#)
                        }
                        try await south.offers("lab/m1", to: bob)
                        try await body(Mesh(north: north, south: south, bob: bob, worker: worker))
                    }
                }
            }
        }

        /// Whether south has a link of its own to north.
        func isLinked() async throws -> Bool {
            let peers = try await south.administer("GET", "mesh/peers")["peers"]?.elements ?? []
            return peers.contains { $0["node_id"]?.text == north.nodeID && $0["linked"] == .boolean(true) }
        }
    }

    @Test func aChatMakesTheLinkItNeeds() async throws {
        try await Mesh.open { mesh in
            #expect(try await !mesh.isLinked())
            let body = #"{"model":"lab/m1"}"#
            // Many at once wait for one link.
            let connections = try await withThrowingTaskGroup(of: RawConnection.self) { group in
                for _ in 0..<8 { group.addTask { try await mesh.bob.start(body) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for _ in connections {
                mesh.worker.answer(try await mesh.worker.request("chat.completions"), payload: #"{"id":"far"}"#)
            }
            for connection in connections {
                let reply = try await connection.reply()
                #expect(reply.status == 200, "\(reply.text)")
                #expect(reply["aisbf-attempts"] == "1")
            }
            #expect(try await mesh.isLinked())
        }
    }

    @Test func aBuyerWhoLeavesMeanwhileLeavesNothingBehind() async throws {
        try await Mesh.open { mesh in
            let left = try await mesh.bob.start(#"{"model":"lab/m1"}"#)
            left.close()
            try await eventually("no request is open") {
                try await mesh.south.administer("GET", "status")["requests_in_flight"]?.integer == 0
            }
            let next = try await mesh.bob.start(#"{"model":"lab/m1","user":"second"}"#)
            try await eventually("the second is answered") {
                // The first may have got so far before it was given up.
                let request = try await mesh.worker.request("chat.completions")
                mesh.worker.answer(request, payload: #"{"id":"far"}"#)
                return request["payload"]?["user"]?.text == "second"
            }
            #expect(try await next.reply().status == 200)
        }
    }
}
