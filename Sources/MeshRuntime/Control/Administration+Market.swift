import MeshExchange
package import MeshModel
package import MeshRouting
package import MeshStore
import MeshWire
import Synchronization

/// Rotations, as owners make, change and remove them.
extension Administration {
    package struct RotationAccount: Sendable {
        package var id: PoolID
        package var rotation: Rotation
        package var changedAt: Timestamp
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

    /// Makes or changes rotations, all of them or none: what is wrong with any is said of all at once.
    /// - Parameter replaces: whether one that is there already is changed; otherwise it is a conflict.
    package func save(
        _ drafts: [(scope: OwnerScope, rotation: Rotation)], replaces: Bool
    ) async throws -> [RotationAccount] {
        try await blocking { [self] in
            let stored = try storedRotations()
            var all = Dictionary(stored.map { ($0.id, $0.rotation) }, uniquingKeysWith: { first, _ in first })
            var ids: [PoolID] = []
            for draft in drafts {
                let id = PoolID(scope: draft.scope, name: draft.rotation.name)
                _ = try ownerKey(draft.scope)
                if all[id] != nil, !replaces {
                    throw MeshError(
                        .conflict, "\(id.scope.username) has a rotation '\(id.name)' already; edit it instead",
                        parameter: "name")
                }
                guard !ids.contains(id) else {
                    throw MeshError(.invalidRequest, "the rotation '\(id.name)' stands there twice", parameter: "name")
                }
                ids.append(id)
                all[id] = draft.rotation
            }
            guard all.count <= Limits.pools else {
                throw MeshError(.conflict, "a node has at most \(Limits.pools) rotations; remove one first")
            }
            try check(all)
            let now = SystemClock.wall
            try store.changeMarket(
                saved: drafts.map { draft in
                    MarketEntry(
                        kind: .rotation, scope: draft.scope, name: draft.rotation.name,
                        document: draft.rotation.document.bytes, changedAt: now)
                })
            try publishMarket()
            return drafts.map { draft in
                RotationAccount(
                    id: PoolID(scope: draft.scope, name: draft.rotation.name), rotation: draft.rotation, changedAt: now)
            }
        }
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
            try store.changeMarket(saved: [], removed: [(.rotation, id.scope, id.name)])
            try publishMarket()
        }
    }

    /// Tells the requests of the node what there is.
    func publishMarket() throws {
        book.replace(
            try storedRotations().compactMap { account in
                // A user who is gone leaves nothing that could be bought through.
                guard let owner = try? ownerKey(account.id.scope) else { return nil }
                return (account.id, MarketBook.Entry(rotation: account.rotation, owner: owner))
            })
    }

    private func storedRotations() throws -> [RotationAccount] {
        try store.marketEntries().filter { $0.kind == .rotation }.map { entry in
            let document = (try? JSONValue.parse(entry.document)) ?? .null
            return RotationAccount(
                id: PoolID(scope: entry.scope, name: entry.name), rotation: Rotation.read(document).rotation,
                changedAt: entry.changedAt)
        }
    }

    private func check(_ all: [PoolID: Rotation]) throws {
        var wrong: [String] = []
        for (id, rotation) in all.sorted(by: { ($0.key.scope.username, $0.key.name) < ($1.key.scope.username, $1.key.name) })
        {
            let problems = rotation.problems { name in
                all[PoolID(scope: id.scope, name: name)] ?? all[PoolID(scope: .global, name: name)]
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
