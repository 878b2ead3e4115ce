package import MeshModel
package import MeshSessions
import Synchronization

/// How a worker's session ended, kept for its seller.
package struct SessionEnd: Hashable, Sendable {
    package enum Cause: Hashable, Sendable {
        /// This node closed it.
        case node(CloseReason)
        /// The worker closed it, with this code where it gave one (RFC 6455, section 7.4.1).
        case worker(code: UInt16?)
        /// The socket ended without a word.
        case lost
    }

    package var clientID: String
    package var at: Timestamp
    package var cause: Cause

    package var code: UInt16? {
        switch cause {
        case .node(let reason): reason.code
        case .worker(let code): code
        case .lost: nil
        }
    }

    package var reason: String {
        switch cause {
        case .node(let reason): reason.rawValue
        case .worker: "closed by the worker"
        case .lost: "connection lost"
        }
    }
}

/// The last ends of each provider's sessions here: why a worker is away is the first thing its seller asks.
final class SessionEnds: Sendable {
    private let ends = Mutex<[RecordKey: [SessionEnd]]>([:])

    func add(_ end: SessionEnd, of provider: RecordKey) {
        ends.withLock { ends in
            // A full table starts over: it is a help for people and no record.
            if ends[provider] == nil, ends.count >= Limits.sessionEndProviders { ends = [:] }
            var known = ends[provider] ?? []
            if known.count >= Limits.sessionEndsKept { known.removeFirst() }
            known.append(end)
            ends[provider] = known
        }
    }

    /// The newest last.
    func of(_ provider: RecordKey) -> [SessionEnd] { ends.withLock { $0[provider] ?? [] } }
}
