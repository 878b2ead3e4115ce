import Foundation
import MeshCrypto
import MeshGossip
import MeshModel
import MeshRouting
import MeshWire
import SwiftProtobuf
import Synchronization
import Testing

/// The records of one provider with one worker, each signed by the key that must; a test breaks one link.
struct Chain {
    let network = NetworkID(Bytes16(high: 7, low: 7))
    let wall = Timestamp(milliseconds: 1_800_000_000_000)
    let node = SigningKey.random()
    /// The node whose catalog it is: another one, for its own workers need no records.
    let reader = SigningKey.random()
    let operatorKey = SigningKey.random()
    let owner = SigningKey.random()
    let attach = SigningKey.random()
    var descriptor = Aisbf_Mesh_V1_NodeDescriptor()
    var advert = Aisbf_Mesh_V1_ProviderAdvert()
    var grant = Aisbf_Mesh_V1_AttachGrant()
    var attachment = Aisbf_Mesh_V1_Attachment()
    var advertSigner: SigningKey
    var grantSigner: SigningKey
    var attachmentSigner: SigningKey
    var reachable: [PublicKey]

    init(global: Bool = false) {
        let notAfter = wall.advanced(byMilliseconds: 86_400_000)
        advertSigner = global ? operatorKey : owner
        grantSigner = attach
        attachmentSigner = node
        reachable = [node.publicKey]
        descriptor.name = "north"
        descriptor.operator.operatorKey = operatorKey.publicKey.bytes.protobuf
        descriptor.operator.notAfterMs = UInt64(notAfter.milliseconds)
        descriptor.operator.signature =
            operatorKey.sign(Statement.operatorCertificate(node: node.publicKey, notAfter: notAfter)).protobuf
        advert.providerID = "lab"
        advert.homeNode = node.publicKey.bytes.protobuf
        advert.access = .public
        var key = Aisbf_Mesh_V1_AttachKey()
        key.publicKey = attach.publicKey.bytes.protobuf
        key.proof = attach.sign(Statement.attachKey(owner: advertSigner.publicKey, providerID: "lab")).protobuf
        advert.attachKeys = [key]
        if !global { bind(username: "alice", owner: owner.publicKey, home: node, notAfter: notAfter) }
        grant.hostingNode = node.publicKey.bytes.protobuf
        var offer = Aisbf_Mesh_V1_ModelOffer()
        offer.id = "m1"
        attachment.models = [offer]
        attachment.clientHash = [UInt8](repeating: 3, count: 16).protobuf
    }

    mutating func bind(username: String, owner: PublicKey, home: SigningKey, notAfter: Timestamp) {
        advert.binding.username = username
        advert.binding.ownerKey = owner.bytes.protobuf
        advert.binding.homeNode = home.publicKey.bytes.protobuf
        advert.binding.notAfterMs = UInt64(notAfter.milliseconds)
        advert.binding.signature =
            home.sign(
                Statement.scopeBinding(username: username, owner: owner, home: home.publicKey, notAfter: notAfter)
            ).protobuf
    }

    /// What stands in the advert as the key's proof, or something a little different.
    func proof(by key: SigningKey? = nil, owner: PublicKey? = nil, providerID: String = "lab") -> Data {
        (key ?? attach).sign(Statement.attachKey(owner: owner ?? self.owner.publicKey, providerID: providerID)).protobuf
    }

    func sign(_ type: RecordType, _ body: RecordBody, _ bytes: [UInt8], by signer: SigningKey) throws -> VerifiedRecord
    {
        let draft = RecordDraft(
            type: type, network: network, signer: signer.publicKey, name: body.name,
            version: RecordVersion(epoch: RecordVersion.epoch(at: wall), sequence: 1), issued: wall,
            // A grant ends before what it rests on.
            expires: wall.advanced(byMilliseconds: type == .attachGrant ? 3_600_000 : 7_200_000), body: bytes)
        return try VerifiedRecord.verify(
            bytes: draft.signed(by: signer, cryptography: Sodium.shared), network: network, wall: wall,
            cryptography: Sodium.shared
        ).get()
    }

