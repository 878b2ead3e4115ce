import MeshAccounting
import MeshExchange
package import MeshModel
import MeshRouting
import MeshWire
import NIOCore
import Synchronization

/// What is limited on the seller's side: what a provider answers, whoever asks, and what another node asks of this one. A
/// buyer hears of it as of any place that takes nothing now: others are asked.
enum SellerQuota {
    /// `owner/provider` at its home, its full name elsewhere.
    static func subject(_ provider: CatalogProvider, at node: PublicKey) -> QuotaSubject {
        let isHome = provider.homeNode == node
        return QuotaSubject(
            .provider, isHome ? "\(provider.scope.username)/\(provider.providerID)" : provider.fullName)
    }

    /// Lets a request in at `subjects`; nil where none of them has a quota.
    static func admit(
        _ request: WorkRequest, of provider: CatalogProvider, model: String?, for subjects: [QuotaSubject],
        _ quotas: Quotas
    ) throws(MeshError) -> SellerAdmission? {
        guard let needs = quotas.needs(subjects) else { return nil }
        let prices = provider.prices[model: model ?? ""]
        var estimate = QuotaEstimate.nothing
        if needs.tokens {
            let facts = request.content.facts
            estimate = QuotaEstimate(
                prompt: facts.tokens, answer: facts.longestAnswer, answers: request.need.answersText,
                prices: needs.money ? prices.map { [$0] } ?? [] : [])
        }
        let asked = QuotaRequest(address: nil, route: request.need.route, models: [[model ?? ""]])
        switch quotas.admit(asked, estimate, for: subjects) {
        case .success(let admission): return admission.map { SellerAdmission($0, request, prices) }
        case .failure(let refusal): throw refused(refusal)
        }
    }

    /// What a request would be told now that needs next to nothing; nil where it would be let in. Takes nothing.
    static func refusal(of provider: CatalogProvider, _ need: WorkerNeed, at node: PublicKey, _ quotas: Quotas)
        -> MeshError?
    {
        guard !quotas.isUnused else { return nil }
        let subject = subject(provider, at: node)
        guard quotas.needs([subject]) != nil else { return nil }
        let least = QuotaEstimate(prompt: 1, answer: 1, answers: need.answersText, prices: [])
        let asked = QuotaRequest(address: nil, route: need.route, models: [[need.model ?? ""]])
        return quotas.outlook(asked, least, for: [subject]).refusal.map(refused)
    }

    /// Without the amounts: those are the seller's affair.
    private static func refused(_ refusal: QuotaRefusal) -> MeshError {
        guard refusal.cause != .forbidden else {
            return MeshError(
                .accessDenied, "this is not offered here by a limit of its operator (\(refusal.limit.words))")
        }
        let wait = refusal.fitsAfterMs.map { Int(clamping: ($0 + 999) / 1_000) }
        let when = wait.map { "; try again in \($0)s" } ?? ""
        return MeshError(
            .rateLimited, "a limit of its operator (\(refusal.limit.words)) lets nothing more in here now\(when)",
            retryAfterSeconds: wait.map { max($0, 1) } ?? Limits.retryAfterSeconds)
    }
}

/// Counts what an answer uses of the seller's side, and ends what was held for it.
final class SellerAdmission: Sendable {
    private struct State {
        var answer: AnswerMeter
        var isOver = false
    }

    private let admission: Admission
    private let content: Content
    private let prices: Prices?
    private let state: Mutex<State>

    init(_ admission: Admission, _ request: WorkRequest, _ prices: Prices?) {
        self.admission = admission
        content = request.content
        self.prices = prices
        state = Mutex(State(answer: AnswerMeter(request)))
    }

    func heard(_ part: AnswerPart) {
        switch part {
        case .pending: break
        case .head(let head): began(head)
        case .bytes(let bytes): delivered(bytes)
        case .end(let totals): ended(totals)
        case .fail: ended(nil)
        }
    }

