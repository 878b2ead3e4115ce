import MeshExchange
import MeshModel
import MeshRouting
import NIOCore
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
                let key = PolicyMarket.Key(
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
final class PolicyPlace: Place {
    private enum Phase {
        case chosen, asked, over
    }

    private let place: any Place
    private let key: PolicyMarket.Key
    private let market: PolicyMarket
    private let state = Mutex((phase: Phase.chosen, began: Instant(nanoseconds: 0)))

    init(_ place: any Place, _ key: PolicyMarket.Key, _ market: PolicyMarket) {
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
        return PolicyHandle(
            handle: place.begin(request, attempt: attempt, receiver: PolicyReceiver(receiver, self)), place: self)
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

    fileprivate func broke(_ fault: Fault) {
        guard end() else { return }
        market.failed(key, fault)
    }

    @discardableResult
    fileprivate func end() -> Bool {
        let wasAsked = state.withLock { state in
            defer { state.phase = .over }
            return state.phase == .asked
        }
        if wasAsked { market.ended(key) }
        return wasAsked
    }
}

private final class PolicyReceiver: AnswerReceiver {
    let eventLoop: any EventLoop
    private let receiver: any AnswerReceiver
    private let place: PolicyPlace

    init(_ receiver: any AnswerReceiver, _ place: PolicyPlace) {
        self.receiver = receiver
        self.place = place
        eventLoop = receiver.eventLoop
    }

    func receive(_ parts: [AnswerPart]) {
        receiver.receive(parts)
        for part in parts {
            switch part {
            case .pending, .head, .bytes: break
            case .end: place.end()
            case .fail(let error): place.broke(Fault(error))
            }
        }
    }
}

private struct PolicyHandle: AttemptHandle {
    let handle: any AttemptHandle
    let place: PolicyPlace

    func cancel() {
        place.end()
        handle.cancel()
    }
    func expire() {
        place.broke(.timeout)
        handle.expire()
    }
    func pause() { handle.pause() }
    func resume() { handle.resume() }
    func consumed(_ count: Int) { handle.consumed(count) }
}
