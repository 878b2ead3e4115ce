import MeshExchange
import MeshModel
import MeshRouting
import Synchronization

/// A place that a pool has chosen: tells the pool what becomes of the attempt, exactly once.
final class PooledPlace: Place, AttemptAccount {
    private enum Phase {
        case chosen
        case asked(PoolAttempt)
        case over
    }

    private struct State {
        var phase = Phase.chosen
        var tried: PoolRequest.Tried?
        var failure: (fault: Fault, words: String)?
    }

    let member: String
    /// Tokens of its window, where that is known.
    let window: Int?
    private let place: any Place
    private let market: Market
    private let pool: PoolID
    private let pick: PoolPick
    private let here: PublicKey
    private let state = Mutex(State())

    init(
        _ place: any Place, of member: String, window: Int?, market: Market, pool: PoolID, pick: PoolPick,
        here: PublicKey
    ) {
        self.place = place
        self.member = member
        self.window = window
        self.market = market
        self.pool = pool
        self.pick = pick
        self.here = here
    }

    /// Whoever lets go of it without a word must not leave it counted as under way.
    deinit {
        switch state.withLock({ $0.phase }) {
        case .chosen: market.dropped(pool, pick)
        case .asked(let attempt): market.ended(pool, attempt, .cancelled, member)
        case .over: break
        }
    }

    var provider: CatalogProvider { place.provider }
    var model: String? { place.model }
    var node: PublicKey? { place.node }
    var worker: String? { place.worker }

    /// Where the attempt was made, when it has been.
    var tried: PoolRequest.Tried? { state.withLock { $0.tried } }
    var failure: (fault: Fault, words: String)? { state.withLock { $0.failure } }

    /// The pool decides who is asked again.
    func isSame(as other: any Place) -> Bool { (other as? PooledPlace) === self }

    func begin(_ request: WorkRequest, attempt: Int, receiver: any AnswerReceiver) -> any AttemptHandle {
        let turn = market.began(pool, pick, at: place.node ?? here)
        state.withLock { $0.phase = .asked(turn) }
        let handle = place.begin(request, attempt: attempt, receiver: AccountedReceiver(receiver, self))
        return AccountedHandle(handle: handle, account: self)
    }

    func failed(_ failure: Attempts.Failure, now: Instant) {
        place.failed(failure, now: now)
        let fault = Fault(failure)
        let words =
            switch failure {
            case .error(let error): error.message
            case .refusal(let status, _): "status \(status)"
            case .overflow: "the prompt is too long for it"
            }
        state.withLock { state in
            state.failure = (fault, words)
            if case .asked(let attempt) = state.phase { state.tried = attempt.tried(fault) }
        }
        ended(.failed(fault))
    }

    func answers(now: Instant) {
        place.answers(now: now)
        let attempt = state.withLock { state -> PoolAttempt? in
            if case .asked(let attempt) = state.phase { attempt } else { nil }
        }
        guard var attempt else { return }
        market.answered(pool, &attempt, member)
        state.withLock { state in if case .asked = state.phase { state.phase = .asked(attempt) } }
    }

    func ended(_ outcome: PoolOutcome) {
        let attempt = state.withLock { state -> PoolAttempt? in
            guard case .asked(let attempt) = state.phase else { return nil }
            state.phase = .over
            return attempt
        }
        if let attempt { market.ended(pool, attempt, outcome, member) }
    }
}
