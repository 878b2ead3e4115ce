import MeshExchange
import MeshModel
import MeshRouting
import NIOCore
import Synchronization

/// Finds one request's places by a policy, one after the other: each is chosen by what is known once the others have
/// failed. Lives on its exchange's event loop.
final class PolicyFinder: PlaceFinder {
    private struct State {
        /// Those that were handed out, in their order.
        var found: [PolicyPlace] = []
        /// The largest window that the prompt was said to be too long for.
        var exceeded: UInt32 = 0
        /// Whether somebody was chosen who is not there: the catalog has not heard of it yet.
        var hasLeft = false
        /// When those are asked again who had no free place, where nobody else is left: later each time.
        var fullAgain: Instant?
    }

    let looking = ExchangeStateMachine.Looking.always
    let mayOutgrow = true
    let attempts: Int
    /// Those of them that cost something.
    private let mayAsk: Int
    private let market: PolicyMarket
    private let dispatcher: Dispatcher
    private let wish: PolicyMarket.Wish
    private let need: WorkerNeed
    private let asker: Asker
    private let node: PublicKey
    /// Nil where nobody waits.
    private let hold: Hold?
    private let state: NIOLoopBoundBox<State>

    init(
        market: PolicyMarket, dispatcher: Dispatcher, wish: PolicyMarket.Wish, need: WorkerNeed, asker: Asker,
        node: PublicKey, eventLoop: any EventLoop
    ) {
        self.market = market
        self.dispatcher = dispatcher
        self.wish = wish
        self.need = need
        self.asker = asker
        self.node = node
        let asked = wish.preferences?.mayFallBack ?? true ? Limits.forwardAttempts : 1
        mayAsk = asked
        attempts = AttemptCost.places(asked)
        hold = dispatcher.holding.map { Hold($0.holds, eventLoop: eventLoop) }
        state = NIOLoopBoundBox(State(), eventLoop: eventLoop)
    }

    var waited: QueueWait? { hold?.wait }

    func mayRepeat() -> Bool { dispatcher.mayRepeat() }
    func leave() { hold?.end() }

    func find(_ found: @escaping @Sendable ([any Place]) -> Void) {
        if let latest = state.value.found.last, latest.isOutgrown, let window = latest.window {
            state.value.exceeded = max(state.value.exceeded, window)
        }
        learnFull()
        guard AttemptCost.spent(state.value.found.lazy.compactMap(\.cost)) < mayAsk else { return found([]) }
        if let place = next() { return take(place, found) }
        guard isWorthWaiting, hold?.wait(for: wish.name, look: { [self] in look(found) }) ?? false else {
            return found([])
        }
    }

    /// Whoever has no free place has done nothing and may have one in a moment, at another node where nobody here hears of it.
    private func learnFull() {
        let times = state.value.found.count { $0.cost == .full }
        guard state.value.found.last?.cost == .full, times <= Limits.poolFullAttempts else { return }
        let waitMs = min(Limits.poolFullMs << Int64(times - 1), Limits.poolFullLongestMs)
        state.value.fullAgain = SystemClock.instant.advanced(byMilliseconds: waitMs)
    }

    private func take(_ place: PolicyPlace, _ found: @Sendable ([any Place]) -> Void) {
        state.value.found.append(place)
        found([place])
    }

    /// Somebody may have come, or be back.
    private func look(_ found: @Sendable ([any Place]) -> Void) {
        guard let hold, hold.isWaiting else { return }
        let place = next()
        if place == nil, isWorthWaiting { return }
        hold.leave()
        if let place { take(place, found) } else { found([]) }
    }

