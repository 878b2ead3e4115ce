internal import DequeModule
package import MeshModel

/// Who asked, and what the request was called by whoever asked.
package struct IdempotencyMark: Hashable, Sendable {
    package var owner: PublicKey
    /// A hash of the key: nobody needs the key itself.
    package var key: Bytes16

    package init(owner: PublicKey, key: Bytes16) {
        self.owner = owner
        self.key = key
    }
}

/// What was asked with an idempotency key, and what was answered: so that the same request, asked again, is not done again.
///
/// A mark is **under way** from `begin` to `end`; then its answer is **kept**, whole and within a bound, or it is **spent**:
/// something was done of which there is no answer to give; or it is forgotten, because nothing was done. Kept and spent ones
/// are forgotten after `Limits.idempotencyMs`, or earlier, the oldest of an owner first, when he has more than
/// `Limits.idempotencyKeysPerOwner`; when all answers together are too large, the oldest are spent. What is under way is
/// never forgotten.
///
/// Pure: it has no clock, and what an answer is it does not know.
package struct IdempotencyTable<Answer: Sendable>: Sendable {
    package struct Ticket: Hashable, Sendable {
        package let mark: IdempotencyMark
        fileprivate let number: UInt64
    }

    package enum Verdict: Sendable {
        /// It is to be done; then `end`.
        case first(Ticket)
        /// The same is being done.
        case underWay
        /// The same was done, and this was the answer.
        case kept(Answer)
        /// The same was done, and its answer is not there.
        case spent
        /// Something else was called so.
        case reused
        /// So many are being done that there is no room for one more.
        case full
    }

    package enum Ending: Sendable {
        case kept(Answer, bytes: Int)
        case spent
        /// Nothing was done.
        case forgotten
    }

    private enum Phase: Sendable {
        case underWay
        case kept(Answer, bytes: Int)
        case spent
    }

    private struct Entry: Sendable {
        var number: UInt64
        var fingerprint: Bytes32
        var phase: Phase
        var ended: Instant?
    }

    private let keys: Int
    private let keysPerOwner: Int
    private let bytes: Int
    private var entries: [IdempotencyMark: Entry] = [:]
    private var counts: [PublicKey: Int] = [:]
    /// Those that have ended, in that order. Some are forgotten by now.
    private var ended = Line()
    private var endedOfOwner: [PublicKey: Line] = [:]
    /// Those whose answers are kept.
    private var kept = Line()
    private var keptBytes = 0
    private var numbers: UInt64 = 0

    package init(
        keys: Int = Limits.idempotencyKeys, keysPerOwner: Int = Limits.idempotencyKeysPerOwner,
        bytes: Int = Limits.idempotencyBytes
    ) {
        self.keys = keys
        self.keysPerOwner = keysPerOwner
        self.bytes = bytes
    }

    package var count: Int { entries.count }
    package var heldBytes: Int { keptBytes }

    /// - Parameter fingerprint: of all that makes the request what it is.
    package mutating func begin(_ mark: IdempotencyMark, _ fingerprint: Bytes32, now: Instant) -> Verdict {
        expire(now)
        if let entry = entries[mark] {
            guard entry.fingerprint == fingerprint else { return .reused }
            return switch entry.phase {
            case .underWay: .underWay
            case .kept(let answer, _): .kept(answer)
            case .spent: .spent
            }
        }
        while counts[mark.owner, default: 0] >= keysPerOwner {
            guard let oldest = endedOfOwner[mark.owner]?.first(of: entries) else { return .full }
            forget(oldest.mark)
        }
        while entries.count >= keys {
            guard let oldest = ended.first(of: entries) else { return .full }
            forget(oldest.mark)
        }
        numbers += 1
        entries[mark] = Entry(number: numbers, fingerprint: fingerprint, phase: .underWay, ended: nil)
        counts[mark.owner, default: 0] += 1
        return .first(Ticket(mark: mark, number: numbers))
    }

    /// Once for each that was the first; later calls for the same change nothing.
    package mutating func end(_ ticket: Ticket, _ ending: Ending, now: Instant) {
        guard let entry = entries[ticket.mark], entry.number == ticket.number, case .underWay = entry.phase else {
            return
        }
        switch ending {
        case .forgotten:
            forget(ticket.mark)
            return
        case .spent: entries[ticket.mark]?.phase = .spent
        case .kept(let answer, let size):
            entries[ticket.mark]?.phase = .kept(answer, bytes: size)
            keptBytes += size
            kept.append(ticket, of: entries)
        }
        entries[ticket.mark]?.ended = now
        ended.append(ticket, of: entries)
        endedOfOwner[ticket.mark.owner, default: Line()].append(ticket, of: entries)
        makeRoom()
    }

    /// The oldest answers go; that they were given stays.
    private mutating func makeRoom() {
        while keptBytes > bytes, let oldest = kept.first(of: entries) {
            kept.removeFirst()
            guard case .kept(_, let size)? = entries[oldest.mark]?.phase else { continue }
            entries[oldest.mark]?.phase = .spent
            keptBytes -= size
        }
    }

    private mutating func expire(_ now: Instant) {
        while let oldest = ended.first(of: entries), let time = entries[oldest.mark]?.ended,
            now.milliseconds(since: time) >= Limits.idempotencyMs
        {
            forget(oldest.mark)
        }
    }

    private mutating func forget(_ mark: IdempotencyMark) {
        guard let entry = entries.removeValue(forKey: mark) else { return }
        if case .kept(_, let size) = entry.phase { keptBytes -= size }
        let left = counts[mark.owner, default: 1] - 1
        counts[mark.owner] = left == 0 ? nil : left
        if left == 0 { endedOfOwner[mark.owner] = nil }
    }

    /// Tickets in their order, some of which are forgotten by now.
    private struct Line: Sendable {
        private var tickets: Deque<Ticket> = []

        mutating func append(_ ticket: Ticket, of entries: [IdempotencyMark: Entry]) {
            if tickets.count > 2 * entries.count + Self.slack { tickets.removeAll { !Self.isCurrent($0, entries) } }
            tickets.append(ticket)
        }

        /// The oldest that is still what it stands here for.
        mutating func first(of entries: [IdempotencyMark: Entry]) -> Ticket? {
            while let oldest = tickets.first, !Self.isCurrent(oldest, entries) { tickets.removeFirst() }
            return tickets.first
        }

        mutating func removeFirst() { _ = tickets.popFirst() }

        private static func isCurrent(_ ticket: Ticket, _ entries: [IdempotencyMark: Entry]) -> Bool {
            entries[ticket.mark]?.number == ticket.number
        }

        private static var slack: Int { 64 }
    }
}
