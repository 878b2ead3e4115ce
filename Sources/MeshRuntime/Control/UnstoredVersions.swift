import MeshModel
import MeshStore
import Synchronization

/// The versions that could not be written down, because the store had no room.
///
/// Beacons go on without it: nobody keeps them, and a node that falls silent is as good as gone for its mesh. Their
/// versions are written as soon as there is room, before anything is signed that must last. After a crash in between
/// the next start has a later epoch, and so greater versions, unless it comes within the same minute.
final class UnstoredVersions: Sendable {
    private let store: MeshStore
    private let greatest = Mutex<[PublicKey: RecordVersion]>([:])

    init(_ store: MeshStore) { self.store = store }

    var isEmpty: Bool { greatest.withLock { $0.isEmpty } }

    /// The next version of a signer, for a record that nobody has to remember; nil when it has none left.
    func next(_ claim: MeshStore.VersionClaim, epoch: UInt32) throws(StoreError) -> RecordVersion? {
        let stored = try store.lastVersion(signer: claim.signer)
        return greatest.withLock { greatest in
            let last = [greatest[claim.signer], stored, claim.above].compactMap { $0 }.max()
            let next = RecordVersion.next(after: last, epoch: epoch)
            if let next { greatest[claim.signer] = next }
            return next
        }
    }

    /// Writes down what is not, if there is room.
    func settle() throws(StoreError) {
        for signer in greatest.withLock({ Array($0.keys) }) {
            do throws(StoreError) { try settle(signer) } catch {
                guard error.isPassing else { throw error }
                return
            }
        }
    }

    private func settle(_ signer: PublicKey) throws(StoreError) {
        guard let version = greatest.withLock({ $0[signer] }) else { return }
        try store.raiseVersion(signer: signer, to: version)
        greatest.withLock { if $0[signer] == version { $0[signer] = nil } }
    }
}
