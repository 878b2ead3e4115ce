import Foundation
import MeshModel
import MeshNode
import MeshWire
import Testing

/// Two operators who find each other: what each is told, and what changes without a restart.
@Suite(.nodeLog) struct MeshRuleTests {
    private func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
    }

    @Test func bothSidesAreToldWhatToAddAndItCountsAtOnce() async throws {
        try await withNode("south") { south in
            try await withNode("north", peers: ["\(south.nodeID)@127.0.0.1:\(south.linkPort)"]) { north in
                let operatorID = try #require(try await north.administer("GET", "status")["operator_id"]?.text)
                // The dialler: what the others have to do. Its peer was never seen, and is listed all the same.
                let state = try await eventually("the refusal in words") { () async throws -> String? in
                    let peers = try await north.administer("GET", "mesh/peers")["peers"]?.elements ?? []
                    let state = peers.first { $0["node_id"]?.text == south.nodeID }?["state"]?.text ?? ""
                    return state.contains("not on their allow-list") ? state : nil
                }
                #expect(state.contains("aisbf mesh allow add \(operatorID)") && state.contains(north.nodeID))
                // The one who was knocked at: who it was, and the line to paste.
                let knock = try #require(
                    try await south.administer("GET", "mesh/peers")["knocks"]?.elements?.first)
                #expect(knock["node_id"]?.text == north.nodeID && knock["operator_id"]?.text == operatorID)
                #expect(knock["admit"]?.text == "aisbf mesh allow add \(operatorID)")
                #expect(knock["address"]?.text?.contains("127.0.0.1") == true)

                _ = try await south.administer("POST", "mesh/allow", #"{"value":"\#(operatorID)"}"#)
                try await eventually("a link", within: 15) { try await isLinked(north, south) }
                #expect(try await south.administer("GET", "mesh/peers")["knocks"]?.elements?.isEmpty == true)
                let twice = try await south.admin.call(
                    "POST", "/api/admin/v1/mesh/allow", body: #"{"value":"\#(operatorID)"}"#)
                #expect(twice.status == 409)

                // The control, and its links close.
                _ = try await south.administer("DELETE", "mesh/allow/\(operatorID)")
                try await eventually("no link") { try await !isLinked(north, south) }
                #expect(try await south.administer("GET", "mesh/allow")["allow"]?.elements?.isEmpty == true)
            }
        }
    }

    @Test func peersComeAndGoByCommandAndOutliveARestart() async throws {
        let prepared = try await PreparedNode("north")
        try await withNode("south", allow: [prepared.summary.nodeID]) { south in
            let peer = "\(south.nodeID)@127.0.0.1:\(south.linkPort)"
            try await withNode("north", prepared: prepared, isKept: true) { north in
                _ = try await north.administer("POST", "mesh/static-peers", #"{"value":"\#(peer)"}"#)
                try await eventually("a link") { try await isLinked(north, south) }
            }
            try await withNode("north", prepared: prepared) { north in
                try await eventually("the link again", within: 15) {
                    try await isLinked(south, other: prepared.summary.nodeID)
                }
                _ = try await north.administer("DELETE", "mesh/static-peers/\(escaped(peer))")
                try await eventually("no link") { try await !isLinked(north, south) }
                // The node's id says enough where it is dialled at one address.
                _ = try await north.administer("POST", "mesh/static-peers", #"{"value":"\#(peer)"}"#)
                _ = try await north.administer(
                    "POST", "mesh/static-peers", #"{"value":"\#(south.nodeID)@127.0.0.1:1"}"#)
                let path = "/api/admin/v1/mesh/static-peers/\(south.nodeID)"
                let several = try await north.admin.call("DELETE", path)
                #expect(several.status == 400 && several.errorMessage.contains("several addresses"), "\(several.text)")
                _ = try await north.administer(
                    "DELETE", "mesh/static-peers/\(escaped("\(south.nodeID)@127.0.0.1:1"))")
                #expect(try await north.admin.call("DELETE", path).status == 204)
                #expect(try await north.admin.call("DELETE", path).status == 404)
                #expect(try await north.administer("GET", "mesh/static-peers")["peers"]?.elements?.isEmpty == true)
            }
        }
    }

    @Test func linesThatMeanNothingAreRefusedInWords() async throws {
        let stranger = PreparedNode.strangerID()
        try await withNode("north", allow: [stranger]) { north in
            for (path, value) in [
                ("mesh/allow", "aisbf_owner_x"), ("mesh/allow", ""), ("mesh/static-peers", stranger),
                ("mesh/static-peers", "\(stranger)@nowhere"), ("mesh/static-peers", "\(stranger)@a b:1"),
            ] {
                let reply = try await north.admin.call(
                    "POST", "/api/admin/v1/\(path)", body: #"{"value":"\#(value)"}"#)
                #expect(reply.status == 400, "\(value)")
            }
            let configured = try await north.admin.call("DELETE", "/api/admin/v1/mesh/allow/\(stranger)")
            #expect(configured.status == 409 && configured.errorMessage.contains("configuration file"))
            let missing = try await north.admin.call(
                "DELETE", "/api/admin/v1/mesh/allow/\(PreparedNode.strangerID())")
            #expect(missing.status == 404)
        }
    }

    @Test(arguments: [
        ("127.0.0.1:1", "nothing listens"), ("no-such-host.invalid:7443", "host name is not known"),
    ])
    func anAddressThatLeadsNowhereIsNamed(address: String, words: String) async throws {
        let stranger = PreparedNode.strangerID()
        try await withNode("north", peers: ["\(stranger)@\(address)"]) { north in
            try await eventually("the reason", within: 20) {
                let peers = try await north.administer("GET", "mesh/static-peers")["peers"]?.elements ?? []
                return peers.first?["state"]?.text?.contains(words) == true
            }
        }
    }

    private func isLinked(_ node: TestNode, _ other: TestNode) async throws -> Bool {
        try await isLinked(node, other: other.nodeID)
    }

    private func isLinked(_ node: TestNode, other: String) async throws -> Bool {
        let peers = try await node.administer("GET", "mesh/peers")["peers"]?.elements ?? []
        return peers.contains { $0["node_id"]?.text == other && $0["linked"] == true }
    }
}
