internal import DequeModule
internal import MeshModel
internal import MeshWire

extension Gossip {
    /// One established link.
    struct Link: Sendable {
        struct PendingPush: Sendable {
            var record: VerifiedRecord
            var hops: UInt32
        }

        let id: LinkID
        let peer: PublicKey
        let dialled: Bool
        let address: String?
        let since: Instant
        /// Dialled for one reconciliation only; closed at this moment.
        var transientUntil: Instant?
        /// The peer dialled again, and by now has closed the link it does not want.
        var supersededUntil: Instant?
        var isDraining = false
        var rejects: Deque<Instant> = []
        var known = RecentVersions()
        var pushes: [PendingPush] = []
        var announcements: [RecordSummary] = []
        var announceDue: Instant?
        /// Rounds this node opened, and those the peer opened.
        var opened: SyncRound?
        var answered: SyncRound?
        var syncDue: Instant?
        private var frames: TokenBucket
        private var records: TokenBucket
        private var bytes: TokenBucket
        private var rounds: TokenBucket
        private var checks: TokenBucket
        private var compared: TokenBucket
        private var sentRecords: TokenBucket
        private var sentBytes: TokenBucket

        init(id: LinkID, peer: PublicKey, dialled: Bool, address: String?, now: Instant) {
            self.id = id
            self.peer = peer
            self.dialled = dialled
            self.address = address
            since = now
            func bucket(_ rate: Int, burstSeconds: Int = Limits.linkBurstSeconds) -> TokenBucket {
                TokenBucket(ratePerSecond: rate, burst: rate * burstSeconds, now: now)
            }
            frames = bucket(Limits.linkFramesPerSecond)
            records = bucket(Limits.linkRecordsPerSecond)
            bytes = bucket(Limits.linkBytesPerSecond)
            rounds = bucket(Limits.linkRoundsPerSecond)
            compared = bucket(Limits.linkComparisonsPerSecond)
            checks = bucket(Limits.linkSignatureChecksPerSecond)
            // We send slower than a peer has to bear, so that an honest node is never throttled.
            sentRecords = bucket(Limits.linkRecordsPerSecond * 3 / 4, burstSeconds: Limits.linkBurstSeconds - 1)
            sentBytes = bucket(Limits.linkBytesPerSecond * 3 / 4, burstSeconds: Limits.linkBurstSeconds - 1)
        }

        var nextDeadline: Instant? {
            var earliest: Instant?
            for deadline in [transientUntil, supersededUntil, announceDue, syncDue, opened?.ends, answered?.ends] {
                if let deadline { earliest = min(earliest ?? deadline, deadline) }
            }
            return earliest
        }

        /// Charges a frame to the peer, whether it is then handled or passed over: who sends on while in debt goes
        /// further into it.
        mutating func charge(_ message: GossipMessage, _ now: Instant) -> TokenBucket.Charge {
            let seconds = Limits.linkFloodSeconds
            var charge = frames.charge(1, now: now, debtSeconds: seconds)
                .joined(bytes.charge(message.weight, now: now, debtSeconds: seconds))
            switch message {
            case .push, .syncRecords, .peers:
                charge = charge.joined(records.charge(message.recordCount, now: now, debtSeconds: seconds))
            case .syncOpen: charge = charge.joined(rounds.charge(1, now: now, debtSeconds: seconds))
            case .announce, .want, .syncRanges, .syncNeed, .drain, .goodbye: break
            }
            return charge
        }

        mutating func takeCheck(_ now: Instant) -> Bool { checks.take(1, now: now) }

        /// Whether `count` records may be hashed to answer the peer.
        mutating func takeComparison(of count: Int, _ now: Instant) -> Bool { compared.take(count, now: now) }

        /// Whether a record that can wait may be sent now.
        mutating func maySend(bytes count: Int, _ now: Instant) -> Bool {
            guard sentRecords.take(1, now: now) else { return false }
            return sentBytes.take(count, now: now)
        }

        /// Whether a record that should not wait may be sent now: not when so much is owed that the peer would count
        /// it as a flood.
        mutating func maySendUrgently(_ now: Instant) -> Bool {
            !sentRecords.isExhausted(now) && !sentBytes.isExhausted(now)
        }

        /// Bytes of lists that may go now.
        mutating func sendable(_ now: Instant) -> Int { sentBytes.available(now) }

        /// Counts what went besides records.
        mutating func didSend(listBytes count: Int, _ now: Instant) { sentBytes.force(count, now: now) }

        /// Counts a record that cannot wait.
        mutating func didSend(bytes count: Int, _ now: Instant) {
            sentRecords.force(1, now: now)
            sentBytes.force(count, now: now)
        }
    }

    /// A reconciliation in progress.
    struct SyncRound: Sendable {
        var round: UInt64
        var ownSalt: Bytes16
        var peerSalt: Bytes16?
        var ends: Instant
        var steps = 0
        /// Records moved, so another round may find more.
        var isDirty = false
    }

    /// What a peer is known to have: a bounded memory, oldest forgotten first.
    struct RecentVersions: Sendable {
        private var versions: [RecordKey: RecordVersion] = [:]
        private var order: Deque<RecordKey> = []

        mutating func note(_ key: RecordKey, _ version: RecordVersion) {
            if let known = versions[key] {
                if version > known { versions[key] = version }
                return
            }
            if order.count >= Limits.linkKnownRecords, let oldest = order.popFirst() { versions[oldest] = nil }
            versions[key] = version
            order.append(key)
        }

        func has(_ key: RecordKey, _ version: RecordVersion) -> Bool {
            versions[key].map { $0 >= version } ?? false
        }
    }

    /// A peer that sent too much that was wrong.
    struct Block: Sendable {
        var until: Instant
        var strikes: Int
    }
}