    /// A page of models beside the attachment.
    func page(
        _ number: UInt32, _ ids: [String], name: UInt8, by signer: SigningKey? = nil, grantKey: [UInt8]? = nil
    ) throws -> VerifiedRecord {
        let offered = try sign(.providerAdvert, .providerAdvert(advert), RecordBody.bytes(of: advert), by: advertSigner)
        var grant = grant
        grant.providerRecordKey = offered.key.bytes.protobuf
        grant.ownerKey = advertSigner.publicKey.bytes.protobuf
        let granted = try sign(.attachGrant, .attachGrant(grant), RecordBody.bytes(of: grant), by: grantSigner)
        var body = Aisbf_Mesh_V1_Attachment()
        body.providerRecordKey = offered.key.bytes.protobuf
        body.ownerKey = advertSigner.publicKey.bytes.protobuf
        body.grantKey = (grantKey ?? granted.key.bytes).protobuf
        body.grantHash = granted.hash.bytes.protobuf
        body.clientHash = [UInt8](repeating: name, count: 16).protobuf
        body.page = number
        body.models = ids.map { id in
            var offer = Aisbf_Mesh_V1_ModelOffer()
            offer.id = id
            return offer
        }
        return try sign(.attachment, .attachment(body), RecordBody.bytes(of: body), by: signer ?? attachmentSigner)
    }

    func catalog(
        at time: Timestamp? = nil, descriptors: Bool = true, grants: Bool = true, and others: [VerifiedRecord] = [],
        details: [RecordKey: ProviderDetails] = [:]
    ) throws -> Catalog {
        var builder = CatalogBuilder(node: reader.publicKey, cryptography: Sodium.shared)
        return try catalog(
            at: time, descriptors: descriptors, grants: grants, and: others, details: details, builder: &builder)
    }

    func catalog(
        at time: Timestamp? = nil, descriptors: Bool = true, grants: Bool = true, and others: [VerifiedRecord] = [],
        details: [RecordKey: ProviderDetails] = [:], builder: inout CatalogBuilder
    ) throws -> Catalog {
        var grant = grant
        var attachment = attachment
        let described = try sign(
            .nodeDescriptor, .nodeDescriptor(descriptor), RecordBody.bytes(of: descriptor), by: node)
        let offered = try sign(.providerAdvert, .providerAdvert(advert), RecordBody.bytes(of: advert), by: advertSigner)
        if grant.providerRecordKey.isEmpty { grant.providerRecordKey = offered.key.bytes.protobuf }
        grant.ownerKey = advertSigner.publicKey.bytes.protobuf
        let granted = try sign(.attachGrant, .attachGrant(grant), RecordBody.bytes(of: grant), by: grantSigner)
        attachment.providerRecordKey = offered.key.bytes.protobuf
        attachment.ownerKey = advertSigner.publicKey.bytes.protobuf
        if attachment.grantKey.isEmpty { attachment.grantKey = granted.key.bytes.protobuf }
        if attachment.grantHash.isEmpty { attachment.grantHash = granted.hash.bytes.protobuf }
        let attached = try sign(
            .attachment, .attachment(attachment), RecordBody.bytes(of: attachment), by: attachmentSigner)
        let records = (descriptors ? [described] : []) + [offered] + (grants ? [granted] : []) + [attached] + others
        return builder.build(
            usable(records, at: time ?? wall), details: details, reachable: reachable, wall: time ?? wall)
    }

    /// What the reader's node makes of records that it got when they were signed.
    func usable(_ records: [VerifiedRecord], at time: Timestamp) -> UsableRecords {
        let start = Instant(nanoseconds: 0)
        var gossip = Gossip(
            configuration: .init(
                key: reader.publicKey, network: network, cryptography: Sodium.shared, seed: 1,
                admission: LinkAdmission(isOpen: true)), now: Now(instant: start, wall: wall))
        _ = gossip.handle(.restore(records), now: Now(instant: start, wall: wall))
        let passed = time.milliseconds - wall.milliseconds
        return gossip.usable(now: Now(instant: start.advanced(byMilliseconds: passed), wall: time))
    }
}

