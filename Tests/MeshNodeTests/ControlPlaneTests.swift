import Foundation
import Logging
import MeshBroker
import MeshCrypto
import MeshExchange
import MeshGossip
import MeshModel
import MeshRouting
import MeshStore
import MeshWire
import NIOPosix
import Synchronization
import Testing

@testable import MeshRuntime

/// The control loop over a real database.
@Suite struct ControlPlaneTests {
    private final class NoLinks: ControlPlane.Links {
        func send(_ frame: Aisbf_Mesh_V1_LinkFrame, over link: LinkID) {}
        func close(_ link: LinkID, code: String) {}
        func dial(_ address: String, expected: PublicKey?) {}
        func setDescriptor(_ record: VerifiedRecord) {}
        func unreachable(_ node: PublicKey) {}
    }

    /// Workers that come together cost the disk a few writes and not two each.
    @Test func twoHundredFortyWorkersTakeAFewCommits() async throws {
        let path = "/tmp/aisbf-\(UInt32.random(in: 0 ... .max)).sqlite"
        defer { for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + end) } }
        let store = try MeshStore.open(path)
        let node = SigningKey.random()
        let operatorKey = SigningKey.random()
        let tokens = (0..<8).map { _ in SigningKey.random() }
        let keyring = AttachKeyring()
        for token in tokens { keyring.add(token) }
        let catalog = CatalogHolder(node: node.publicKey)
        let network = NetworkID(Bytes16(high: 1, low: 2))
        let control = ControlPlane(
            store: store, signers: Signers([node, operatorKey], attachKeys: keyring), catalog: catalog,
            clock: ClockJudge(operatorKey: operatorKey.publicKey), network: network,
            eventLoop: MultiThreadedEventLoopGroup.singleton.next(),
            logger: Logger(label: "tests"))
        let broker = Broker(
            configuration: .init(
                key: node.publicKey, network: network, cryptography: Sodium.shared, seed: 1,
                admission: LinkAdmission(isOpen: true)), now: SystemClock.now)
        let running = Task { try await control.run(broker: broker, links: NoLinks()) }
        control.submit(.describe(Self.descriptor(node, operatorKey)))
        let drafts = tokens.enumerated().map { number, token in
            Self.draft("p\(number)", node: node, owner: operatorKey, token: token)
        }
        control.submit(.providers(drafts))
        try await eventually("the adverts") { catalog.current.providers.count == tokens.count }
        let before = store.health.commits
        let keys = drafts.map { draft in catalog.current.providers.first { $0.providerID == draft.advert.providerID } }
        for number in 0..<240 {
            let provider = try #require(keys[number % 8])
            control.submit(
                .workerAttached(
                    AttachedWorker(
                        sessionID: "s\(number)", provider: provider.key, owner: operatorKey.publicKey,
                        attachKey: tokens[number % 8].publicKey, clientID: "w\(number)", since: SystemClock.wall,
                        offer: WorkerOffer(models: [WorkerModel(id: "m\(number)")]))))
        }
        // The own catalog waits for no signature.
        try await eventually("the workers here") {
            catalog.current.providers.reduce(0) { $0 + $1.hosts.count } == 240
        }
        try await eventually("the attachments") {
            await control.query { $0.gossip.usableRecords(of: .attachment).count } == 240
        }
        #expect(store.health.commits - before <= 10, "\(store.health.commits - before) commits")
        // What was said is on the disk, and no version was given out twice.
        let kept = try store.ownRecords().compactMap { try? RecordEnvelope.parse($0).get() }
        #expect(kept.filter { $0.type == .attachment }.count == 240)
        let versions = kept.map { "\($0.signer) \($0.version)" }
        #expect(Set(versions).count == versions.count)
        control.stop()
        try await running.value
        try store.close()
    }

    private static func descriptor(_ node: SigningKey, _ operatorKey: SigningKey) -> Aisbf_Mesh_V1_NodeDescriptor {
        let notAfter = SystemClock.wall.advanced(byMilliseconds: 86_400_000)
        var body = Aisbf_Mesh_V1_NodeDescriptor()
        body.name = "host"
        body.operator.operatorKey = operatorKey.publicKey.bytes.protobuf
        body.operator.notAfterMs = UInt64(notAfter.milliseconds)
        body.operator.signature =
            operatorKey.sign(Statement.operatorCertificate(node: node.publicKey, notAfter: notAfter)).protobuf
        return body
    }

    private static func draft(
        _ id: String, node: SigningKey, owner: SigningKey, token: SigningKey
    ) -> Broker.ProviderDraft {
        var advert = Aisbf_Mesh_V1_ProviderAdvert()
        advert.providerID = id
        advert.homeNode = node.publicKey.bytes.protobuf
        advert.access = .public
        var key = Aisbf_Mesh_V1_AttachKey()
        key.publicKey = token.publicKey.bytes.protobuf
        advert.attachKeys = [key]
        return Broker.ProviderDraft(owner: owner.publicKey, advert: advert)
    }
}
