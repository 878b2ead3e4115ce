import DequeModule
import MeshExchange
package import MeshModel
import Synchronization

/// One answered request, for whoever asked it.
package struct Generation: Sendable {
    package var requestID: String
    /// As the answer calls itself.
    package var answerID: String?
    package var username: String
    package var at: Timestamp
    package var model: String
    package var provider: String
    package var node: String
    package var cost: Money?
    package var promptTokens: Int64
    package var cachedTokens: Int64
    package var completionTokens: Int64
    /// Whether this node counted them itself.
    package var isEstimated: Bool
    package var firstContentMs: Int64?
    package var durationMs: Int64
    package var isStreamed: Bool
    /// It was cut, by whomever.
    package var isCancelled: Bool
    package var finishReason: String?
    package var status: Int
    package var attempts: Int

    package init(
        requestID: String, answerID: String?, username: String, at: Timestamp, model: String, provider: String,
        node: String, cost: Money?, promptTokens: Int64, cachedTokens: Int64, completionTokens: Int64,
        isEstimated: Bool, firstContentMs: Int64?, durationMs: Int64, isStreamed: Bool, isCancelled: Bool,
        finishReason: String?, status: Int, attempts: Int
    ) {
        self.requestID = requestID
        self.answerID = answerID
        self.username = username
        self.at = at
        self.model = model
        self.provider = provider
        self.node = node
        self.cost = cost
        self.promptTokens = promptTokens
        self.cachedTokens = cachedTokens
        self.completionTokens = completionTokens
        self.isEstimated = isEstimated
        self.firstContentMs = firstContentMs
        self.durationMs = durationMs
        self.isStreamed = isStreamed
        self.isCancelled = isCancelled
        self.finishReason = finishReason
        self.status = status
        self.attempts = attempts
    }
}

/// The latest answered requests, by the ids that their buyers know: as many as `Limits.generations`, for as long as
/// `Limits.generationMs`. In memory only.
package final class GenerationBook: Sendable {
    private struct State {
        var known: [String: Generation] = [:]
        /// In the order they came, with both ids.
        var order: Deque<(requestID: String, answerID: String?, at: Instant)> = []
    }

    private let state = Mutex(State())

    package init() {}

    package func add(_ generation: Generation) {
        let now = SystemClock.instant
        state.withLock { state in
            Self.forget(&state, now, keeping: Limits.generations - 1)
            state.known[generation.requestID] = generation
            if let id = generation.answerID { state.known[id] = generation }
            state.order.append((generation.requestID, generation.answerID, now))
        }
    }

    /// - Parameter username: nil for the operator, who may see all.
    package func find(_ id: String, of username: String?) -> Generation? {
        state.withLock { state in
            Self.forget(&state, SystemClock.instant, keeping: Limits.generations)
            return state.known[id].flatMap { username == nil || $0.username == username ? $0 : nil }
        }
    }

    private static func forget(_ state: inout State, _ now: Instant, keeping count: Int) {
        while let first = state.order.first,
            state.order.count > count || now.milliseconds(since: first.at) >= Limits.generationMs
        {
            state.order.removeFirst()
            state.known[first.requestID] = nil
            // A backend may give the same id twice: the later one stays.
            if let id = first.answerID, state.known[id]?.requestID == first.requestID { state.known[id] = nil }
        }
    }
}
