import MeshGossip
import MeshModel
import MeshNode
import MeshWire
import Testing

/// A whole node and peers that it admits.
@Suite(.nodeLog) struct LinkFloodTests {
    private static let floods: [(String, GossipMessage)] = {
        let keys = (0..<512).map { RecordKey(Bytes16(high: UInt64($0), low: 1)) }
        let names = keys.map { RecordSummary(key: $0, version: RecordVersion(raw: 1), hashPrefix: 1) }
        return [
            ("want", .want(keys)), ("announce", .announce(names)), ("sync need", .syncNeed(round: 1, keys: keys)),
            ("sync open", .syncOpen(round: 1, salt: .zero)), ("drain", .drain),
            ("peers", .peers(Array(repeating: [1], count: 16))),
        ]
    }()

    @Test func floodingPeersAreClosedWithAReasonAndAnHonestOneStays() async throws {
        let honest = FloodingPeer()
        let flooders = Self.floods.map { _ in FloodingPeer() }
        let allow = (flooders + [honest]).map(\.nodeID)
        try await withNode(allow: allow) { node in
            let network = try await PreparedNode.configuration("north", node.directory).networkID
            try honest.dial(node.linkPort, network: network)
            for flooder in flooders { try flooder.dial(node.linkPort, network: network) }
            try await eventually("links") { honest.isLinked && flooders.allSatisfy(\.isLinked) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (flooder, (_, message)) in zip(flooders, Self.floods) {
                    group.addTask {
                        // Several times what a peer may send, and no more than this side's own outbox takes.
                        let batch = message.weight > 100 ? 2 : 40
                        while flooder.isLinked {
                            for _ in 0..<batch { flooder.send(message) }
                            try await Task.sleep(for: .milliseconds(20))
                        }
                    }
                }
                group.addTask { try await Task.sleep(for: .seconds(240)) }
                for _ in flooders { try await group.next() }
                group.cancelAll()
            }
            for (flooder, (name, _)) in zip(flooders, Self.floods) {
                let expected: LinkFailure = name == "peers" ? .tooManyRejects : .flooding
                #expect(flooder.end == expected, "\(name)")
            }
            #expect(honest.isLinked)
            for peer in flooders + [honest] { await peer.stop() }
        }
    }
}
