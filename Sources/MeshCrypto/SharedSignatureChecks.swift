package import MeshModel
import Synchronization

/// Checks signatures that several messages share, each once: the messages behind the first find it checked. Only what held
/// is remembered, by a hash of signature, message and key together, so a signature is good here for nothing else than what
/// it was checked for.
package final class SharedSignatureChecks: Sendable {
    private struct State {
        var known: Set<Bytes32> = []
        /// In the order in which they were checked.
        var order: [Bytes32] = []
        var oldest = 0
    }

    private let state = Mutex(State())
    private let capacity: Int

    package init(capacity: Int = Limits.sharedSignaturesKnown) { self.capacity = capacity }

    /// Whether `key` signed a tree in which `message` is.
    package func holds(_ shared: SharedSignature, for message: [UInt8], key: PublicKey) -> Bool {
        guard let signed = SignatureTree.message(proving: message, by: shared.proof),
            let mark = Bytes32(Sodium.shared.sha256(shared.signature + Array(key.bytes) + signed))
        else { return false }
        if state.withLock({ $0.known.contains(mark) }) { return true }
        guard Sodium.shared.verify(signature: shared.signature, message: signed, key: key) else { return false }
        // One alone is not asked about again.
        if shared.proof.count > 1 { remember(mark) }
        return true
    }

    private func remember(_ mark: Bytes32) {
        state.withLock { state in
            guard state.known.insert(mark).inserted else { return }
            guard state.order.count >= capacity else { return state.order.append(mark) }
            state.known.remove(state.order[state.oldest])
            state.order[state.oldest] = mark
            state.oldest = (state.oldest + 1) % capacity
        }
    }
}
