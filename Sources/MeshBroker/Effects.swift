package import MeshRouting
package import MeshWire

/// What follows from one input. Whoever carries it out decides nothing:
/// 1. `immediate`, in its order.
/// 2. `persist`, in one transaction. Nothing of it may be known to anybody before it is on the disk.
/// 3. Then `afterPersist`, in its order, and what became of the batch as `Broker.Input.persisted`.
///
/// There is at most one batch at a time: no input is answered with another before the last one is `persisted`.
package struct Effects: Sendable {
    package var immediate: [Broker.Effect] = []
    package var persist: StoreBatch?
    /// Empty while there is nothing to persist.
    package var afterPersist: [Broker.Effect] = []
}

/// What must be on the disk before it counts.
package enum StoreBatch: Sendable {
    /// What names mean here from now on.
    case names([NameChange])
    /// Records to be made, in this order: each takes its signer's next version, is signed, and is stored with that.
    case records([SigningRequest])
}

/// What became of a batch. A store that lacks room is no failure of the node: it goes on with what it knows.
package enum StoreOutcome: Sendable {
    case names(isStored: Bool)
    /// One for each request, in their order.
    case records([SigningOutcome])
}

package struct SigningOutcome: Sendable {
    package var request: SigningRequest
    /// The record, which is on the disk; nil when it could not be signed or stored now. Beacons, which nobody keeps, are
    /// made without room too.
    package var record: VerifiedRecord?

    package init(request: SigningRequest, record: VerifiedRecord?) {
        self.request = request
        self.record = record
    }
}
