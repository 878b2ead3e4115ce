import MeshCrypto
import MeshModel
import Testing

@testable import MeshRouting

private let (here, north, south) = (Named.here, Named.north, Named.south)
private let (operatorKey, alice, seller, thief) = (Named.operatorKey, Named.alice, Named.seller, Named.thief)
private let bob = Named.bob

private func provider(
    _ id: String, of user: String, owner: PublicKey, at home: PublicKey, called name: String,
    access: CatalogAccess = .everyone, models: [String] = ["m"]
) -> CatalogProvider {
    Named.provider(id, of: user, owner: owner, at: home, called: name, access: access, models: models)
}

/// What somebody may not use takes no name from them, and they cannot tell that it is there.
@Suite struct ReaderNamesTests {
    private typealias World = [CatalogProvider]

    private static let shop = provider("lab", of: "seller", owner: seller, at: north, called: "b")
    private static func den(_ access: CatalogAccess = .named([bob]), models: [String] = ["m"]) -> CatalogProvider {
        provider("lab", of: "thief", owner: thief, at: south, called: "d", access: access, models: models)
    }

    /// What was seen, in turns, and whom `lab/m` reaches then.
    struct Turn: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var seen: [[CatalogProvider]]
        var alices: PublicKey?
        var bobs: PublicKey?
    }

    static let turns = [
        Turn(testDescription: "the hidden one first", seen: [[den()], [den(), shop]], alices: seller, bobs: thief),
        Turn(testDescription: "then it goes", seen: [[den()], [den(), shop], [shop]], alices: seller, bobs: nil),
        Turn(testDescription: "the public one first", seen: [[shop], [den(), shop]], alices: seller, bobs: seller),
        Turn(testDescription: "both at once", seen: [[den(), shop]], alices: seller, bobs: nil),
        Turn(testDescription: "then one of them alone", seen: [[den(), shop], [den()]], alices: nil, bobs: nil),
        Turn(
            testDescription: "somebody is named later",
            seen: [[den(.named([]))], [den(.named([])), shop], [den(), shop]],
            alices: seller, bobs: seller),
        Turn(
            testDescription: "it becomes public, too late", seen: [[den()], [den(), shop], [den(.everyone), shop]],
            alices: seller, bobs: thief),
        Turn(
            testDescription: "it was public", seen: [[den(.everyone)], [den()], [den(), shop]], alices: nil, bobs: thief
        ),
        Turn(
            testDescription: "named is this node", seen: [[den(.named([here]))], [den(.named([here])), shop]],
            alices: thief, bobs: thief),
        Turn(
            testDescription: "named is its operator", seen: [[den(.named([operatorKey]))], [shop]], alices: nil,
            bobs: nil),
        Turn(testDescription: "its owner's alone", seen: [[den(.ownerOnly)], [shop]], alices: seller, bobs: seller),
    ]

    @Test(arguments: turns) func aShortNameIsClaimedForThoseWhoMayUseIt(turn: Turn) {
        var reader = NameReader()
        for world in turn.seen { reader.sees(world) }
        #expect(reader.owners("lab/m") == turn.alices.map { [$0] })
        #expect(reader.owners("lab/m", bob) == turn.bobs.map { [$0] })
        for who in [alice, bob] {
            for id in reader.listed(who) { #expect(reader.owners(id, who)?.count == 1, "\(id)") }
        }
    }

    /// The control: what all may use shadows what comes later, for all.
    @Test func whatIsForAllIsPinnedForAll() {
        var reader = NameReader()
        reader.sees([Self.den(.everyone)])
        reader.sees([Self.den(.everyone), Self.shop])
        #expect(reader.owners("lab/m") == [thief] && reader.owners("lab/m", bob) == [thief])
    }

    @Test func theOperatorsOwnIsNobodysElse() {
        for access in [CatalogAccess.ownerOnly, .named([bob])] {
            var reader = NameReader()
            let own = provider("lab", of: "global", owner: operatorKey, at: here, called: "home", access: access)
            reader.sees([own])
            reader.sees([own, Self.shop])
            #expect(reader.owners("lab/m") == [seller] && reader.owners("lab/m", operatorKey) == [operatorKey])
            #expect(reader.owners("lab/m", bob) == (access == .ownerOnly ? [seller] : [operatorKey]))
        }
    }

    @Test func atOnceIsAChoiceForWhoeverSeesBoth() {
        var reader = NameReader()
        reader.sees([Self.den(), Self.shop])
        let error = reader.error("lab/m", bob)
        #expect(
            error.hasPrefix("ambiguous_model") && error.contains("thief@d/lab/m") && error.contains("seller@b/lab/m"))
    }

    // MARK: Models

    @Test func aHiddenModelsIdTakesNoProvidersName() {
        for access in [CatalogAccess.ownerOnly, .named([bob])] {
            let hidden = provider(
                "x", of: "thief", owner: thief, at: south, called: "d", access: access, models: ["lab/m"])
            var reader = NameReader()
            reader.sees([hidden])
            #expect(reader.owners("lab/m", thief) == [thief] && reader.owners("lab/m") == nil)
            reader.sees([hidden, Self.shop])
            #expect(reader.owners("lab/m") == [seller])
            #expect(reader.listed() == ["lab/m"])
            // To those who knew it first it stays what it was.
            let knew = access == .ownerOnly ? thief : bob
            #expect(reader.owners("lab/m", knew) == [thief])
            #expect(reader.owners("seller@b/lab/m", knew) == [seller])
            reader.sees([Self.shop])
            #expect(reader.owners("lab/m", knew) == nil)
        }
    }

    // MARK: Nothing is betrayed

    /// Every answer is what it is to a node that never heard of the hidden one.
    @Test(arguments: [CatalogAccess.ownerOnly, .named([bob]), .named([])])
    func withAndWithoutIsTheSame(access: CatalogAccess) {
        let hidden = Self.den(access, models: ["m", "secret", "org/secret", "lab/n"])
        let open = [
            provider("lab", of: "seller", owner: seller, at: north, called: "b", models: ["m", "n"]),
            provider("org", of: "seller", owner: seller, at: north, called: "b", models: ["secret", "lab/m"]),
        ]
        var (with, without) = (NameReader(), NameReader())
        for world in [[], [open[0]], open, [open[1]]] {
            with.sees(world + [hidden])
            without.sees(world)
            #expect(with.listed() == without.listed())
            for name in [
                "m", "secret", "secre", "lab/m", "lab/n", "lab/secret", "lab/none", "lap/m", "org/secret", "org/lab/m",
                "lab",
                "lab/lab/n", "seller@b/lab/m", "seller@d/lab/m",
            ] {
                #expect(with.owners(name) == without.owners(name), "\(name)")
                #expect(with.error(name) == without.error(name), "\(name)")
            }
        }
    }

    // MARK: Bounds

    @Test func onlyWhoCallsHereCosts() {
        let many = (0..<Limits.advertNamedKeys).map { _ in SigningKey.random().publicKey } + [bob]
        let named = Self.den(.named(many), models: ["org/a", "org/b"])
        var reader = NameReader()
        _ = reader.names.setReaders([bob, alice])
        reader.sees([named])
        #expect(
            reader.names.all.map(\.name).filter { $0.text.hasPrefix("shown") }
                == [.shown("lab", to: bob), .shownModel("org/a", to: bob), .shownModel("org/b", to: bob)])
        let isNews = reader.names.setReaders([bob, alice])
        #expect(!isNews)
        // A user who comes later learns what is there.
        _ = reader.names.setReaders([bob, alice, many[0]])
        reader.sees([named])
        #expect(reader.owners("lab/org/a", many[0]) == [thief])
        #expect(reader.names.pin(.shownModel("org/a", to: many[0])) != nil)
    }

    @Test func whatAReaderUsedIsKept() {
        var reader = NameReader()
        reader.sees([Self.den()])
        reader.names.used([UsedName("lab/m", by: bob)])
        #expect(reader.names.pin(.shown("lab", to: bob))?.isUsed == true)
        reader.sees([], days: 100)
        let flood = provider(
            "y", of: "z", owner: seller, at: south, called: "d", models: (0...Limits.namesPerNode).map { "o/\($0)" })
        reader.sees([flood])
        reader.sees([flood, Self.shop])
        #expect(reader.owners("lab/m", bob) == nil && reader.owners("lab/m") == [seller])
    }
}
