import MeshCrypto
import MeshModel
import Testing

@testable import MeshRouting

private let (here, north, south) = (Named.here, Named.north, Named.south)
private let (operatorKey, alice, seller, thief) = (Named.operatorKey, Named.alice, Named.seller, Named.thief)

private func provider(
    _ id: String, of user: String, owner: PublicKey, at home: PublicKey, called name: String,
    access: CatalogAccess = .everyone, models: [String] = ["m"]
) -> CatalogProvider {
    Named.provider(id, of: user, owner: owner, at: home, called: name, access: access, models: models)
}

@Suite struct NameBookTests {
    private static let honest = provider("demo", of: "seller", owner: seller, at: north, called: "b")
    private static let namesake = provider("demo", of: "seller", owner: thief, at: south, called: "b")
    /// A user of the honest node with the same name and another key: the node gave it to somebody else.
    private static let successor = provider("demo", of: "seller", owner: thief, at: north, called: "b")

    @Test func aFullNameMeansOneOwnerForEver() {
        var reader = NameReader()
        reader.sees([Self.honest])
        #expect(reader.owners("seller@b/demo/m") == [seller])
        for others in [[Self.honest, Self.namesake], [Self.namesake], [Self.successor], [], [Self.honest]] {
            reader.sees(others)
            #expect(reader.owners("seller@b/demo/m") == (others.contains(Self.honest) ? [seller] : nil))
            #expect(reader.owners("demo/m") == (others.contains(Self.honest) ? [seller] : nil))
        }
        // It goes with its owner when the node takes another name.
        reader.sees([provider("demo", of: "seller", owner: seller, at: north, called: "c"), Self.namesake])
        #expect(reader.owners("seller@b/demo/m") == [seller])
        #expect(reader.owners("seller@c/demo/m") == [seller])
    }

    /// The control: a node that learns all names anew serves whoever has them now.
    @Test func withoutMemoryANameCanBeTaken() {
        var reader = NameReader(keepsNames: false)
        reader.sees([Self.honest])
        #expect(reader.owners("seller@b/demo/m") == [seller])
        reader.sees([Self.namesake])
        #expect(reader.owners("seller@b/demo/m") == [thief])
        #expect(reader.owners("demo/m") == [thief])
    }

    @Test func twoThatComeAtOnceGetNothingAndAreNamedByKey() {
        var reader = NameReader()
        reader.sees([Self.honest, Self.namesake])
        #expect(reader.owners("seller@b/demo/m") == nil)
        let keys = [Self.honest, Self.namesake].map { ProviderKeyName.text($0.key) }
        let error = reader.error("demo/m")
        #expect(error.hasPrefix("ambiguous_model"))
        for (key, owner) in zip(keys, [seller, thief]) {
            #expect(error.contains("\(key)/m"), "\(error)")
            #expect(reader.owners("\(key)/m") == [owner])
        }
        #expect(reader.listed() == keys.map { "\($0)/m" }.sorted())
        // One of them goes: still nobody, until the operator says so.
        reader.sees([Self.namesake])
        #expect(reader.owners("seller@b/demo/m") == nil && reader.owners("demo/m") == nil)
        reader.names.accept(.node("b"), north.bytes, wall: Timestamp(milliseconds: 1))
        reader.names.forget(.provider("demo"))
        reader.sees([Self.honest])
        #expect(reader.owners("seller@b/demo/m") == [seller])
        #expect(reader.owners("demo/m") == [seller])
        reader.sees([Self.honest, Self.namesake])
        #expect(reader.owners("demo/m") == [seller])
    }

    @Test func whatAnswersIsCalledByANameThatLeadsToIt() throws {
        var reader = NameReader()
        reader.sees([Self.honest])
        reader.sees([Self.honest, Self.namesake])
        #expect(reader.catalog.provider(Self.honest.key)?.fullName == "seller@b/demo")
        let other = try #require(reader.catalog.provider(Self.namesake.key)?.fullName)
        #expect(other == ProviderKeyName.text(Self.namesake.key))
        // Rules of buyers and operators are written in names, too.
        let named = PolicyIndex(reader.catalog).providers(named: "seller@b/demo")
        #expect(named.map { reader.catalog.providers[$0].owner } == [seller])
        #expect(reader.names.called(north, "b") == "b")
        #expect(reader.names.called(south, "b") == KeyText.node.text(south.bytes))
        reader.sees([Self.namesake])
        #expect(reader.catalog.provider(Self.namesake.key)?.fullName == other)
        // The control: to whoever sees it first it is what it says.
        let fresh = Catalog(node: here, nodes: [], providers: [Self.namesake])
        #expect(fresh.provider(Self.namesake.key)?.fullName == "seller@b/demo")
    }

