import MeshModel
import MeshStore
import Testing

@Suite struct MeshRuleStoreTests {
    @Test func rulesOutliveTheProcessAndStandOnce() throws {
        let directory = try ScratchDirectory()
        let rule = MeshRule(kind: .allow, value: "aisbf_node_a", addedAt: time)
        let peer = MeshRule(kind: .peer, value: "aisbf_node_a", addedAt: time)
        let store = try MeshStore.open(directory.database)
        try store.addMeshRule(rule)
        try store.addMeshRule(peer)
        #expect(throws: StoreError.self) { try store.addMeshRule(rule) }
        try store.close()
        let again = try MeshStore.open(directory.database)
        #expect(try again.meshRules() == [rule, peer])
        try again.removeMeshRule(.allow, rule.value)
        #expect(throws: StoreError.self) { try again.removeMeshRule(.allow, rule.value) }
        #expect(try again.meshRules() == [peer])
        try again.close()
    }

    @Test func thereIsAnEndToThem() throws {
        let directory = try ScratchDirectory()
        let store = try MeshStore.open(directory.database)
        for number in 0..<Limits.meshRulesStored {
            try store.addMeshRule(MeshRule(kind: .allow, value: "\(number)", addedAt: time))
        }
        #expect(throws: StoreError.self) {
            try store.addMeshRule(MeshRule(kind: .peer, value: "one more", addedAt: time))
        }
        try store.close()
    }
}
