import MeshAccounting
import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore

/// Counts what one request uses, and ends what was held for it. Lives on the connection's event loop.
struct RequestMeter {
    private let content: Content
    private let buyer: PublicKey
    private let endpoint: EndpointPath?
    private let admission: Admission?
    private var tally: AnswerTally
    /// Whether the answer is one that counts, and whether its text is looked for.
    private var isServed = false
    private var isRead = false
    private var place: (any Place)?
    private var isOver = false

    init(_ request: WorkRequest, for buyer: PublicKey, _ admission: Admission?) {
        content = request.content
        endpoint = request.need.endpoint
        self.buyer = buyer
        self.admission = admission
        tally = AnswerTally(isResponses: request.need.endpoint?.family == .responses)
    }

    var hold: QuotaHold? { admission?.hold }

    mutating func began(_ head: AnswerHead, from place: (any Place)?) {
        self.place = place
        // A refusal that came through is none of the seller's work.
        isServed = head.status < 400
        isRead =
            isServed && endpoint?.family.answersText ?? true
            && (head.isEventStream || head.contentType.hasPrefix("application/json"))
    }

    mutating func delivered(_ bytes: ByteBuffer) {
        if isRead { bytes.withUnsafeReadableBytes { tally.add($0) } }
    }

    /// - Parameter totals: nil where the answer was cut: what was delivered of it counts.
    mutating func ended(_ totals: AnswerTotals?) {
        guard !isOver else { return }
        isOver = true
        guard let admission else { return }
        admission.end(isServed ? used(totals) : nil)
    }

    private func used(_ totals: AnswerTotals?) -> QuotaUse {
        let input = totals?.promptTokens ?? content.facts.tokens
        let output = totals?.completionTokens ?? tally.tokens
        var money: Money?
        if let place, place.provider.owner != buyer, let prices = place.provider.prices[model: place.model ?? ""] {
            money = prices.cost(
                of: PricedUse(
                    inputTokens: input, cachedTokens: totals?.cachedTokens ?? 0, outputTokens: output,
                    images: endpoint?.family == .images ? max(content.number("n") ?? 1, 1) : 0,
                    milliseconds: endpoint?.family == .audio || endpoint?.family == .video
                        ? Limits.quotaAssumedMediaMs : 0))
        }
        return QuotaUse(tokens: input + output, money: money)
    }
}