    func began(_ head: AnswerHead) { state.withLock { $0.answer.began(head) } }
    func delivered(_ bytes: ByteBuffer) { state.withLock { $0.answer.delivered(bytes) } }

    /// - Parameter totals: nil where the answer was cut, or there is none.
    func ended(_ totals: AnswerTotals?) {
        let output = state.withLock { state -> Int64? in
            guard !state.isOver else { return nil }
            state.isOver = true
            return state.answer.isServed ? state.answer.tokens(told: totals?.completionTokens) : -1
        }
        guard let output else { return }
        guard output >= 0 else { return admission.end(nil) }
        let input = totals?.promptTokens ?? content.facts.tokens
        admission.end(
            QuotaUse(
                tokens: input + output,
                money: prices.map {
                    $0.cost(
                        of: PricedUse(
                            inputTokens: input, cachedTokens: totals?.cachedTokens ?? 0, outputTokens: output))
                }))
    }
}

/// A place of a provider that has a quota: takes a request only while there is room.
final class LimitedPlace: Place {
    let place: any Place
    let subject: QuotaSubject
    let quotas: Quotas

    init(place: any Place, subject: QuotaSubject, quotas: Quotas) {
        self.place = place
        self.subject = subject
        self.quotas = quotas
    }

    var provider: CatalogProvider { place.provider }
    var model: String? { place.model }
    var node: PublicKey? { place.node }
    var worker: String? { place.worker }
    var whoAnswers: String { place.whoAnswers }

    func isSame(as other: any Place) -> Bool { place.isSame(as: (other as? LimitedPlace)?.place ?? other) }

    func begin(_ request: WorkRequest, attempt: Int, receiver: any AnswerReceiver) -> any AttemptHandle {
        do throws(MeshError) {
            let admission = try SellerQuota.admit(request, of: provider, model: model, for: [subject], quotas)
            guard let admission else { return place.begin(request, attempt: attempt, receiver: receiver) }
            let handle = place.begin(
                request, attempt: attempt, receiver: LimitedReceiver(receiver: receiver, admission: admission))
            return LimitedHandle(handle: handle, admission: admission)
        } catch {
            receiver.deliver([.fail(error)])
            return FinishedAttempt()
        }
    }

    func failed(_ failure: Attempts.Failure, now: Instant) { place.failed(failure, now: now) }
    func answers(now: Instant) { place.answers(now: now) }
}

private final class LimitedReceiver: AnswerReceiver {
    let eventLoop: any EventLoop
    private let receiver: any AnswerReceiver
    private let admission: SellerAdmission

    init(receiver: any AnswerReceiver, admission: SellerAdmission) {
        self.receiver = receiver
        self.admission = admission
        eventLoop = receiver.eventLoop
    }

    func receive(_ parts: [AnswerPart]) {
        // Before it is passed on: whoever hears the end finds it counted.
        for part in parts { admission.heard(part) }
        receiver.receive(parts)
    }
}

private final class LimitedHandle: AttemptHandle {
    let handle: any AttemptHandle
    let admission: SellerAdmission

    init(handle: any AttemptHandle, admission: SellerAdmission) {
        self.handle = handle
        self.admission = admission
    }

    func cancel() {
        admission.ended(nil)
        handle.cancel()
    }
    func expire() {
        admission.ended(nil)
        handle.expire()
    }
    func pause() { handle.pause() }
    func resume() { handle.resume() }
    func consumed(_ count: Int) { handle.consumed(count) }
}

extension WorkerNeed {
    /// Whether what comes back is a text of tokens that are paid for.
    package var answersText: Bool {
        switch endpoint?.family {
        case nil, .completions, .messages, .responses: true
        case .audio, .embeddings, .files, .images, .moderations, .pipelines, .rerank, .video: false
        }
    }

    /// As rules name it: below the base path.
    package var route: String { endpoint?.route ?? "chat/completions" }
}
