import DequeModule
import MeshExchange
package import MeshModel
import Synchronization

/// One answered request, for whoever asked it. An object: two ids lead to it.
package final class Generation: Sendable {
    package let requestID: String
    /// As the answer calls itself.
    package let answerID: String?
    package let username: String
    package let at: Timestamp
    package let model: String
    package let provider: String
    package let node: String
    package let cost: Money?
    package let promptTokens: Int64
    package let cachedTokens: Int64
    package let completionTokens: Int64
    /// Whether this node counted them itself.
    package let isEstimated: Bool
    package let firstContentMs: Int64?
    package let durationMs: Int64
    package let isStreamed: Bool
    /// It was cut, by whomever.
    package let isCancelled: Bool
    package let finishReason: String?
    package let status: Int
    package let attempts: Int

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
/// `Limits.generationMs`. In memory only. Hardly anybody asks, and every request is added: the index is made when somebody
/// does.
package final class GenerationBook: Sendable {
    private struct State {
        /// In the order they came.
        var kept: Deque<(generation: Generation, at: Instant)> = []
        /// How many of the first of them are in the index.
        var indexed = 0
        var known: [String: Generation] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package func add(_ generation: Generation) {
        let now = SystemClock.instant
        state.withLock { state in
            Self.forget(&state, now, keeping: Limits.generations - 1)
            state.kept.append((generation, now))
        }
    }

    /// - Parameter username: nil for the operator, who may see all.
    package func find(_ id: String, of username: String?) -> Generation? {
        state.withLock { state in
            Self.forget(&state, SystemClock.instant, keeping: Limits.generations)
            for (generation, _) in state.kept[state.indexed...] {
                state.known[generation.requestID] = generation
                // A backend may give the same id twice: the later one stays.
                if let id = generation.answerID { state.known[id] = generation }
            }
            state.indexed = state.kept.count
            return state.known[id].flatMap { username == nil || $0.username == username ? $0 : nil }
        }
    }

    private static func forget(_ state: inout State, _ now: Instant, keeping count: Int) {
        while let (generation, at) = state.kept.first,
            state.kept.count > count || now.milliseconds(since: at) >= Limits.generationMs
        {
            state.kept.removeFirst()
            guard state.indexed > 0 else { continue }
            state.indexed -= 1
            for id in [generation.requestID, generation.answerID].compactMap(\.self)
            where state.known[id] === generation { state.known[id] = nil }
        }
    }
}
