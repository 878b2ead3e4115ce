import MeshAccounting
import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore

/// Counts what one request uses, ends what was held for it, and tells the books. Lives on the connection's event loop.
struct RequestMeter {
    /// What ends with a request.
    struct Ending {
        /// Nil where the answer was cut: what was delivered of it counts.
        var totals: AnswerTotals?
        var code: ErrorCode?
        var source: AnswerSource?
        /// Name of the node that drove the worker.
        var node: String
    }

    private let request: WorkRequest
    private let caller: Caller
    private let requestID: String
    private let model: String
    private let admission: Admission?
    private let usage: UsageBook
    private let started = SystemClock.instant
    private var tally: AnswerTally
    private var firstContent: Instant?
    private var status = 0
    /// Whether the answer is one that counts, and whether its text is looked for.
    private var isServed = false
    private var isRead = false
    private var isOver = false
    /// Whether another node gave the answer of an earlier request: nobody worked for this one.
    private var isReplay = false

    init(
        _ request: WorkRequest, requestID: String, model: String, for caller: Caller, _ admission: Admission?,
        _ usage: UsageBook
    ) {
        self.request = request
        self.requestID = requestID
        self.model = model
        self.caller = caller
        self.admission = admission
        self.usage = usage
        tally = AnswerTally(isResponses: request.need.endpoint?.family == .responses)
    }

    var hold: QuotaHold? { admission?.hold }
    /// Tokens of what was delivered, as this node counts them.
    var countedTokens: Int64 { tally.tokens }

    mutating func began(_ head: AnswerHead) {
        status = head.status
        firstContent = SystemClock.instant
        // A refusal that came through is none of the seller's work.
        isReplay = head.fields.contains(AnswerField.replayed)
        isServed = head.status < 400 && !isReplay
        isRead = request.need.answersText && AnswerTally.counts(head)
    }

    /// Whether the answer is a chat's, as it was asked for.
    var isChat: Bool { request.content.operation == .chatCompletions }
    /// Whether tools may be called in it.
    var hasTools: Bool { request.content.has("tools") || request.content.has("functions") }

    /// What was used, as this node counts it, for a buyer who asked and was not told; nil where they did not or were.
    func usageEvent(_ totals: AnswerTotals) -> [UInt8]? {
        guard totals.promptTokens == nil, totals.completionTokens == nil, request.content.wantsUsage else { return nil }
        return OpenAIStream.usage(
            id: tally.answerID, model: model, at: SystemClock.wall.seconds, prompt: request.content.facts.tokens,
            completion: tally.tokens)
    }

    /// Nothing of the answer that had begun has gone to the buyer.
    mutating func withdrawn() { isServed = false }

    mutating func delivered(_ bytes: ByteBuffer) {
        if isRead { bytes.withUnsafeReadableBytes { tally.add($0) } }
    }

    /// Before the last bytes are written: whoever asks behind them finds everything counted.
    mutating func ended(_ ending: Ending) {
        guard !isOver else { return }
        isOver = true
        guard isServed else {
            admission?.end(nil)
            let code = ending.code ?? (isReplay ? nil : .workerError)
            return usage.add(group(ending, code, money: nil), took(UsageAmounts()))
        }
        let place = ending.source?.place
        var amounts = took(UsageAmounts())
        amounts.input = ending.totals?.promptTokens ?? request.content.facts.tokens
        amounts.output = ending.totals?.completionTokens ?? tally.tokens
        amounts.cached = min(ending.totals?.cachedTokens ?? 0, amounts.input)
        amounts.images = request.images
        if ending.totals?.promptTokens == nil || isRead && ending.totals?.completionTokens == nil {
            amounts.estimated = 1
        }
        let money = place.flatMap { cost(of: amounts, at: $0) }
        amounts.money = money?.microUnits ?? 0
        admission?.end(QuotaUse(tokens: amounts.input + amounts.output, money: money))
        usage.add(group(ending, ending.code, money: money), amounts)
        usage.generations.add(generation(ending, amounts, money))
    }

    private func took(_ amounts: UsageAmounts) -> UsageAmounts {
        var amounts = amounts
        amounts.requests = 1
        amounts.milliseconds = SystemClock.instant.milliseconds(since: started)
        return amounts
    }

    /// Nobody pays for what is theirs, or has no price.
    private func cost(of amounts: UsageAmounts, at place: any Place) -> Money? {
        guard place.provider.owner != caller.owner, let prices = place.provider.prices[model: place.model ?? ""] else {
            return nil
        }
        return prices.cost(
            of: PricedUse(
                inputTokens: amounts.input, cachedTokens: amounts.cached, outputTokens: amounts.output,
                images: amounts.images, milliseconds: request.assumedMediaMs))
    }

    private func group(_ ending: Ending, _ code: ErrorCode?, money: Money?) -> UsageGroup {
        let place = ending.source?.place
        return UsageGroup(
            side: .entry, kind: UsageKind(request.need.endpoint), key: caller.keyID, username: caller.username,
            provider: place?.provider.fullName ?? "", model: place?.model ?? model,
            node: place == nil ? "" : ending.node, outcome: code?.rawValue ?? UsageGroup.served,
            currency: money.map { $0.microUnits > 0 ? $0.currency.description : "" } ?? "")
    }

    private func generation(_ ending: Ending, _ amounts: UsageAmounts, _ money: Money?) -> Generation {
        Generation(
            requestID: requestID, answerID: tally.answerID, username: caller.username,
            at: SystemClock.wall.advanced(byMilliseconds: -amounts.milliseconds),
            model: ending.source?.place?.model ?? model, provider: ending.source?.place?.provider.fullName ?? "",
            node: ending.node, cost: money, promptTokens: amounts.input, cachedTokens: amounts.cached,
            completionTokens: amounts.output, isEstimated: amounts.estimated > 0,
            firstContentMs: firstContent?.milliseconds(since: started), durationMs: amounts.milliseconds,
            isStreamed: request.form == .events, isCancelled: ending.totals == nil,
            finishReason: ending.totals?.finishReason, status: status, attempts: ending.source?.attempts ?? 0)
    }
}

extension WorkRequest {
    /// What is counted where a provider's price is by the picture.
    var images: Int64 { need.endpoint?.family == .images ? max(content.number("n") ?? 1, 1) : 0 }

    /// The same by the second: nobody tells how many there were.
    var assumedMediaMs: Int64 {
        need.endpoint?.family == .audio || need.endpoint?.family == .video ? Limits.quotaAssumedMediaMs : 0
    }
}