    private func next() -> PolicyPlace? {
        // Of the first ones nearly always one answers.
        let limit = state.value.found.isEmpty ? Limits.forwardAttempts : Limits.policyChoices
        let candidates = market.decide(
            wish, need.endpoint, for: asker.principal, exceeded: state.value.exceeded, limit: limit)
        let place =
            place(among: candidates, isSecondTurn: false) ?? place(among: candidates, isSecondTurn: true)
            ?? full(among: candidates)
        let found = state.value.found
        state.value.hasLeft = place == nil && candidates.contains { new in !found.contains { $0.key == new.key } }
        return place ?? leastBad()
    }

    /// One that had no free place a while ago.
    private func full(among candidates: [PolicyCandidate]) -> PolicyPlace? {
        guard let due = state.value.fullAgain, due <= SystemClock.instant else { return nil }
        let found = state.value.found
        let full = candidates.filter { candidate in found.last { $0.key == candidate.key }?.cost == .full }
        guard let place = full.firstResult({ self.places($0).first }) else { return nil }
        state.value.fullAgain = nil
        return place
    }

    private func places(_ candidate: PolicyCandidate) -> [PolicyPlace] {
        var need = need
        need.model = candidate.model
        return dispatcher.places(candidate.route, need, at: candidate.node.key, here: node, for: asker)
            .map { PolicyPlace($0, candidate.key, window: candidate.contextTokens, market) }
    }

    /// Whether somebody may be back before it has waited long enough.
    private var isWorthWaiting: Bool {
        guard let hold, let soonest, SystemClock.instant < hold.deadline else { return false }
        return soonest < hold.deadline
    }

    /// When the first is back who would do.
    private var soonest: Instant? {
        if state.value.hasLeft { return SystemClock.instant }
        let back = market.soonest(
            wish, need.endpoint, for: asker.principal, exceeded: state.value.exceeded,
            asked: state.value.found.map(\.key))
        return [back, state.value.fullAgain].compactMap(\.self).min()
    }

    /// Nobody else is left.
    private func leastBad() -> PolicyPlace? {
        let candidate = market.leastBad(
            wish, need.endpoint, for: asker.principal, exceeded: state.value.exceeded,
            asked: state.value.found.map(\.key))
        return candidate.flatMap { place(among: [$0], isSecondTurn: false) }
    }

    /// The best candidate's place. One that was asked already has its second turn when all others had theirs, with
    /// another of its workers.
    private func place(among candidates: [PolicyCandidate], isSecondTurn: Bool) -> PolicyPlace? {
        let found = state.value.found
        for candidate in candidates {
            let key = candidate.key
            guard found.contains(where: { $0.key == key }) == isSecondTurn else { continue }
            if let new = places(candidate).first(where: { place in !found.contains { $0.isAt(place) } }) { return new }
        }
        return nil
    }

    func none() -> MeshError {
        let (chosen, excluded) = market.explain(wish, need.endpoint, for: asker.principal)
        var error = wish.nobody(passedOver: chosen.isEmpty ? excluded.map(\.1) : [])
        guard error.code != .contextOverflow, let soonest else { return error }
        if error.code != .workerUnavailable {
            error = MeshError(
                .workerUnavailable,
                "nobody whom '\(wish.name.cut(toUTF8Bytes: 128))' may choose is there now; one has just left, try again shortly"
            )
        }
        error.retryAfterSeconds = PoolExhaustion.seconds(inMs: soonest.milliseconds(since: SystemClock.instant))
        return error
    }
}

