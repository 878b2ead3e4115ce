import MeshNode
import MeshWire
import Testing

/// A provider outlives its home: the nodes that know it go on without.
@Suite(.serialized, .nodeLog) struct HomeLossTests {
    @Test func theHomeEndsAndTheHostingNodeGoesOn() async throws {
        let southern = try await PreparedNode("south")
        let northern = try await PreparedNode("north")
        let token = try await withNode("south", prepared: southern, allow: [northern.summary.nodeID], isKept: true) {
            south in
            try await south.user("bob")
            let bob = try await south.key(of: "bob")
            let peer = "\(south.nodeID)@127.0.0.1:\(south.linkPort)"
            let (token, worker) = try await withNode("north", prepared: northern, peers: [peer]) { north in
                try await north.user("alice")
                let token = try await north.provider("lab", owner: "alice")
                let worker = try await ScriptedWorker.admitted(at: south, token: token, username: "alice")
                try await south.offers("lab/m1", to: bob)
                return (token, worker)
            }
            // Nobody is linked any more.
            try await eventually("the link is gone", within: 20) {
                try await south.administer("GET", "status")["links"]?.integer == 0
            }
            #expect(try await worker.isAlive())
            let connection = try await bob.start(#"{"model":"lab/m1"}"#)
            worker.answer(try await worker.request("chat.completions"), payload: #"{"from":"w1"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply.text == #"{"from":"w1"}"#)
            #expect(reply["aisbf-provider"] == "alice@north/lab")
            #expect(reply["aisbf-node"] == "south")
            let second = try await ScriptedWorker.admitted(at: south, token: token, client: "w2", username: "alice")
            #expect(try await second.isAlive())
            #expect(try await south.sessions().count == 2)
            return token
        }
        // What it knew of others stands in its store.
        try await withNode("south", prepared: southern, allow: [northern.summary.nodeID]) { south in
            let bob = try await south.key(of: "bob")
            let worker = try await ScriptedWorker.admitted(at: south, token: token, client: "w3", username: "alice")
            try await south.offers("lab/m1", to: bob)
            let connection = try await bob.start(#"{"model":"alice@north/lab/m1"}"#)
            worker.answer(try await worker.request("chat.completions"), payload: #"{"from":"w3"}"#)
            #expect(try await connection.reply().text == #"{"from":"w3"}"#)
        }
    }

    /// The provider's home is the first node, its worker hangs at the third, buyers ask at the first and second.
    @Test func aWorkerAtAThirdNodeAnswersBuyersOfTheHomeAndOfAnother() async throws {
        let (second, third) = (try await PreparedNode("second"), try await PreparedNode("third"))
        try await withNode("first", allow: [second.summary.nodeID, third.summary.nodeID]) { home in
            let homePeer = "\(home.nodeID)@127.0.0.1:\(home.linkPort)"
            try await withNode("second", prepared: second, peers: [homePeer], allow: [third.summary.nodeID]) { entry in
                let peers = [homePeer, "\(entry.nodeID)@127.0.0.1:\(entry.linkPort)"]
                try await withNode("third", prepared: third, peers: peers) { host in
                    try await home.user("alice")
                    let token = try await home.provider("lab", owner: "alice")
                    let worker = try await ScriptedWorker.admitted(at: host, token: token, username: "alice")
                    for node in [home, entry] {
                        try await node.user("bob")
                        let bob = try await node.key(of: "bob")
                        try await node.offers("lab/m1", to: bob)
                        for stream in [false, true] {
                            let connection = try await bob.start(#"{"model":"lab/m1","stream":\#(stream)}"#)
                            let request = try await worker.request("chat.completions")
                            if stream {
                                worker.chunk(request, "data: 1\n\n")
                                worker.done(request)
                            } else {
                                worker.answer(request, payload: #"{"far":true}"#)
                            }
                            let reply = try await connection.reply()
                            #expect(reply.status == 200)
                            #expect(reply.text == (stream ? "data: 1\n\ndata: [DONE]\n\n" : #"{"far":true}"#))
                            #expect(reply["aisbf-node"] == "third")
                            #expect(reply["aisbf-provider"] == "alice@first/lab")
                            #expect(reply["aisbf-attempts"] == "1")
                        }
                    }
                }
            }
        }
    }
}
