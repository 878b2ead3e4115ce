import MeshCrypto
import MeshModel
import Testing

@testable import MeshRouting

private let here = SigningKey.random().publicKey
private let there = SigningKey.random().publicKey
private let operatorKey = SigningKey.random().publicKey
private let bob = SigningKey.random().publicKey
private let alice = SigningKey.random().publicKey
private let carol = SigningKey.random().publicKey

private func provider(
    _ id: String, of scope: OwnerScope, owner: PublicKey, at home: PublicKey = here, access: CatalogAccess = .everyone,
    models: [String], seen: [String] = []
) -> CatalogProvider {
    let host = CatalogHost(
        node: home, nodeName: home == here ? "north" : "south", attachment: RecordKey(Bytes16(high: 1, low: 1)),
        clientHash: [],
        offer: WorkerOffer(models: ModelList(models.map { WorkerModel(id: $0) }), slots: 1))
    let name = "\(scope.username) \(id) \(home)"
    return CatalogProvider(
        key: RecordKey(Sodium.shared.hash16(Array(name.utf8), key: [])), advertHash: Sodium.shared.hash32([1]),
        owner: owner, providerID: id, scope: scope, homeNode: home, homeName: home == here ? "north" : "south",
        access: access, attachKeys: [], hosts: models.isEmpty ? [] : [host], modelsSeen: seen.isEmpty ? models : seen)
}

private let catalog = Catalog(
    node: here, nodes: [],
    providers: [
        provider("gpu", of: .user("bob"), owner: bob, models: ["own"]),
        provider("gpu", of: .global, owner: operatorKey, models: ["global"]),
        provider("gpu", of: .user("carol"), owner: carol, at: there, models: ["public"]),
        provider("gpu", of: .user("bob"), owner: alice, at: there, models: ["namesake"]),
        provider("twin", of: .user("alice"), owner: alice, models: ["t"]),
        provider("twin", of: .user("carol"), owner: carol, at: there, models: ["t"]),
        provider("den", of: .user("alice"), owner: alice, access: .ownerOnly, models: ["secret"]),
        provider("club", of: .user("alice"), owner: alice, access: .named([carol, there]), models: ["members"]),
        provider("hub", of: .global, owner: operatorKey, models: ["org/team/model-7b", "plain"]),
        provider("gone", of: .global, owner: operatorKey, models: [], seen: ["was"]),
        provider("solo", of: .user("carol"), owner: carol, at: there, models: ["s"]),
    ])

private func principal(_ owner: PublicKey, _ username: String?, node: PublicKey = here) -> Principal {
    Principal(owner: owner, username: username, node: node, nodeOperator: nil)
}

@Suite struct ResolveTests {
    struct Case: Sendable, CustomStringConvertible {
        var name: String
        var who: Principal
        /// Full names of the providers, joined; or the code of the refusal.
        var expected: String
        var model = ""
        var description: String { "\(name) for \(who.username ?? "a stranger")" }
    }

    static let asBob = principal(bob, "bob")
    static let asAlice = principal(alice, "alice")
    static let asCarol = principal(carol, "carol")
    static let asOperator = principal(operatorKey, "global")

