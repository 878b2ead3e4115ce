import MeshCrypto
import MeshModel
import MeshNode
import MeshStore
import MeshWire
import Testing

/// Tokens of the first release, whose keys nobody signed for, at whole nodes.
@Suite(.serialized, .nodeLog) struct AttachKeyProofTests {
    private static let created = Timestamp(milliseconds: 1_760_000_000_000)

    /// Writes alice's provider `lab` as the first release left it.
    private static func fill(_ node: PreparedNode, _ token: RegistrationToken) async throws {
        let home = try NodeHome.open(try await PreparedNode.configuration("north", node.directory))
        let owner = try home.directory.ownerKeyCreatingIfMissing("alice").publicKey
        try home.store.createUser(UserAccount(username: "alice", ownerKey: owner, createdAt: created))
        try home.store.createProvider(
            ProviderAccount(
                providerID: "lab", scope: .user("alice"), ownerKey: owner, access: .public, displayName: "lab",
                maxConcurrency: 8,
                attachKeys: [AttachKeyEntry(publicKey: token.key.publicKey, label: "old", createdAt: created)],
                createdAt: created))
        try home.store.close()
    }

    @Test func anOldTokenIsGoodAtHomeAndElsewhereOnceItWasShownThere() async throws {
        let token = RegistrationToken.random()
        let northern = try await PreparedNode("north")
        try await Self.fill(northern, token)
        let southern = try await PreparedNode("south")
        try await withNode("north", prepared: northern, allow: [southern.summary.nodeID]) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer]) { south in
                func tries(_ text: String, at node: TestNode) async throws -> Int {
                    let body: JSONValue = ["provider_id": "lab", "registration_token": .string(text)]
                    return try await Buyer(port: node.buyerPort, key: nil).call(
                        "POST", "/api/u/alice/coderai/register", body: String(decoding: body.bytes, as: UTF8.self)
                    ).status
                }
                func isProven() async throws -> [JSONValue?] {
                    let tokens = try await north.administer("GET", "providers/alice/lab/tokens")["tokens"]?.elements
                    return (tokens ?? []).map { $0["proven"] }
                }
                let fresh = try await north.administer("POST", "providers/alice/lab/tokens", "{}")
                try await eventually("the south knows the advert", within: 20) {
                    try await Task.sleep(for: .milliseconds(50))
                    return try await tries(fresh["registration_token"]?.text ?? "", at: south) == 200
                }
                #expect(try await tries(token.text, at: south) == 403)
                #expect(try await tries(token.text, at: north) == 200)
                #expect(try await isProven() == [false, true])

                _ = try await ScriptedWorker.attach(
                    north.buyerPort, provider: "lab", token: token.text, client: "w1", username: "alice")
                try await eventually("the old token is good at the south", within: 20) {
                    try await Task.sleep(for: .milliseconds(50))
                    return try await tries(token.text, at: south) == 200
                }
                #expect(try await isProven() == [true, true])
            }
        }
    }
}
