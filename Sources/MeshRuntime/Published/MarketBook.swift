package import MeshModel
package import MeshRouting
import Synchronization

/// What the owners of this node have set up for buyers: replaced whole by the administration, read by every request
/// that names a pool.
package final class MarketBook: Sendable {
    package struct Entry: Sendable {
        package var rotation: Rotation
        /// In whose name its members' names are read.
        package var owner: PublicKey

        package init(rotation: Rotation, owner: PublicKey) {
            self.rotation = rotation
            self.owner = owner
        }
    }

    package struct Edition: Sendable {
        /// Another one has another number.
        package var serial: UInt64 = 0
        package var rotations: [PoolID: Entry] = [:]
        /// By scope and name.
        package var order: [PoolID] = []
        package var policies = PolicyBook()
    }

    private let edition = Mutex(Edition())

    package init() {}

    package var current: Edition { edition.withLock { $0 } }

    package func replace(_ rotations: [(id: PoolID, entry: Entry)], _ policies: PolicyBook) {
        edition.withLock { edition in
            edition.serial += 1
            edition.rotations = Dictionary(rotations.map { ($0.id, $0.entry) }, uniquingKeysWith: { first, _ in first })
            edition.order = rotations.map(\.id)
            edition.policies = policies
        }
    }

    /// What the name of a policy means for a user.
    package func policy(_ name: PolicyName, for username: String?) -> Result<Policy, MeshError> {
        edition.withLock { $0.policies.policy(name, for: username) }
    }

    /// Whose policy `name` means for a user; nil for one that nobody wrote.
    package func owner(ofPolicy name: String, for username: String?) -> OwnerScope? {
        edition.withLock { edition in
            let scopes = (username.map { [OwnerScope(username: $0)] } ?? []) + [.global]
            return scopes.first { edition.policies.policies(of: $0).contains { $0.name == name } }
        }
    }

    /// The pool that `name` means for a user: theirs, or else the operator's.
    package func pool(_ name: String, for username: String?) -> PoolID? {
        edition.withLock { edition in
            let scope = username.map { OwnerScope(username: $0) } ?? .global
            return PoolID.meant(by: name, in: scope) { edition.rotations[$0] != nil }
        }
    }

    /// Names of the policies that somebody wrote and a user can name, each once.
    package func policies(for username: String?) -> [String] {
        edition.withLock { edition in
            let scopes = (username.map { [OwnerScope(username: $0)] } ?? []) + [.global]
            return scopes.flatMap { edition.policies.policies(of: $0) }.map(\.name).reduce(into: []) { names, name in
                if !names.contains(name) { names.append(name) }
            }
        }
    }

    func settings(of pool: PoolID) -> Rotation.Settings? {
        edition.withLock { $0.rotations[pool]?.rotation.settings }
    }

    /// Those that a user can name, each once.
    package func pools(for username: String?) -> [PoolID] {
        let order = current.order
        let own = username.map { OwnerScope(username: $0) } ?? .global
        let theirs = order.filter { $0.scope == own }
        return theirs
            + (own == .global
                ? []
                : order.filter { pool in
                    pool.scope == .global && !theirs.contains { $0.name == pool.name }
                })
    }
}
