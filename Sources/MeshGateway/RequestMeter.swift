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

    private var request: WorkRequest
    private let caller: Caller
    private let requestID: String
    private let model: String
    private let admission: Admission?
    private let usage: UsageBook
    private let policies: PolicyMarket
    private let started = SystemClock.instant
    private var answer: AnswerMeter
    private var firstContent: Instant?
    private var status = 0
    private var isOver = false
    /// Whether another node gave the answer of an earlier request: nobody worked for this one.
    private var isReplay = false

    init(
        _ request: WorkRequest, requestID: String, model: String, for caller: Caller, _ admission: Admission?,
        _ usage: UsageBook, _ policies: PolicyMarket
    ) {
        self.policies = policies
        self.request = request
        self.requestID = requestID
        self.model = model
        self.caller = caller
        self.admission = admission
        self.usage = usage
        answer = AnswerMeter(request)
    }

    var hold: QuotaHold? { admission?.hold }
    /// Tokens of what was delivered, as this node counts them.
    mutating func countedTokens() -> Int64 { answer.tokens(told: nil) }

    mutating func began(_ head: AnswerHead) {
        status = head.status
        firstContent = SystemClock.instant
        answer.began(head)
        isReplay = head.fields.contains(HeaderField.replayed)
        if isReplay { answer.withdrawn() }
    }

    /// Whether the answer is a chat's, as it was asked for.
    var isChat: Bool { request.content.operation == .chatCompletions }

    /// What its choices are made of; nil where there are none.
    var completion: ChatLetter.Form? {
        if isChat { return .chat(hasTools: request.content.has("tools") || request.content.has("functions")) }
        return request.need.endpoint == .completions ? .text : nil
    }

    /// How many answers are asked for: of each prompt so many.
    var choices: Int {
        let each = min(Int(clamping: request.content.number("n") ?? 1), Limits.translatedCalls)
        return each * max(request.content.prompts, 1)
    }

    /// What was used, as this node counts it, for a buyer who asked and was not told; nil where they did not or were.
    mutating func usageEvent(_ totals: AnswerTotals) -> [UInt8]? {
        guard let completion, totals.promptTokens == nil, totals.completionTokens == nil, request.content.wantsUsage
        else { return nil }
        let tokens = answer.tokens(told: nil)
        return OpenAIStream.usage(
            of: completion, id: answer.answerID(), model: model, at: SystemClock.wall.seconds,
            prompt: request.content.facts.tokens,
            completion: tokens)
    }

    /// It is asked for in another form; of what came of the first nobody has had anything.
    mutating func asksAgain(_ request: WorkRequest) {
        self.request = request
        answer = AnswerMeter(request)
    }

    mutating func delivered(_ bytes: ByteBuffer) { answer.delivered(bytes) }

    /// Nothing of the answer that had begun has gone to the buyer.
    mutating func withdrawn() { answer.withdrawn() }

    /// Before the last bytes are written: whoever asks behind them finds everything counted.
    mutating func ended(_ ending: Ending) {
        guard !isOver else { return }
        isOver = true
        guard answer.isServed else {
            admission?.end(nil)
            let code = ending.code ?? (isReplay ? nil : .workerError)
            return usage.add(group(ending, code, money: nil), took(UsageAmounts()))
        }
        let place = ending.source?.place
        learn(ending.totals, of: place)
        var amounts = took(UsageAmounts())
        amounts.input = ending.totals?.promptTokens ?? request.content.facts.tokens
        amounts.output = answer.tokens(told: ending.totals?.completionTokens)
        amounts.cached = min(ending.totals?.cachedTokens ?? 0, amounts.input)
        amounts.images = request.images
        if ending.totals?.promptTokens == nil || answer.isRead && ending.totals?.completionTokens == nil {
            amounts.estimated = 1
        }
        let money = place.flatMap { cost(of: amounts, at: $0) }
        amounts.money = money?.microUnits ?? 0
        admission?.end(QuotaUse(tokens: amounts.input + amounts.output, money: money))
        usage.add(group(ending, ending.code, money: money), amounts)
        usage.generations.add(generation(ending, amounts, money, answer.answerID()))
    }

    /// What a worker tells of a prompt makes the estimates of the next ones for its model better. Of a chat only: elsewhere
    /// there is more in a request than its text.
    private func learn(_ totals: AnswerTotals?, of place: (any Place)?) {
        guard isChat, let model = place?.model, let counted = totals?.promptTokens else { return }
        let content = request.content
        policies.learn(model: model, estimate: { content.facts.tokens }, counted: counted)
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

    private func generation(
        _ ending: Ending, _ amounts: UsageAmounts, _ money: Money?, _ answerID: String?
    ) -> Generation {
        Generation(
            requestID: requestID, answerID: answerID, username: caller.username,
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
