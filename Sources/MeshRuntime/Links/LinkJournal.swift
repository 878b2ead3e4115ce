internal import DequeModule
package import MeshGossip
package import MeshModel
import Synchronization

/// What became of dials, and who asked for a link and was refused: for the operator, who has to know what to add where.
package final class LinkJournal: Sendable {
    /// How the last dial of an address ended.
    package struct Attempt: Hashable, Sendable {
        package var reason: LinkFailure
        /// The peer said so.
        package var byPeer: Bool
        package var at: Timestamp
    }

    /// A node that is not admitted here and asked for a link.
    package struct Knock: Hashable, Sendable {
        package var node: PublicKey
        package var operatorKey: PublicKey?
        package var remote: String
        package var first: Timestamp
        package var last: Timestamp
        package var count: Int
    }

    private struct State {
        var attempts: [String: Attempt] = [:]
        /// Addresses, the one tried longest ago first.
        var order: Deque<String> = []
        var logged: [String: Timestamp] = [:]
        var knocks: Deque<Knock> = []
        var refusals = Tally()
        /// Counted apart: a flood of sockets must not hide who asked to be admitted.
        var knocked = Tally()
    }

    /// Lines about connections that were refused: so many a minute, the others are counted.
    private struct Tally {
        var since = Timestamp(milliseconds: 0)
        var lines = 0
        var silent = 0

        mutating func next(_ now: Timestamp) -> Int? {
            if abs(now.milliseconds - since.milliseconds) >= Limits.linkRefusalWindowMs {
                since = now
                lines = 0
            }
            guard lines < Limits.linkRefusalLines else {
                silent += 1
                return nil
            }
            lines += 1
            defer { silent = 0 }
            return silent
        }
    }

    private let state = Mutex(State())

    package init() {}

    /// - Returns: whether it is worth a line in the log: another reason than the last time, or a while since then.
    func dialFailed(_ address: String, _ reason: LinkFailure, byPeer: Bool, at now: Timestamp) -> Bool {
        state.withLock { state in
            let last = state.attempts[address]
            if last == nil {
                if state.order.count >= Limits.linkAttemptsKept, let oldest = state.order.popFirst() {
                    state.attempts[oldest] = nil
                    state.logged[oldest] = nil
                }
                state.order.append(address)
            }
            state.attempts[address] = Attempt(reason: reason, byPeer: byPeer, at: now)
            let logged = state.logged[address]
            let isNews =
                last?.reason != reason || logged.map { now.milliseconds - $0.milliseconds >= Limits.linkNewsMs } ?? true
            if isNews { state.logged[address] = now }
            return isNews
        }
    }

    func linked(_ address: String) {
        state.withLock { state in
            state.attempts[address] = nil
            state.logged[address] = nil
            state.order.removeAll { $0 == address }
        }
    }

    package func attempt(_ address: String) -> Attempt? { state.withLock { $0.attempts[address] } }

    /// - Returns: whether it is worth a line in the log.
    func knocked(_ knock: LinkKnock, remote: String, at now: Timestamp) -> Bool {
        state.withLock { state in
            if let index = state.knocks.firstIndex(where: { $0.node == knock.node }) {
                var known = state.knocks.remove(at: index)
                let isNews = now.milliseconds - known.last.milliseconds >= Limits.linkNewsMs
                known.operatorKey = knock.operatorKey
                known.remote = remote
                known.last = now
                known.count += 1
                state.knocks.append(known)
                return isNews && state.knocked.next(now) != nil
            }
            if state.knocks.count >= Limits.linkKnocksKept { state.knocks.removeFirst() }
            state.knocks.append(
                Knock(
                    node: knock.node, operatorKey: knock.operatorKey, remote: remote, first: now, last: now, count: 1))
            return state.knocked.next(now) != nil
        }
    }

    /// The newest first.
    package var knocks: [Knock] { state.withLock { $0.knocks.reversed() } }

    /// Those who are let in now knock no more.
    package func forgetKnocks(where isAdmitted: (Knock) -> Bool) {
        state.withLock { $0.knocks.removeAll(where: isAdmitted) }
    }

    /// How many refusals were passed over since the last line, when this one may have a line.
    func mayLogRefusal(at now: Timestamp) -> Int? { state.withLock { $0.refusals.next(now) } }
}
