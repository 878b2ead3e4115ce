package import MeshModel
package import MeshWire
internal import OrderedCollections

/// A record this node wants signed: whoever holds the key gives it its signer's next version, signs it, and stores both.
package struct SigningRequest: Hashable, Sendable {
    package var type: RecordType
    package var signer: PublicKey
    package var name: [UInt8]
    package var body: [UInt8]
    package var lifeMs: Int64
    package var isTombstone: Bool
    /// What the mesh holds under this record's key: the new version is above it, also where the store was restored from a
    /// backup and has forgotten it.
    package var above: RecordVersion?

    package init(
        type: RecordType, signer: PublicKey, name: [UInt8], body: [UInt8], lifeMs: Int64, isTombstone: Bool,
        above: RecordVersion? = nil
    ) {
        self.type = type
        self.signer = signer
        self.name = name
        self.body = body
        self.lifeMs = lifeMs
        self.isTombstone = isTombstone
        self.above = above
    }
}

/// What this node (and the owners whose keys it keeps) wants the mesh to know, and what of it is signed: asks for a
/// signature when a body changes, when a record is half through its life, and for a tombstone when it is dropped.
package struct OwnRecords: Sendable {
    package struct Name: Hashable, Sendable {
        package var type: RecordType
        package var signer: PublicKey
        package var name: [UInt8]

        package init(type: RecordType, signer: PublicKey, name: [UInt8]) {
            self.type = type
            self.signer = signer
            self.name = name
        }
    }

    private struct Wanted: Sendable {
        var body: [UInt8]
        var lifeMs: Int64
        var refreshMs: Int64
        /// The body that was last given out for signing, and when.
        var requested: [UInt8]?
        var requestedAt = Instant(nanoseconds: 0)
        /// How many changes may be signed at once: a worker attaches, lists its models and tells its hardware within a
        /// moment, and nobody should wait a second for what it offers.
        var changesLeft = Limits.recordChangesAtOnce
        var signed: VerifiedRecord?
    }

    private var wanted: OrderedDictionary<Name, Wanted> = [:]
    private var dropped: [Name] = []
    /// What was signed before this start; a record whose body still holds is not signed again.
    private var adopted: OrderedDictionary<Name, Adopted> = [:]
    /// Nothing can be due before this, unless something changes.
    private var nextReview = Instant(nanoseconds: .min)

    private struct Adopted: Sendable {
        var record: VerifiedRecord
        var ageMs: Int64
    }

    package init() {}

    /// Takes over a record from this node's own store.
    package mutating func adopt(_ record: VerifiedRecord, wall: Timestamp) {
        guard !record.envelope.isTombstone else { return }
        let name = Name(type: record.type, signer: record.signer, name: record.body.name)
        adopted[name] = Adopted(
            record: record, ageMs: max(0, wall.milliseconds - record.envelope.issued.milliseconds))
    }

    /// The record last signed under `name`.
    package func signed(_ name: Name) -> VerifiedRecord? { wanted[name]?.signed }

    package func wants(_ name: Name) -> Bool { wanted[name] != nil }

    package mutating func want(_ name: Name, body: [UInt8], lifeMs: Int64, refreshMs: Int64, now: Instant) {
        if wanted[name] == nil {
            var entry = Wanted(body: body, lifeMs: lifeMs, refreshMs: refreshMs)
            if let known = adopted.removeValue(forKey: name), Array(known.record.envelope.body) == body {
                entry.requested = body
                entry.requestedAt = now.advanced(byMilliseconds: -known.ageMs)
                entry.signed = known.record
            }
            wanted[name] = entry
        } else {
            wanted[name]?.body = body
        }
        dropped.removeAll { $0 == name }
        nextReview = Instant(nanoseconds: .min)
    }

    /// The record is no longer true: bury it.
    package mutating func drop(_ name: Name) {
        wanted.removeValue(forKey: name)
        if !dropped.contains(name) { dropped.append(name) }
        nextReview = Instant(nanoseconds: .min)
    }

    /// The request could not be signed now (no trusted clock, key not here): it is asked for again a little later.
    package mutating func notSigned(_ request: SigningRequest, now: Instant) {
        let name = Name(type: request.type, signer: request.signer, name: request.name)
        if request.isTombstone {
            if wanted[name] == nil, !dropped.contains(name) { dropped.append(name) }
        } else if let entry = wanted[name] {
            wanted[name]?.requestedAt = now.advanced(byMilliseconds: Limits.signingRetryMs - entry.refreshMs)
        }
        nextReview = min(nextReview, now.advanced(byMilliseconds: Limits.signingRetryMs))
    }

    package mutating func signed(_ record: VerifiedRecord) {
        let name = Name(type: record.type, signer: record.signer, name: record.body.name)
        // Behind a tombstone nothing may rest on what was signed before it, and a new record is on its way.
        wanted[name]?.signed = record.envelope.isTombstone ? nil : record
    }

    /// The mesh holds a newer record under one of our names than we signed: a restored backup forgot it. It has to
    /// be said again, above that version.
    /// A record under a name of `node` that nobody wants any more is buried.
    package mutating func superseded(by record: VerifiedRecord, node: PublicKey) {
        let name = Name(type: record.type, signer: record.signer, name: record.body.name)
        nextReview = Instant(nanoseconds: .min)
        if wanted[name] != nil {
            wanted[name]?.requested = nil
        } else if record.signer == node, !record.envelope.isTombstone, !dropped.contains(name) {
            dropped.append(name)
        }
    }

    /// Somebody who shares the key contradicted our record: say it again, above both.
    package mutating func contradicted(_ key: RecordKey) {
        for (index, entry) in wanted.values.enumerated() where entry.signed?.key == key {
            wanted.values[index].requested = nil
            nextReview = Instant(nanoseconds: .min)
        }
    }

    /// Gossip did not take our record, or threw it out for others: it is not known to anybody, so nothing may rest on
    /// it, and it is said again later.
    package mutating func evicted(_ key: RecordKey, now: Instant) {
        for (index, entry) in wanted.values.enumerated() where entry.signed?.key == key {
            wanted.values[index].signed = nil
            wanted.values[index].requestedAt = now.advanced(byMilliseconds: Limits.evictedRetryMs - entry.refreshMs)
            nextReview = min(nextReview, now.advanced(byMilliseconds: Limits.evictedRetryMs))
        }
    }

    /// What the last run published and this one does not want: a provider that was removed while the record could
    /// not be buried.
    package mutating func dropAdopted() {
        for name in adopted.keys where wanted[name] == nil { drop(name) }
        adopted = [:]
    }

    /// What needs a signature now, at most so many; the rest stays due.
    package mutating func due(now: Instant, atMost limit: Int) -> [SigningRequest] {
        guard now >= nextReview else { return [] }
        var requests = dropped.prefix(limit).map { name in
            var tombstone = Aisbf_Mesh_V1_Tombstone()
            tombstone.name = name.name.protobuf
            return SigningRequest(
                type: name.type, signer: name.signer, name: name.name, body: RecordBody.bytes(of: tombstone),
                lifeMs: name.type.maximumLifeMs, isTombstone: true)
        }
        dropped.removeFirst(requests.count)
        var waiting = Instant(nanoseconds: .max)
        for (index, (name, entry)) in wanted.elements.enumerated() {
            let age = now.milliseconds(since: entry.requestedAt)
            let isChanged = entry.requested != entry.body
            guard isChanged || age >= entry.refreshMs else { continue }
            // What there is no room for is looked at again with the next batch.
            guard requests.count < limit else { return requests }
            // A worker that changes its models all the time must not keep the mesh busy.
            if isChanged, entry.requested != nil {
                let left = min(entry.changesLeft + age / Limits.recordIntervalMs, Limits.recordChangesAtOnce)
                guard left > 0 else {
                    waiting = min(waiting, entry.requestedAt.advanced(byMilliseconds: Limits.recordIntervalMs))
                    continue
                }
                wanted.values[index].changesLeft = left - 1
            }
            wanted.values[index].requested = entry.body
            wanted.values[index].requestedAt = now
            requests.append(
                SigningRequest(
                    type: name.type, signer: name.signer, name: name.name, body: entry.body, lifeMs: entry.lifeMs,
                    isTombstone: false))
        }
        nextReview = min(
            waiting,
            wanted.values.map { $0.requestedAt.advanced(byMilliseconds: $0.refreshMs) }.min() ?? waiting)
        return requests
    }

    package var nextDeadline: Instant { nextReview }
}
