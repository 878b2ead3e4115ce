import Foundation
import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import SwiftProtobuf
import Testing

/// Nodes and owners are free to make; what stands on one operator's nodes is counted together.
@Suite struct OperatorQuotaTests {
    private static func key(_ text: String) -> SigningKey {
        SigningKey(seed: Sodium.shared.hash32(Array(text.utf8)).bytes) ?? .random()
    }

    /// Adverts of as many owners as there are adverts, at homes of `operators` operators.
    private static func adverts(homes: [SigningKey], count: Int) -> [VerifiedRecord] {
        (0..<count).map { number in
            let home = homes[number % homes.count]
            let owner = key("owner \(number)")
            let notAfter = GossipFixture.wall.advanced(byMilliseconds: 3_600_000)
            let body = Aisbf_Mesh_V1_ProviderAdvert.with {
                $0.providerID = "gpu"
                $0.homeNode = Data(home.publicKey.bytes)
                $0.binding.username = "user-\(number)"
                $0.binding.ownerKey = Data(owner.publicKey.bytes)
                $0.binding.homeNode = Data(home.publicKey.bytes)
                $0.binding.notAfterMs = UInt64(notAfter.milliseconds)
                $0.binding.signature = Data(
                    home.sign(
                        Statement.scopeBinding(
                            username: "user-\(number)", owner: owner.publicKey, home: home.publicKey,
                            notAfter: notAfter)))
            }
            return GossipFixture.record(
                .providerAdvert, by: owner, name: Array("gpu".utf8), body: RecordBody.bytes(of: body))
        }
    }

    @Test func manyNodesOfOneOperatorFillNoMoreThanHisShare() {
        let homes = (0..<6).map { Self.key("home \($0)") }
        let boss = Self.key("boss")
        let count = Limits.providersPerOperator + 60
        let adverts = Self.adverts(homes: homes, count: count)
        let honest = GossipFixture()
        let honestHome = GossipFixture.descriptor(honest.home, operatorKey: honest.operatorKey)
        let one = homes.map { GossipFixture.descriptor($0, operatorKey: boss) }
        // The control: six operators. The two descriptions of a node are kept apart by who is asked.
        let six = homes.map { GossipFixture.descriptor($0, operatorKey: Self.key("boss of \($0.publicKey)")) }
        let uncertified = homes.map { GossipFixture.descriptor($0) }
        for (descriptors, expected) in [
            (one, Limits.providersPerOperator), (uncertified, Limits.providersPerOperator), (six, count),
        ] {
            var gossip = GossipFixture.gossip()
            _ = gossip.handle(
                .restore(descriptors + adverts + [honestHome, honest.advert()]), now: GossipFixture.now())
            #expect(gossip.records(of: .providerAdvert).count == expected + 1)
            #expect(gossip.isUsable(honest.advert().key))
        }
    }

    @Test func theSameRecordsStayInWhateverOrderTheyCome() {
        let homes = (0..<3).map { Self.key("home \($0)") }
        let boss = Self.key("boss")
        let adverts = Self.adverts(homes: homes, count: Limits.providersPerOperator + 5)
        let descriptors = homes.map { GossipFixture.descriptor($0, operatorKey: boss) }
        var early = GossipFixture.gossip()
        _ = early.handle(.restore(descriptors), now: GossipFixture.now())
        _ = early.handle(.restore(adverts), now: GossipFixture.now())
        // One of the descriptors comes when what stands on it is there already.
        var late = GossipFixture.gossip()
        _ = late.handle(.restore(Array(descriptors.dropLast())), now: GossipFixture.now())
        _ = late.handle(.restore(adverts.reversed()), now: GossipFixture.now())
        _ = late.handle(.restore(Array(descriptors.suffix(1))), now: GossipFixture.now())
        #expect(early.records(of: .providerAdvert).count == Limits.providersPerOperator)
        #expect(early.records(of: .providerAdvert).map(\.key) == late.records(of: .providerAdvert).map(\.key))
    }

    @Test func oneOperatorsNodesLeaveLinksToOthers() {
        let boss = Self.key("boss")
        let own = Self.key("own operator")
        let configured = Self.key("configured")
        var gossip = GossipFixture.gossip {
            $0.operatorKey = own.publicKey
            $0.staticPeers = [.init(key: configured.publicKey, address: "configured:1")]
        }
        func connect(_ node: SigningKey, _ operatorKey: SigningKey?, link: UInt64) -> Bool {
            let effects = gossip.handle(
                .linkUp(
                    LinkID(raw: link), peer: node.publicKey, dialled: false, address: nil,
                    descriptor: GossipFixture.descriptor(node, operatorKey: operatorKey)), now: GossipFixture.now())
            return !effects.contains(.close(LinkID(raw: link), .tooManyLinks))
        }
        for number in 0..<Limits.linksPerOperator {
            #expect(connect(Self.key("node \(number)"), boss, link: UInt64(number)))
        }
        #expect(!connect(Self.key("one more"), boss, link: 1_000))
        #expect(connect(Self.key("somebody else"), Self.key("other boss"), link: 1_001))
        #expect(connect(configured, boss, link: 1_002))
        for number in 0...Limits.linksPerOperator {
            #expect(connect(Self.key("own \(number)"), own, link: UInt64(2_000 + number)))
        }
    }
}
