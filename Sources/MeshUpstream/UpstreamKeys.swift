import MeshExchange
import MeshModel
import Synchronization

/// The keys of one backend, for requests that run at the same time.
package final class UpstreamKeys: Sendable {
    struct Turn: Sendable {
        var number: Int
        var text: String?
    }

    private let texts: [String]
    private let ring: Mutex<KeyRing>

    /// - Parameter holdsBack: whether nobody is asked while all keys are known to be refused.
    package init(_ texts: [String], holdsBack: Bool) {
        self.texts = texts
        ring = Mutex(KeyRing(count: texts.count, holdsBack: holdsBack))
    }

    /// How many turns there are.
    package var count: Int { max(texts.count, 1) }

    /// What must not be in anybody's words.
    var secrets: [String] { texts }

    /// How the keys stand, in their order; without any key, the one turn there is.
    package var standings: [KeyRing.Standing] { ring.withLock { $0.standings(now: SystemClock.instant) } }

    /// The key for a request.
    /// - Throws: what the upstream said of all keys, when it is not to be asked.
    func turn() throws(BackendFailure) -> Turn {
        let turn = ring.withLock { $0.turn(now: SystemClock.instant) }
        switch turn {
        case .ask(let number): return key(number)
        case .refuse(let failure): throw failure
        }
    }

    /// The key for a look at what there is, which is nobody's turn.
    var look: Turn { key(ring.withLock { $0.look(now: SystemClock.instant) }) }

    func other(than number: Int) -> Turn? {
        ring.withLock { $0.other(than: number, now: SystemClock.instant) }.map(key)
    }

    private func key(_ number: Int) -> Turn {
        Turn(number: number, text: texts.indices.contains(number) ? texts[number] : nil)
    }

    func answered(_ number: Int) { ring.withLock { $0.answered(number) } }

    /// What an error status says of the key it was asked with.
    func judged(_ refusal: SellerRefusal, _ number: Int, _ failure: BackendFailure) {
        ring.withLock { ring in
            switch refusal {
            case .credentials, .billing: ring.refused(number, failure, now: SystemClock.instant)
            case .limited(let seconds):
                ring.limited(number, retryAfterSeconds: seconds, now: SystemClock.instant)
            case .denied: break
            }
        }
    }
}
