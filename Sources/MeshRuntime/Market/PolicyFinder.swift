import MeshExchange
import MeshModel
import MeshRouting
import Synchronization

/// The places that a policy chooses for one request.
struct PolicyFinder: PlaceFinder {
    let market: PolicyMarket
    let dispatcher: Dispatcher
    let wish: PolicyMarket.Wish
    let need: WorkerNeed
    let asker: Asker
    let node: PublicKey

    func find(_ found: @escaping @Sendable ([any Place]) -> Void) {
        let candidates = market.decide(wish, need.endpoint, for: asker.principal)
        found(
            candidates.compactMap { candidate in
                var need = need
                need.model = candidate.model
                let places = dispatcher.places(candidate.route, need, for: asker)
                guard let place = places.first(where: { ($0.node ?? node) == candidate.node.key }) else { return nil }
                let key = CandidateKey(
                    provider: candidate.provider.key, node: candidate.node.key, model: candidate.model)
                return PolicyPlace(place, key, market)
            })
    }

    /// Why each candidate was passed over, counted.
    func none() -> MeshError {
        let (chosen, excluded) = market.explain(wish, need.endpoint, for: asker.principal)
        guard chosen.isEmpty, !excluded.isEmpty else {
            return MeshError(
                .modelNotFound,
                "no provider that this key may use has a model for this; GET /v1/models lists what there is",
                parameter: "model")
        }
        let told = Exclusion.allCases.compactMap { reason -> String? in
            // Whom the caller may not use is none of theirs.
            guard reason != .unauthorised else { return nil }
            let count = excluded.count { $0.1 == reason }
            return count == 0 ? nil : "\(count) \(reason.rawValue)"
        }
        let mayPass = excluded.contains { $0.1.passes }
        let words = told.isEmpty ? "" : " (passed over: \(told.joined(separator: ", ")))"
        let isUnoffered = excluded.allSatisfy { $0.1 == .endpoint }
        return MeshError(
            mayPass ? .workerUnavailable : isUnoffered ? .endpointNotOffered : .modelNotFound,
            "'\(wish.name.cut(toUTF8Bytes: 128))' leaves nobody for this request\(words)",
            parameter: mayPass ? nil : "model", retryAfterSeconds: mayPass ? 2 : nil)
    }
}

/// A place that a policy has chosen: tells the market what becomes of it.
final class PolicyPlace: Place, AttemptAccount {
    private enum Phase {
        case chosen, asked, over
    }

    private let place: any Place
    private let key: CandidateKey
    private let market: PolicyMarket
    private let state = Mutex((phase: Phase.chosen, began: Instant(nanoseconds: 0)))

    init(_ place: any Place, _ key: CandidateKey, _ market: PolicyMarket) {
        self.place = place
        self.key = key
        self.market = market
    }

    deinit { end() }

    var provider: CatalogProvider { place.provider }
    var model: String? { place.model }
    var node: PublicKey? { place.node }
    var worker: String? { place.worker }

    func isSame(as other: any Place) -> Bool { (other as? PolicyPlace).map { $0.place.isSame(as: place) } ?? false }

    func begin(_ request: WorkRequest, attempt: Int, receiver: any AnswerReceiver) -> any AttemptHandle {
        state.withLock { $0 = (.asked, SystemClock.instant) }
        market.began(key)
        return AccountedHandle(
            handle: place.begin(request, attempt: attempt, receiver: AccountedReceiver(receiver, self)), account: self)
    }

    func failed(_ failure: Attempts.Failure, now: Instant) {
        place.failed(failure, now: now)
        market.failed(key, Fault(failure))
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