    @Test func theOperatorHearsOfAClaimOnce() {
        var reader = NameReader()
        reader.sees([Self.honest])
        #expect(reader.names.takeNews().isEmpty)
        reader.sees([Self.honest, Self.namesake])
        let news = reader.names.takeNews()
        #expect(news == [NameConflict(name: .node("b"), holder: north.bytes, claimant: south.bytes, home: south)])
        reader.sees([Self.honest, Self.namesake, provider("x", of: "y", owner: thief, at: south, called: "b")])
        #expect(reader.names.takeNews().isEmpty)
        #expect(reader.names.conflicts.contains(news[0]))
        reader.sees([Self.honest, Self.successor])
        #expect(reader.names.takeNews().map(\.name) == [.owner("seller", at: north)])
    }

    @Test func thisNodesNamesAreItsOwn() {
        var reader = NameReader()
        // The stranger came first, under the name that this node takes later.
        reader.names = NameBook(node: here)
        reader.names.learn(
            [], [provider("x", of: "bob", owner: thief, at: south, called: "home")], wall: .init(milliseconds: 1))
        let own = provider("x", of: "bob", owner: seller, at: here, called: "home")
        reader.sees([provider("x", of: "bob", owner: thief, at: south, called: "home"), own])
        #expect(reader.owners("bob@home/x/m") == [seller])
        reader.sees([provider("x", of: "bob", owner: thief, at: south, called: "home")])
        #expect(reader.owners("bob@home/x/m") == nil)
    }

    // MARK: Short names