/// Counts the proofs of attach keys that are checked.
final class CountingCryptography: RecordCryptography {
    private let count = Mutex(0)
    var proofs: Int { count.withLock { $0 } }

    func verify(signature: [UInt8], message: [UInt8], key: PublicKey) -> Bool {
        if message.starts(with: SignatureDomain.attachKey.bytes) { count.withLock { $0 += 1 } }
        return Sodium.shared.verify(signature: signature, message: message, key: key)
    }
    func hash16(_ message: [UInt8], key: [UInt8]) -> Bytes16 { Sodium.shared.hash16(message, key: key) }
    func hash32(_ message: [UInt8]) -> Bytes32 { Sodium.shared.hash32(message) }
    func seal(_ text: [UInt8], key: [UInt8], context: [UInt8]) -> [UInt8] {
        Sodium.shared.seal(text, key: key, context: context)
    }
    func open(_ sealed: [UInt8], key: [UInt8], context: [UInt8]) -> [UInt8]? {
        Sodium.shared.open(sealed, key: key, context: context)
    }
}

@Suite struct CatalogChainTests {
    @Test func aWholeChainIsAProviderWithAHost() throws {
        let provider = try #require(try Chain().catalog().providers.first)
        #expect(provider.fullName == "alice@north/lab")
        #expect(provider.hosts.map(\.nodeName) == ["north"])
        #expect(provider.offers("m1"))
        let global = try #require(try Chain(global: true).catalog().providers.first)
        #expect(global.fullName == "global@north/lab")
        #expect(global.hosts.count == 1)
    }

    @Test func theOwnerMayGrantItself() throws {
        var chain = Chain()
        chain.grantSigner = chain.owner
        #expect(try chain.catalog().providers.first?.hosts.count == 1)
    }

    /// Each way to break the link from home node to owner; the provider vanishes.
    static let unbound: [@Sendable (inout Chain) -> Void] = [
        { $0.advertSigner = .random() },
        { $0.advert.binding.username = "carol" },
        { $0.advert.binding.username = "global" },
        { $0.advert.binding.notAfterMs += 1 },
        { $0.advert.binding.signature = [UInt8](repeating: 0, count: 64).protobuf },
        { $0.advert.clearBinding() },
        { $0.advert.homeNode = SigningKey.random().publicKey.bytes.protobuf },
        { $0.advert.homeNode = [1, 2, 3].protobuf },
        { $0.advert.providerID = "Not A Name" },
        { chain in
            let end = chain.wall
            chain.bind(username: "alice", owner: chain.owner.publicKey, home: chain.node, notAfter: end)
        },
        { chain in
            let end = chain.wall.advanced(byMilliseconds: 1_000)
            chain.bind(username: "alice", owner: chain.owner.publicKey, home: .random(), notAfter: end)
        },
        { chain in
            let end = chain.wall.advanced(byMilliseconds: 1_000)
            let other = SigningKey.random()
            chain.bind(username: "alice", owner: other.publicKey, home: chain.node, notAfter: end)
        },
    ]

    @Test(arguments: unbound.indices) func withoutABindingThereIsNoProvider(_ index: Int) throws {
        var chain = Chain()
        Self.unbound[index](&chain)
        #expect(try chain.catalog().providers.isEmpty)
    }

