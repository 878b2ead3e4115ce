package import MeshModel
package import MeshRouting
import MeshStore
import MeshWire
import Synchronization

/// Rotations, as owners make, change and remove them.
extension Administration {
    package struct RotationAccount: Sendable {
        package var id: PoolID
        package var rotation: Rotation
        package var changedAt: Timestamp
        package var isPublished: Bool
    }

    /// All, by scope and name.
    package func rotations() async throws -> [RotationAccount] {
        try await blocking { [self] in try storedRotations() }
    }

    package func rotation(_ id: PoolID) async throws -> RotationAccount {
        try await blocking { [self] in
            guard let found = try storedRotations().first(where: { $0.id == id }) else { throw Self.noRotation(id) }
            return found
        }
    }

    package struct Drafts: Sendable {
        /// - `publish`: nil leaves it as it is.
        package var rotations: [(scope: OwnerScope, rotation: Rotation, publish: Bool?)] = []
        package var policies: [(scope: OwnerScope, policy: Policy, publish: Bool?)] = []

        package init() {}
    }

    /// Makes or changes rotations and policies, all of them or none: what is wrong with any is said of all at once.
    /// - Parameter replaces: whether one that is there already is changed; otherwise it is a conflict.
    package func save(_ drafts: Drafts, replaces: Bool) async throws {
        let (saved, before) = try await blocking { [self] in
            try checkRotations(drafts.rotations, replaces)
            try checkPolicies(drafts.policies, replaces)
            let now = wall()
            let before = try store.marketEntries().filter { $0.published != nil }
            func isPublished(_ kind: MarketEntry.Kind, _ scope: OwnerScope, _ name: String) -> Bool {
                before.contains { $0.kind == kind && $0.scope == scope && $0.name == name }
            }
            let rotations = try drafts.rotations.map { scope, rotation, publish in
                let isTold = publish ?? isPublished(.rotation, scope, rotation.name)
                return MarketEntry(
                    kind: .rotation, scope: scope, name: rotation.name, document: rotation.document.bytes,
                    changedAt: now, published: isTold ? try published(rotation, of: scope) : nil)
            }
            let policies = try drafts.policies.map { scope, policy, publish in
                let isTold = publish ?? isPublished(.policy, scope, policy.name)
                return MarketEntry(
                    kind: .policy, scope: scope, name: policy.name, document: policy.document.bytes, changedAt: now,
                    published: isTold ? try published(policy, of: scope) : nil)
            }
            let saved = rotations + policies
            try checkRoom(saved, before)
            try store.changeMarket(saved: saved)
            try publishMarket()
            if !before.isEmpty || saved.contains(where: { $0.published != nil }) { try publishProviders() }
            return (saved, before)
        }
        let changed = saved.filter { entry in
            entry.published != nil || before.contains { $0.kind == entry.kind && $0.scope == entry.scope }
        }
        await settled(published: changed.map { ($0.kind, $0.scope, $0.name, $0.published != nil) })
    }

    /// What is published stays within its owner's room.
    private func checkRoom(_ saved: [MarketEntry], _ before: [MarketEntry]) throws {
        let kept = before.filter { old in
            !saved.contains { $0.kind == old.kind && $0.scope == old.scope && $0.name == old.name }
        }
        let told = (kept + saved.filter { $0.published != nil }).map(\.scope)
        for scope in Set(saved.filter { $0.published != nil }.map(\.scope)) {
            try requireRoom(for: scope, published: told.count { $0 == scope })
        }
    }

    private func checkRotations(
        _ drafts: [(scope: OwnerScope, rotation: Rotation, publish: Bool?)], _ replaces: Bool
    ) throws {
        guard !drafts.isEmpty else { return }
        let stored = try storedRotations()
        var all = Dictionary(stored.map { ($0.id, $0.rotation) }, uniquingKeysWith: { first, _ in first })
        var ids: [PoolID] = []
        for draft in drafts {
            let id = PoolID(scope: draft.scope, name: draft.rotation.name)
            _ = try ownerKey(draft.scope)
            if all[id] != nil, !replaces { throw Self.isThere(id.scope, "rotation", id.name) }
            if ids.contains(id) { throw Self.twice("rotation", id.name) }
            ids.append(id)
            all[id] = draft.rotation
        }
        guard all.count <= Limits.pools else {
            throw MeshError(.conflict, "a node has at most \(Limits.pools) rotations; remove one first")
        }
        try check(all)
    }

    private func checkPolicies(
        _ drafts: [(scope: OwnerScope, policy: Policy, publish: Bool?)], _ replaces: Bool
    ) throws {
        guard !drafts.isEmpty else { return }
        var names = Dictionary(grouping: try storedPolicies(), by: \.scope).mapValues { $0.map(\.policy.name) }
        var seen: [OwnerScope: [String]] = [:]
        for (scope, policy, _) in drafts {
            _ = try ownerKey(scope)
            let isKnown = names[scope]?.contains(policy.name) ?? false
            if isKnown, !replaces { throw Self.isThere(scope, "policy", policy.name) }
            if seen[scope]?.contains(policy.name) ?? false { throw Self.twice("policy", policy.name) }
            seen[scope, default: []].append(policy.name)
            if !isKnown { names[scope, default: []].append(policy.name) }
            guard names[scope, default: []].count <= Limits.policiesPerScope else {
                throw MeshError(
                    .conflict, "\(scope.username) has \(Limits.policiesPerScope) policies, the most there may be")
            }
        }
    }