extension PolicyMarket.Wish {
    /// Why each candidate was passed over, counted.
    func nobody(passedOver: [Exclusion]) -> MeshError {
        guard !passedOver.isEmpty else {
            return MeshError(
                .modelNotFound,
                "no provider that this key may use has a model for this; GET /v1/models lists what there is",
                parameter: "model")
        }
        let told = Exclusion.allCases.compactMap { reason -> String? in
            // Whom the caller may not use is none of theirs.
            guard reason != .unauthorised else { return nil }
            let count = passedOver.count { $0 == reason }
            return count == 0 ? nil : "\(count) \(reason.rawValue)"
        }
        // A program that is told so sends less; one that is told of an unknown model does not.
        if outgrows(passedOver) {
            return MeshError(
                .contextOverflow,
                "the prompt of about \(facts.tokens) tokens is longer than the window of every model that '\(name.cut(toUTF8Bytes: 128))' may choose"
            )
        }
        let mayPass = passedOver.contains(where: \.passes)
        let words = told.isEmpty ? "" : " (passed over: \(told.joined(separator: ", ")))"
        let isUnoffered = passedOver.allSatisfy { $0 == .endpoint }
        return MeshError(
            mayPass ? .workerUnavailable : isUnoffered ? .endpointNotOffered : .modelNotFound,
            "'\(name.cut(toUTF8Bytes: 128))' leaves nobody for this request\(words)",
            parameter: mayPass ? nil : "model", retryAfterSeconds: mayPass ? 2 : nil)
    }
}

extension PolicyMarket.Wish {
    /// Whether the prompt alone is why nobody is left: a policy may ask for a window of its own, too.
    private func outgrows(_ passedOver: [Exclusion]) -> Bool {
        let others = passedOver.filter { $0 != .unauthorised }
        let least = max(policy.rules.leastContext, preferences?.rules.leastContext ?? 0)
        return least == 0 && facts.tokens > 0 && !others.isEmpty && others.allSatisfy { $0 == .context }
    }
}

/// A place that a policy has chosen: tells the market what becomes of it.
final class PolicyPlace: Place, AttemptAccount {
    private enum Phase {
        case chosen, asked, over
    }

    private struct State {
        var phase = Phase.chosen
        var began = Instant(nanoseconds: 0)
        var cost: AttemptCost?
    }

    let key: CandidateKey
    /// Tokens of its window, where that is known.
    let window: UInt32?
    private let place: any Place
    private let market: PolicyMarket
    private let state = Mutex(State())

    init(_ place: any Place, _ key: CandidateKey, window: UInt32?, _ market: PolicyMarket) {
        self.place = place
        self.key = key
        self.window = window
        self.market = market
    }

    deinit { end() }

    var provider: CatalogProvider { place.provider }
    var model: String? { place.model }
    var node: PublicKey? { place.node }
    var worker: String? { place.worker }
    /// What its failure has cost the request; nil where it has not failed.
    var cost: AttemptCost? { state.withLock { $0.cost } }
    /// Whether it said that the prompt is too long.
    var isOutgrown: Bool { cost == .overflow }

    func isAt(_ other: PolicyPlace) -> Bool { other.place.isSame(as: place) }

    /// Who had no free place has done nothing: the policy decides when it is asked again.
    func isSame(as other: any Place) -> Bool { cost != .full && (other as? PolicyPlace).map(isAt) ?? false }

    func begin(_ request: WorkRequest, attempt: Int, receiver: any AnswerReceiver) -> any AttemptHandle {
        state.withLock { state in
            state.phase = .asked
            state.began = SystemClock.instant
        }
        market.began(key)
        return AccountedHandle(
            handle: place.begin(request, attempt: attempt, receiver: AccountedReceiver(receiver, self)), account: self)
    }

    func failed(_ failure: Attempts.Failure, now: Instant) {
        place.failed(failure, now: now)
        let fault = Fault(failure)
        state.withLock { $0.cost = AttemptCost(fault) }
        market.failed(key, fault)
        end()
    }

    func answers(now: Instant) {
        place.answers(now: now)
        market.answered(key, afterMs: now.milliseconds(since: state.withLock { $0.began }))
    }

    func ended(_ outcome: PoolOutcome) {
        guard end(), case .failed(let fault) = outcome else { return }
        market.failed(key, fault)
    }

    @discardableResult
    private func end() -> Bool {
        let wasAsked = state.withLock { state in
            defer { state.phase = .over }
            return state.phase == .asked
        }
        if wasAsked { market.ended(key) }
        return wasAsked
    }
}