    @Test func aModelsIdKeepsItsMeaningWhoeverCreatesWhat() {
        let hub = provider("hub", of: "seller", owner: seller, at: north, called: "b", models: ["org/llama"])
        let takers = [
            provider("org", of: "thief", owner: thief, at: south, called: "d", models: ["llama"]),
            provider("org", of: "global", owner: operatorKey, at: here, called: "home", models: ["llama"]),
            provider("org", of: "alice", owner: alice, at: here, called: "home", access: .ownerOnly, models: ["llama"]),
        ]
        for taker in takers {
            var reader = NameReader()
            reader.sees([hub])
            #expect(reader.owners("org/llama") == [seller])
            reader.sees([hub, taker])
            #expect(reader.owners("org/llama") == [seller], "\(taker.fullName)")
            // The other one is still called something, and all it is called by leads to it.
            for id in reader.listed() where id.contains("@") { #expect(reader.owners(id) == [taker.owner], "\(id)") }
            reader.sees([taker])
            #expect(reader.owners("org/llama") == nil, "\(taker.fullName)")

            var control = NameReader(keepsNames: false)
            control.sees([hub])
            control.sees([hub, taker])
            #expect(control.owners("org/llama") == [taker.owner], "\(taker.fullName)")
        }
    }

    @Test func aModelSpelledLikeAProvidersTakesNothing() {
        let lab = provider("lab", of: "seller", owner: seller, at: north, called: "b", models: ["tiny"])
        let spelled = provider("x", of: "thief", owner: thief, at: south, called: "d", models: ["lab/tiny"])
        var reader = NameReader()
        reader.sees([lab])
        for others in [[lab, spelled], [spelled], [], [spelled]] {
            reader.sees(others)
            #expect(reader.owners("lab/tiny") == (others.contains(lab) ? [seller] : nil))
        }
        var control = NameReader(keepsNames: false)
        control.sees([lab])
        control.sees([spelled])
        #expect(control.owners("lab/tiny") == [thief])
    }

    @Test func ownBeforeTheOperatorsBeforeTheFirstLearnt() {
        let theirs = provider("lab", of: "seller", owner: seller, at: north, called: "b")
        let operators = provider("lab", of: "global", owner: operatorKey, at: here, called: "home")
        let own = provider("lab", of: "alice", owner: alice, at: here, called: "home", access: .ownerOnly)
        var reader = NameReader()
        reader.sees([theirs])
        #expect(reader.owners("lab/m") == [seller])
        reader.sees([theirs, operators])
        #expect(reader.owners("lab/m") == [operatorKey])
        reader.sees([theirs, operators, own])
        #expect(reader.owners("lab/m") == [alice])
        #expect(reader.owners("lab/m", thief) == [operatorKey])
        // What is removed is nobody, and not the next one.
        reader.sees([theirs, operators])
        #expect(reader.owners("lab/m") == nil)
        reader.sees([theirs])
        #expect(reader.owners("lab/m", thief) == nil)
        #expect(reader.owners("seller@b/lab/m") == [seller])
        reader.names.forget(.own("lab", owner: alice))
        reader.names.forget(.global("lab"))
        reader.sees([theirs])
        #expect(reader.owners("lab/m") == [seller])
    }

    @Test func aPrivateProviderOfAnotherUserTakesNoShortName() {
        let hidden = provider("lab", of: "thief", owner: thief, at: here, called: "home", access: .ownerOnly)
        let open = provider("lab", of: "seller", owner: seller, at: north, called: "b")
        var reader = NameReader()
        reader.sees([hidden])
        #expect(reader.owners("lab/m") == nil)
        reader.sees([hidden, open])
        #expect(reader.owners("lab/m") == [seller])
    }

    // MARK: What strangers call their models

    /// What cannot be written down and read again as what it is takes no place, and no other name's.
    @Test(arguments: ["org/a\0z", "org/a\n", "\u{301}x/y", "\u{200D}/y", "a:b/c@d"])
    func strangeModelIds(id: String) {
        var reader = NameReader()
        reader.sees([provider("loud", of: "thief", owner: thief, at: south, called: "d", models: [id, "org/a"])])
        for pin in reader.names.all { #expect(MeshName(pin.name.text) == pin.name) }
        #expect(reader.names.all.allSatisfy { $0.name.text.utf8.allSatisfy { $0 >= 0x20 } })
        #expect(reader.names.pin(.model("org/a")) != nil)
    }

    // MARK: Bounds

    @Test func aNodeFillsItsShareAndNobodyElses() {
        var reader = NameReader()
        reader.sees([Self.honest])
        reader.names.used(["seller@b/demo/m", "demo/m"].map { UsedName($0, by: alice) })
        let flood = (0..<Limits.namesPerNode + 100).map { "org/\($0)" }
        let loud = provider("loud", of: "thief", owner: thief, at: south, called: "d", models: flood)
        reader.sees([Self.honest, loud])
        // Its models leave its users and providers their half, and all of it is bounded.
        #expect(
            reader.names.all.count { $0.home == south && $0.name.text.hasPrefix("model:") } == Limits.namesPerNode / 2)
        #expect(reader.names.all.count { $0.home == south } <= Limits.namesPerNode)
        // An honest one finds room beside it.
        let hub = provider("hub", of: "seller", owner: seller, at: north, called: "b", models: ["team/llama"])
        reader.sees([Self.honest, loud, hub])
        #expect(reader.names.pin(.model("team/llama")) != nil)
        // Long after it went, its names make room, and those that were used stay.
        reader.sees([], days: 100)
        reader.sees([provider("next", of: "x", owner: thief, at: south, called: "d", models: ["a/b"])])
        #expect(reader.names.pin(.model("a/b")) != nil)
        #expect(reader.names.pin(.model("org/1")) == nil)
        #expect(reader.names.pin(.node("b"))?.holder == north.bytes)
        #expect(reader.names.pin(.provider("demo"))?.holder == Self.honest.key.bytes)
    }

    @Test func whatIsStoredIsWhatIsRead() throws {
        var reader = NameReader()
        let named = provider(
            "den", of: "seller", owner: seller, at: north, called: "b", access: .named([alice]), models: ["a@b/c"])
        reader.sees([Self.honest, Self.namesake, named])
        #expect(reader.names.pin(.shownModel("a@b/c", to: alice)) != nil)
        let pins = reader.names.takeChanges().compactMap { change -> NamePin? in
            if case .save(let pin) = change { pin } else { nil }
        }
        #expect(reader.names.takeChanges().isEmpty)
        let again = NameBook(node: here, pins: pins)
        #expect(again.all == reader.names.all)
        for pin in again.all {
            #expect(MeshName(pin.name.text) == pin.name)
            if let holder = pin.holder, !pin.name.isModel {
                #expect(pin.name.holder(pin.name.text(of: holder)) == holder)
            }
        }
        for text in [
            "", "node", "owner:seller", "owner:seller@aisbf_node_x", "own:lab@", "other:x", "shown:lab",
            "shown-model:a/b@x",
        ] {
            #expect(MeshName(text) == nil, "\(text)")
        }
    }

    // MARK: What an unknown name costs

    @Test(arguments: [
        "m1", "p1/model-nam", "p599/model-name-x", "zzz", "m", "seller@b/p1/model-name-77",
        String(repeating: "m", count: 128), "model-name-1x",
    ])
    func anUnknownNameCostsABoundedSearch(text: String) {
        let many = (0..<600).map { number in
            provider(
                "p\(number)", of: "seller", owner: seller, at: north, called: "b",
                models: (0..<10).map { "model-name-\(number * 10 + $0)" })
        }
        let catalog = Catalog(node: here, nodes: [], providers: many)
        let principal = Principal(owner: alice, username: nil, node: here, nodeOperator: nil)
        let search = catalog.nearSearch(text, for: principal)
        #expect(search.examined <= Limits.nearNamesExamined + 1)
        #expect(search.compared <= Limits.nearNamesCompared)
        for name in catalog.near(text, for: principal) {
            #expect((try? catalog.resolve(name, for: principal).get()) != nil, "\(name)")
        }
    }
}
