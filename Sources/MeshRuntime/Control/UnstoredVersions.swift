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

    /// The next version of `signer`; nil when it must be remembered and cannot be.
    func allocate(_ signer: PublicKey, epoch: UInt32, mustLast: Bool) throws(StoreError) -> RecordVersion? {
        do throws(StoreError) {
            if greatest.withLock({ $0[signer] }) != nil { try settle(signer) }
            return try store.allocateVersion(signer: signer, epoch: epoch)
        } catch {
            guard error.isPassing else { throw error }
        }
        guard !mustLast else { return nil }
        let stored = try store.lastVersion(signer: signer)
        return greatest.withLock { greatest in
            let start = RecordVersion(epoch: epoch, sequence: 0)
            let last = [greatest[signer], stored].compactMap { $0 }.reduce(start, max)
            guard last.sequence < 0xFF_FFFF_FFFF else { return nil }
            let next = RecordVersion(epoch: last.epoch, sequence: last.sequence + 1)
            greatest[signer] = next
            return next
        }
    }

    /// Nothing at or below `version` is handed out for `signer` from now on.
    func raise(_ signer: PublicKey, to version: RecordVersion) throws(StoreError) {
        do throws(StoreError) { try store.raiseVersion(signer: signer, to: version) } catch {
            guard error.isPassing else { throw error }
            greatest.withLock { $0[signer] = max($0[signer] ?? version, version) }
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