    private static func isThere(_ scope: OwnerScope, _ kind: String, _ name: String) -> MeshError {
        MeshError(.conflict, "\(scope.username) has a \(kind) '\(name)' already; edit it instead", parameter: "name")
    }

    private static func twice(_ kind: String, _ name: String) -> MeshError {
        MeshError(.invalidRequest, "the \(kind) '\(name)' stands there twice", parameter: "name")
    }

    package func removeRotation(_ id: PoolID) async throws {
        try await blocking { [self] in
            let stored = try storedRotations()
            guard stored.contains(where: { $0.id == id }) else { throw Self.noRotation(id) }
            let target = Rotation.Member.Target.rotation(id.name)
            let users = stored.filter { account in
                account.id != id && account.rotation.members.contains { $0.target == target }
                    && (account.id.scope == id.scope || id.scope == .global)
            }
            guard users.isEmpty else {
                let names = users.prefix(8).map { "\($0.id.scope.username)/\($0.id.name)" }.joined(separator: ", ")
                throw MeshError(.conflict, "'\(id.name)' is a member of \(names); take it out there first")
            }
            try remove(.rotation, id.scope, id.name)
        }
        await settled(published: [(.rotation, id.scope, id.name, false)])
    }

    private func remove(_ kind: MarketEntry.Kind, _ scope: OwnerScope, _ name: String) throws {
        try store.changeMarket(saved: [], removed: [(kind, scope, name)])
        try publishMarket()
        // Buries what the mesh was told of it.
        try publishProviders()
    }

    // MARK: Policies

    package struct PolicyAccount: Sendable {
        package var scope: OwnerScope
        package var policy: Policy
        package var changedAt: Timestamp
        package var isPublished: Bool
    }

    /// All, by scope and name.
    package func policies() async throws -> [PolicyAccount] { try await blocking { [self] in try storedPolicies() } }

    package func policy(_ scope: OwnerScope, _ name: String) async throws -> PolicyAccount {
        guard let found = try await policies().first(where: { $0.scope == scope && $0.policy.name == name }) else {
            throw Self.noPolicy(scope, name)
        }
        return found
    }

    package func removePolicy(_ scope: OwnerScope, _ name: String) async throws {
        try await blocking { [self] in
            guard try storedPolicies().contains(where: { $0.scope == scope && $0.policy.name == name }) else {
                throw Self.noPolicy(scope, name)
            }
            try remove(.policy, scope, name)
        }
        await settled(published: [(.policy, scope, name, false)])
    }

    private func storedPolicies() throws -> [PolicyAccount] {
        try store.marketEntries().filter { $0.kind == .policy }.map { entry in
            let document = (try? JSONValue.parse(entry.document)) ?? .null
            return PolicyAccount(
                scope: entry.scope, policy: Policy.read(document).policy, changedAt: entry.changedAt,
                isPublished: entry.published != nil)
        }
    }

    private static func noPolicy(_ scope: OwnerScope, _ name: String) -> MeshError {
        MeshError(
            .notFound,
            "\(scope.username) has no policy '\(name.cut(toUTF8Bytes: 64))'; 'aisbf policy list' shows what there is")
    }

    // MARK: Telling

    /// Tells the requests of the node what there is.
    func publishMarket() throws {
        // A user who is gone leaves nothing that could be bought through.
        let rotations = try storedRotations().compactMap { account in
            (try? ownerKey(account.id.scope)).map {
                (account.id, MarketBook.Entry(rotation: account.rotation, owner: $0))
            }
        }
        var policies = PolicyBook()
        for (scope, accounts) in Dictionary(grouping: try storedPolicies(), by: \.scope) {
            policies.set(accounts.map(\.policy), of: scope)
        }
        book.replace(rotations, policies)
    }

    private func storedRotations() throws -> [RotationAccount] {
        try store.marketEntries().filter { $0.kind == .rotation }.map { entry in
            let document = (try? JSONValue.parse(entry.document)) ?? .null
            return RotationAccount(
                id: PoolID(scope: entry.scope, name: entry.name), rotation: Rotation.read(document).rotation,
                changedAt: entry.changedAt, isPublished: entry.published != nil)
        }
    }

    private func check(_ all: [PoolID: Rotation]) throws {
        var wrong: [String] = []
        for (id, rotation) in all.sorted(by: {
            ($0.key.scope.username, $0.key.name) < ($1.key.scope.username, $1.key.name)
        }) {
            let problems = rotation.problems { name in
                PoolID.meant(by: name, in: id.scope) { all[$0] != nil }.flatMap { all[$0] }
            }
            wrong += problems.map { "rotation '\(id.name)': \($0)" }
        }
        guard !wrong.isEmpty else { return }
        throw MeshError(.invalidRequest, wrong.prefix(8).joined(separator: "; "), parameter: "members")
    }

    private static func noRotation(_ id: PoolID) -> MeshError {
        MeshError(
            .notFound,
            "\(id.scope.username) has no rotation '\(id.name.prefix(64))'; 'aisbf rotation list' shows what there is")
    }
}