    static let cases: [Case] = [
        // Own scope before global before public.
        Case(name: "gpu/own", who: asBob, expected: "bob@north/gpu", model: "own"),
        Case(name: "gpu/global", who: asAlice, expected: "global@north/gpu", model: "global"),
        Case(name: "gpu/global", who: asBob, expected: "model_not_found"),
        Case(name: "gpu/public", who: asAlice, expected: "model_not_found"),
        Case(name: "solo/s", who: asBob, expected: "carol@south/solo", model: "s"),
        // Ambiguous: neither own nor global. One's own settles it.
        Case(name: "twin/t", who: asBob, expected: "ambiguous_model"),
        Case(name: "twin/t", who: asAlice, expected: "alice@north/twin", model: "t"),
        // A full name means exactly one provider.
        Case(name: "carol@south/twin/t", who: asAlice, expected: "carol@south/twin", model: "t"),
        Case(name: "bob@south/gpu/namesake", who: asBob, expected: "bob@south/gpu", model: "namesake"),
        Case(name: "bob@north/gpu/namesake", who: asBob, expected: "model_not_found"),
        Case(name: "carol@north/twin/t", who: asBob, expected: "model_not_found"),
        Case(name: "@/twin/t", who: asBob, expected: "model_not_found"),
        // Access: what may not be used does not exist.
        Case(name: "den/secret", who: asAlice, expected: "alice@north/den", model: "secret"),
        Case(name: "den/secret", who: asBob, expected: "model_not_found"),
        Case(name: "alice@north/den/secret", who: asBob, expected: "model_not_found"),
        Case(name: "secret", who: asBob, expected: "model_not_found"),
        Case(name: "secret", who: asAlice, expected: "alice@north/den", model: "secret"),
        Case(name: "secret", who: principal(bob, "alice"), expected: "model_not_found"),
        Case(name: "secret", who: asOperator, expected: "model_not_found"),
        Case(name: "club/members", who: asCarol, expected: "alice@north/club", model: "members"),
        Case(name: "club/members", who: asAlice, expected: "alice@north/club", model: "members"),
        Case(name: "club/members", who: asBob, expected: "model_not_found"),
        Case(
            name: "club/members", who: principal(bob, nil, node: there), expected: "alice@north/club", model: "members"),
        // Slashes in model ids.
        Case(name: "hub/org/team/model-7b", who: asBob, expected: "global@north/hub", model: "org/team/model-7b"),
        Case(name: "org/team/model-7b", who: asBob, expected: "global@north/hub", model: "org/team/model-7b"),
        Case(
            name: "global@north/hub/org/team/model-7b", who: asBob, expected: "global@north/hub",
            model: "org/team/model-7b"),
        // Bare names; a model that was there is known though nobody offers it now.
        Case(name: "plain", who: asBob, expected: "global@north/hub", model: "plain"),
        Case(name: "was", who: asBob, expected: "global@north/gone", model: "was"),
        Case(name: "gone/was", who: asBob, expected: "global@north/gone", model: "was"),
        Case(name: "", who: asBob, expected: "model_not_found"),
        Case(name: "/", who: asBob, expected: "model_not_found"),
        Case(name: "hub/", who: asBob, expected: "model_not_found"),
        Case(name: "@@//", who: asBob, expected: "model_not_found"),
    ]

    @Test(arguments: cases) func aNameMeansWhatTheCallerMayUse(_ item: Case) {
        switch catalog.resolve(item.name, for: item.who) {
        case .success(let route):
            #expect(route.providers.map(\.fullName).joined(separator: ", ") == item.expected)
            #expect(route.model == item.model)
        case .failure(let error): #expect(error.code.rawValue == item.expected)
        }
    }

    @Test func anAmbiguousNameListsFullNamesAndEachIsAccepted() throws {
        guard case .failure(let error) = catalog.resolve("twin/t", for: Self.asBob) else {
            Issue.record("twin/t is ambiguous")
            return
        }
        #expect(error.message.contains("alice@north/twin/t, carol@south/twin/t"))
    }

    @Test(arguments: [asBob, asAlice, asCarol, asOperator]) func everyListedNameIsAccepted(_ who: Principal) throws {
        let listing = catalog.listing(for: who)
        #expect(!listing.isEmpty)
        for listed in listing {
            let route = try catalog.resolve(listed.id, for: who).get()
            #expect(route.providers.map(\.key) == [listed.provider.key], "\(listed.id)")
            #expect(route.model == listed.model.id)
        }
    }

    @Test(arguments: [("solo/z", "solo/s"), ("hub/plane", "hub/plain"), ("plainn", "hub/plain")])
    func nearNamesAreNamed(typed: String, near: String) {
        guard case .failure(let error) = catalog.resolve(typed, for: Self.asCarol) else {
            Issue.record("\(typed) is unknown")
            return
        }
        #expect(error.message.contains("did you mean"))
        #expect(error.message.contains(near))
    }

    @Test func nearNamesDoNotBetrayWhatMayNotBeUsed() {
        guard case .failure(let error) = catalog.resolve("den/secreT", for: Self.asBob) else {
            Issue.record("den is not bob's")
            return
        }
        #expect(!error.message.contains("den/secret"))
    }
}
