import MeshModel
import MeshTransport
import Synchronization

/// Requests that wait for a link to be made.
final class LinkWaiters: Sendable {
    struct Ticket: Sendable {
        let node: PublicKey
        let number: UInt64
        /// Nobody else waits for this node: somebody has to ask for the link.
        let isFirst: Bool
    }

    private struct State {
        var last: UInt64 = 0
        var count = 0
        var waiting: [PublicKey: [(number: UInt64, body: @Sendable (Link?) -> Void)]] = [:]
    }

    private let state = Mutex(State())

    /// - Returns: nil when `Limits.reachWaiters` wait already.
    func wait(for node: PublicKey, _ body: @escaping @Sendable (Link?) -> Void) -> Ticket? {
        state.withLock { state in
            guard state.count < Limits.reachWaiters else { return nil }
            state.count += 1
            state.last += 1
            state.waiting[node, default: []].append((state.last, body))
            return Ticket(node: node, number: state.last, isFirst: state.waiting[node]?.count == 1)
        }
    }

    /// There is a link to `node`; nil: there will be none now.
    func reached(_ node: PublicKey, _ link: Link?) {
        let waiting = state.withLock { state in
            let waiting = state.waiting.removeValue(forKey: node) ?? []
            state.count -= waiting.count
            return waiting
        }
        for waiter in waiting { waiter.body(link) }
    }

    func expire(_ ticket: Ticket) {
        let body = state.withLock { state -> (@Sendable (Link?) -> Void)? in
            guard let index = state.waiting[ticket.node]?.firstIndex(where: { $0.number == ticket.number }) else {
                return nil
            }
            state.count -= 1
            let body = state.waiting[ticket.node]?.remove(at: index).body
            if state.waiting[ticket.node]?.isEmpty == true { state.waiting[ticket.node] = nil }
            return body
        }
        body?(nil)
    }
}