    /// Each way to break the link from owner to host; the provider stays, the host does not count.
    static let ungranted: [@Sendable (inout Chain) -> Void] = [
        { $0.grantSigner = .random() },
        { $0.advert.attachKeys = [] },
        { $0.advert.attachKeys[0].publicKey = SigningKey.random().publicKey.bytes.protobuf },
        { $0.advert.attachKeys[0].notAfterMs = UInt64($0.wall.milliseconds) },
        { $0.advert.attachKeys[0].allowedHosts = [SigningKey.random().publicKey.bytes.protobuf] },
        { $0.grant.hostingNode = SigningKey.random().publicKey.bytes.protobuf },
        { $0.grant.providerRecordKey = [UInt8](repeating: 9, count: 16).protobuf },
        { $0.grant.notBeforeMs = UInt64($0.wall.milliseconds + Limits.recordFutureSkewMs + 1) },
        { $0.grant.notBeforeMs = .max },
        { $0.attachment.grantHash = [UInt8](repeating: 9, count: 32).protobuf },
        { $0.attachment.grantHash = [1].protobuf },
        { $0.attachment.grantKey = [UInt8](repeating: 9, count: 16).protobuf },
        { $0.attachmentSigner = .random() },
        { chain in
            chain.attachmentSigner = .random()
            chain.reachable.append(chain.attachmentSigner.publicKey)
        },
        { $0.reachable = [] },
    ]

    @Test(arguments: ungranted.indices) func withoutAGrantAHostDoesNotCount(_ index: Int) throws {
        var chain = Chain()
        Self.ungranted[index](&chain)
        let catalog = try chain.catalog()
        #expect(catalog.providers.count == 1)
        #expect(catalog.providers.first?.hosts.isEmpty == true)
    }

    @Test func aMissingRecordBreaksTheChainToo() throws {
        #expect(try Chain().catalog(grants: false).providers.first?.hosts.isEmpty == true)
        #expect(try Chain().catalog(descriptors: false).providers.isEmpty)
        let chain = Chain()
        let later = chain.wall.advanced(byMilliseconds: 3_600_000)
        #expect(try chain.catalog(at: later).providers.first?.hosts.isEmpty == true)
    }

    @Test func aGlobalProviderNeedsTheOperatorsCertificate() throws {
        var forged = Chain(global: true)
        forged.descriptor.operator.signature = [UInt8](repeating: 1, count: 64).protobuf
        #expect(try forged.catalog().providers.isEmpty)
        var foreign = Chain(global: true)
        foreign.advertSigner = foreign.owner
        #expect(try foreign.catalog().providers.isEmpty)
        var none = Chain(global: true)
        none.descriptor.clearOperator()
        #expect(try none.catalog().providers.isEmpty)
    }

    @Test func anExpiredOperatorCertificateCertifiesNothing() throws {
        var chain = Chain(global: true)
        let past = chain.wall.advanced(byMilliseconds: -1)
        chain.descriptor.operator.notAfterMs = UInt64(past.milliseconds)
        chain.descriptor.operator.signature =
            chain.operatorKey.sign(Statement.operatorCertificate(node: chain.node.publicKey, notAfter: past)).protobuf
        #expect(try chain.catalog().providers.isEmpty)
    }

    @Test func attachKeysAreFoundByKeyScopeAndNameTogether() throws {
        let chain = Chain()
        let catalog = try chain.catalog()
        func found(_ key: PublicKey, _ scope: OwnerScope, _ id: String) -> Bool {
            catalog.provider(attachKey: key, scope: scope, providerID: id, wall: chain.wall) != nil
        }
        #expect(found(chain.attach.publicKey, .user("alice"), "lab"))
        #expect(!found(chain.attach.publicKey, .user("carol"), "lab"))
        #expect(!found(chain.attach.publicKey, .global, "lab"))
        #expect(!found(chain.attach.publicKey, .user("alice"), "other"))
        #expect(!found(chain.owner.publicKey, .user("alice"), "lab"))
    }

