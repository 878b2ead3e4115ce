package import MeshCrypto
package import MeshModel
import Synchronization

/// The attach keys of the workers that are or were connected here. In memory only: they were given to this node
/// for making grants, and whoever steals the disk must not get them.
package final class AttachKeyring: Sendable {
    private let keys = Mutex<[PublicKey: SigningKey]>([:])

    package init() {}

    package func add(_ key: SigningKey) {
        keys.withLock { keys in
            // Dead keys are forgotten all at once when the table is full: live sessions re-add theirs on reconnect.
            if keys.count >= Limits.workerSessions { keys.removeAll() }
            keys[key.publicKey] = key
        }
    }

    package func key(_ publicKey: PublicKey) -> SigningKey? { keys.withLock { $0[publicKey] } }
}
