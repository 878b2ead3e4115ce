import MeshCrypto
import MeshGossip
import MeshModel
import MeshRouting
import MeshWire
import Testing

private let lab = RecordKey(Bytes16(high: 1, low: 2))
private let labName = "key:\(lab)"

private func pool(_ name: String = "llama", _ members: String = "[\"\(labName)/m1\"]") -> String {
    #"{"name":"\#(name)","members":\#(members)}"#
}

/// What other nodes make of a rotation or policy that an owner publishes.
@Suite struct PublicationTests {
    /// A chain whose advert is a publication of `alice` at `north`.
    private static func chain(
        _ kind: Publication.Kind = .rotation, _ name: String = "llama", _ document: String = pool(),
        global: Bool = false, change: (inout Chain) -> Void = { _ in }
    ) -> Chain {
        var chain = Chain(global: global)
        chain.advert.attachKeys = []
        Publication.write(
            kind, name, document: Array(document.utf8), home: chain.node.publicKey, to: &chain.advert,
            cryptography: Sodium.shared)
        change(&chain)
        return chain
    }

    @Test func anOwnersPublicationHasAName() throws {
        let catalog = try Self.chain().catalog()
        #expect(catalog.providers.isEmpty, "it is no provider")
        #expect(catalog.publications.map(\.fullName) == ["alice@north/rotation/llama"])
        let name = try #require(PublicationName("alice@north/rotation/llama"))
        let found = try #require(catalog.publication(name))
        guard case .rotation(let rotation) = found.content else { throw Missing() }
        #expect(rotation.members.map(\.target.text) == ["\(labName)/m1"])
        for other in ["alice@north/rotation/lama", "bob@north/rotation/llama", "alice@north/autoselect/llama"] {
            #expect(PublicationName(other).flatMap(catalog.publication) == nil, "\(other)")
        }
        let global = try Self.chain(global: true).catalog()
        #expect(global.publications.map(\.fullName) == ["global@north/rotation/llama"])
        let policy = try Self.chain(.policy, "eu", #"{"name":"eu","order_by":"price"}"#).catalog()
        #expect(policy.publications.map(\.fullName) == ["alice@north/autoselect/eu"])
    }

    private struct Missing: Error {}

    /// What is for nobody who asks is not listed for them; it gives no access either.
    @Test func onlyWhoMaySeeAMemberSeesTheRotation() throws {
        let chain = Self.chain()
        let buyer = Principal(
            owner: SigningKey.random().publicKey, username: "bob", node: chain.reader.publicKey, nodeOperator: nil)
        #expect(try chain.catalog().publications(for: buyer).isEmpty, "no member is known")
        func catalog(_ access: CatalogAccess) throws -> Catalog {
            let home = chain.node.publicKey
            let provider = CatalogProvider(
                key: lab, advertHash: Bytes32(high: Bytes16(high: 0, low: 0), low: Bytes16(high: 0, low: 1)),
                owner: chain.owner.publicKey, providerID: "lab", scope: .user("alice"), homeNode: home,
                homeName: "north", access: access, attachKeys: [])
            let built = try chain.catalog()
            return Catalog(
                node: built.node, nodes: built.nodes, providers: [provider], publications: built.publications)
        }
        #expect(try catalog(.everyone).publications(for: buyer).map(\.name) == ["llama"])
        #expect(try catalog(.ownerOnly).publications(for: buyer).isEmpty)
        #expect(try catalog(.named([buyer.owner])).publications(for: buyer).count == 1)
    }

    @Test func brokenLinksPublishNothing() throws {
        let stranger = SigningKey.random()
        let broken: [(String, Chain)] = [
            ("signed by somebody else", Self.chain { $0.advertSigner = stranger }),
            ("no operator of the home", Self.chain(global: true) { $0.advertSigner = stranger }),
            (
                "a binding for somebody else",
                Self.chain { $0.advert.binding.ownerKey = stranger.publicKey.bytes.protobuf }
            ),
            (
                "a binding of another home",
                Self.chain { $0.advert.binding.homeNode = stranger.publicKey.bytes.protobuf }
            ),
            ("a username that the home did not sign", Self.chain { $0.advert.binding.username = "bob" }),
            ("no binding", Self.chain { $0.advert.clearBinding() }),
            ("another id than its own", Self.chain { $0.advert.providerID = "lab" }),
            ("the id of another name", Self.chain { $0.advert.publication.name = "other" }),
            ("the id of another kind", Self.chain { $0.advert.publication.kind = .policy }),
            ("of no kind", Self.chain { $0.advert.publication.kind = .unspecified }),
            ("of a kind to come", Self.chain { $0.advert.publication.kind = .UNRECOGNIZED(9) }),
            ("of a format to come", Self.chain { $0.advert.publication.format = 2 }),
        ]
        for (what, chain) in broken {
            let catalog = try chain.catalog()
            #expect(catalog.publications.isEmpty, "\(what)")
            #expect(catalog.providers.isEmpty, "\(what)")
        }
        #expect(try Self.chain().catalog(descriptors: false).publications.isEmpty, "its home is not known")
        let later = Self.chain().wall.advanced(byMilliseconds: 86_400_000)
        #expect(try Self.chain().catalog(at: later).publications.isEmpty, "it has run out")
    }

    @Test(arguments: [
        "", "{}", "[]", "null", #"{"name":"llama"}"#, #"{"name":"llama","members":[]}"#, pool("other"),
        pool("llama", #"["lab/m1"]"#), pool("llama", #"["seller@north/lab/m1"]"#),
        pool("llama", #"["rotation/other"]"#), pool("llama", #"["key:12/m1"]"#),
        pool("llama", "[\"\(labName)/m1\",\"\(labName)/m1\"]"),
        #"{"name":"llama","members":["\#(labName)/m1"],"settings":{"attempts":1000}}"#,
        #"{"name":"llama","members":["\#(labName)/m1"],"later":1}"#,
        String(repeating: " ", count: Limits.publicationBytes) + pool(),
        String(repeating: "[", count: 3_000),
    ]) func documentsThatSayNothing(document: String) {
        #expect(Publication.content(.rotation, Array(document.utf8), name: "llama") == nil)
    }

    @Test(arguments: [
        "", #"{"name":"other"}"#, #"{"name":"eu","provider":{"only":["lab"]}}"#,
        #"{"name":"eu","provider":{"order":["seller@north/lab"]}}"#, #"{"name":"eu","order_by":"mood"}"#,
    ]) func policiesThatSayNothing(document: String) {
        #expect(Publication.content(.policy, Array(document.utf8), name: "eu") == nil)
    }

    /// Strangers write these bytes: whatever they are, they are read to an end.
    @Test func mutatedDocumentsAreReadOrNot() {
        var random = SeededGenerator(seed: 7)
        let members = (0..<20).map { #"{"target":"key:\#(numbered(UInt64($0)))/m","weight":\#($0),"tier":1}"# }
        let document = Array(
            #"{"name":"llama","members":[\#(members.joined(separator: ","))],"settings":{"cooldown_ms":2000}}"#.utf8)
        var read = 0
        for _ in 0..<20_000 {
            var bytes = document
            for _ in 0...(random.next() % 3) {
                let place = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 3 {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
                }
            }
            guard case .rotation(let rotation)? = Publication.content(.rotation, bytes, name: "llama") else { continue }
            read += 1
            #expect(rotation.problems { _ in nil }.isEmpty)
        }
        #expect(read > 0, "some still say something")
    }

    private func numbered(_ number: UInt64) -> RecordKey { RecordKey(Bytes16(high: 5, low: number)) }

    // MARK: Writing

    @Test func membersAreToldByTheirKeys() {
        let (rotation, problems) = Rotation.read(
            (try? JSONValue.parse(
                Array(#"{"name":"r","model":"m1","members":["lab",{"target":"seller@b/den/m2","weight":3}]}"#.utf8)))
                ?? .null)
        #expect(problems.isEmpty)
        let (told, wrong) = rotation.published { name in
            name == "lab" ? numbered(1) : name == "seller@b/den" ? numbered(2) : nil
        }
        #expect(wrong.isEmpty)
        #expect(told.members.map(\.target.text) == ["key:\(numbered(1))", "key:\(numbered(2))/m2"])
        #expect(told.members.map(\.weight) == [1, 3] && told.model == "m1")
        #expect(Publication.content(.rotation, told.document.bytes, name: "r") == .rotation(told))
        #expect(rotation.published { _ in nil }.problems.map(\.path) == ["members[0]", "members[1]"])
        let twice = Rotation(
            name: "r", members: [.init(.provider("lab", model: nil)), .init(.provider("x@b/lab", model: nil))])
        #expect(
            !twice.published { _ in numbered(1) }.problems.isEmpty, "one provider by two names is one member elsewhere")
        let nested = Rotation(name: "r", members: [.init(.rotation("other"))])
        #expect(!nested.published { _ in numbered(1) }.problems.isEmpty)
    }

    @Test func policiesAreToldByKeysToo() throws {
        let document = #"{"name":"eu","operators":["north"],"provider":{"order":["lab"],"ignore":["den"]}}"#
        let (policy, problems) = Policy.read(try JSONValue.parse(Array(document.utf8)))
        #expect(problems.isEmpty)
        let operatorKey = SigningKey.random().publicKey
        let (told, wrong) = policy.published(
            { name in name == "lab" ? numbered(1) : numbered(2) }, operatorKey: { $0 == "north" ? operatorKey : nil })
        #expect(wrong.isEmpty)
        #expect(told.order == ["key:\(numbered(1))"] && told.rules.ignore == ["key:\(numbered(2))"])
        #expect(told.rules.operators == [KeyText.operatorKey.text(operatorKey.bytes)])
        #expect(Publication.content(.policy, told.document.bytes, name: "eu") == .policy(told))
        #expect(policy.published({ _ in nil }, operatorKey: { _ in nil }).problems.count == 3)
    }
}