    /// Each way in which a key may stand in an advert without a word of its holder that holds.
    static let unproven: [@Sendable (inout Chain) -> Void] = [
        { $0.advert.attachKeys[0].proof = .init() },
        { $0.advert.attachKeys[0].proof = [UInt8](repeating: 7, count: 64).protobuf },
        { $0.advert.attachKeys[0].proof.removeLast() },
        { $0.advert.attachKeys[0].proof.append(0) },
        { $0.advert.attachKeys[0].proof = $0.proof(by: .random()) },
        { $0.advert.attachKeys[0].proof = $0.proof(owner: $0.operatorKey.publicKey) },
        { $0.advert.attachKeys[0].proof = $0.proof(providerID: "la") },
        { $0.advert.attachKeys[0].proof = $0.proof(providerID: "LAB") },
        { chain in
            // What the key signed for another purpose is no proof.
            let statement = Statement.principal(
                owner: chain.owner.publicKey, entry: chain.node.publicKey, notAfter: chain.wall)
            chain.advert.attachKeys[0].proof = chain.attach.sign(statement).protobuf
        },
        { chain in
            // The proof of one key does not speak for another, whatever their order.
            var other = chain.advert.attachKeys[0]
            other.publicKey = SigningKey.random().publicKey.bytes.protobuf
            chain.advert.attachKeys[0].proof = .init()
            chain.advert.attachKeys = [other, chain.advert.attachKeys[0]]
        },
    ]

    @Test(arguments: unproven.indices) func anUnprovenKeyAdmitsNobodyButItsGrantsHold(_ index: Int) throws {
        var chain = Chain()
        Self.unproven[index](&chain)
        let catalog = try chain.catalog()
        #expect(
            catalog.provider(
                attachKey: chain.attach.publicKey, scope: .user("alice"), providerID: "lab", wall: chain.wall) == nil)
        // A grant is signed with the key itself, which is proof enough.
        #expect(catalog.providers.first?.hosts.count == 1)
    }

    @Test func proofsAreCheckedOnceAndEachHomeHasItsAllowance() throws {
        let chain = Chain()
        let counter = CountingCryptography()
        var builder = CatalogBuilder(node: chain.reader.publicKey, cryptography: counter)
        func build(_ adverts: [VerifiedRecord]) throws -> Catalog {
            let described = try chain.sign(
                .nodeDescriptor, .nodeDescriptor(chain.descriptor), RecordBody.bytes(of: chain.descriptor),
                by: chain.node)
            return builder.build(
                chain.usable([described] + adverts, at: chain.wall), reachable: [], wall: chain.wall)
        }
        func advert(_ id: String, keys: Int, note: String = "") throws -> VerifiedRecord {
            var body = chain.advert
            body.providerID = id
            body.displayName = note
            body.attachKeys = (0..<keys).map { number in
                let key = SigningKey(seed: [UInt8](repeating: UInt8(number), count: 32)) ?? .random()
                var entry = Aisbf_Mesh_V1_AttachKey()
                entry.publicKey = key.publicKey.bytes.protobuf
                entry.proof = key.sign(Statement.attachKey(owner: chain.owner.publicKey, providerID: id)).protobuf
                return entry
            }
            return try chain.sign(
                .providerAdvert, .providerAdvert(body), RecordBody.bytes(of: body), by: chain.owner)
        }
        func proven(_ catalog: Catalog) -> Int {
            catalog.providers.flatMap(\.attachKeys).filter(\.isProven).count
        }
        let first = try advert("one", keys: 3)
        #expect(proven(try build([first])) == 3)
        var before = counter.proofs
        #expect(before == 3)
        #expect(proven(try build([first])) == 3)
        #expect(counter.proofs == before)
        // A newer advert with the same keys and one more.
        #expect(proven(try build([try advert("one", keys: 4, note: "new")])) == 4)
        #expect(counter.proofs == before + 1)
        #expect(!builder.isUnfinished)

        let many = try (0..<5).map { try advert("p\($0)", keys: 20) }
        before = counter.proofs
        #expect(proven(try build(many)) == Limits.attachKeyProofsPerRound)
        #expect(builder.isUnfinished)
        #expect(proven(try build(many)) == 100)
        #expect(!builder.isUnfinished)
        #expect(counter.proofs == before + 100)
    }
}
