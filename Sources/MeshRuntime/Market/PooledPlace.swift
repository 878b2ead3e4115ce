import MeshExchange
import MeshModel
import MeshRouting
import NIOCore
import Synchronization

/// A place that a pool has chosen: tells the pool what becomes of the attempt, exactly once.
final class PooledPlace: Place {
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
    private let place: any Place
    private let market: Market
    private let pool: PoolID
    private let pick: PoolPick
    private let here: PublicKey
    private let state = Mutex(State())

    init(
        _ place: any Place, of member: String, market: Market, pool: PoolID, pick: PoolPick, here: PublicKey
    ) {
        self.place = place
        self.member = member
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
        let handle = place.begin(request, attempt: attempt, receiver: PooledReceiver(receiver, self))
        return PooledHandle(handle: handle, place: self)
    }

    func failed(_ failure: Attempts.Failure, now: Instant) {
        place.failed(failure, now: now)
        let fault = Fault(failure)
        let words =
            switch failure {
            case .error(let error): error.message
            case .refusal(let status, _): "status \(status)"
            }
        state.withLock { state in
            state.failure = (fault, words)
            if case .asked(let attempt) = state.phase { state.tried = attempt.tried(fault) }
        }
        end(.failed(fault))
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

    fileprivate func heard(_ parts: [AnswerPart]) {
        for part in parts {
            switch part {
            case .pending, .head, .bytes: break
            case .end: end(.served)
            // Before content the exchange has judged it by now, and this comes too late.
            case .fail(let error): end(.failed(Fault(error)))
            }
        }
    }

    fileprivate func end(_ outcome: PoolOutcome) {
        let attempt = state.withLock { state -> PoolAttempt? in
            guard case .asked(let attempt) = state.phase else { return nil }
            state.phase = .over
            return attempt
        }
        if let attempt { market.ended(pool, attempt, outcome, member) }
    }
}

/// Listens to an attempt's answer behind its receiver, who judges it.
private final class PooledReceiver: AnswerReceiver {
    let eventLoop: any EventLoop
    private let receiver: any AnswerReceiver
    private let place: PooledPlace

    init(_ receiver: any AnswerReceiver, _ place: PooledPlace) {
        self.receiver = receiver
        self.place = place
        eventLoop = receiver.eventLoop
    }

    func receive(_ parts: [AnswerPart]) {
        receiver.receive(parts)
        place.heard(parts)
    }
}

/// Steers the attempt, and notices when it is given up.
private struct PooledHandle: AttemptHandle {
    let handle: any AttemptHandle
    let place: PooledPlace

    func cancel() {
        place.end(.cancelled)
        handle.cancel()
    }
    func expire() {
        place.end(.failed(.timeout))
        handle.expire()
    }
    func pause() { handle.pause() }
    func resume() { handle.resume() }
    func consumed(_ count: Int) { handle.consumed(count) }
}
