/// How fast a worker was, as the node that it was attached to measured it; 0 stands for what is not known.
package struct WorkerSpeed: Hashable, Sendable {
    package var tokensPerSecond: Int64
    package var firstContentMs: Int64
    /// A whole request on the average.
    package var latencyMs: Int64

    package init(tokensPerSecond: Int64 = 0, firstContentMs: Int64 = 0, latencyMs: Int64 = 0) {
        self.tokensPerSecond = tokensPerSecond
        self.firstContentMs = firstContentMs
        self.latencyMs = latencyMs
    }

    /// Whether something changed by more than a quarter since `known` was told. Not all workers have tokens: one that
    /// makes images has latencies only.
    package func isNews(after known: WorkerSpeed) -> Bool {
        Self.differs(tokensPerSecond, known.tokensPerSecond) || Self.differs(firstContentMs, known.firstContentMs)
            || Self.differs(latencyMs, known.latencyMs)
    }

    private static func differs(_ value: Int64, _ known: Int64) -> Bool {
        // Both are averages of what was clamped long before.
        (value - known).magnitude > UInt64(max(known, 1)) / 4
    }

    /// What a whole request can be expected to take. Nodes of the first release told no latency: then an answer of
    /// usual length is counted behind the first content. The first content alone would make whoever comes from
    /// elsewhere look faster than everybody here.
    package var expectedLatencyMs: Int64 {
        if latencyMs > 0 { return latencyMs }
        return firstContentMs + (tokensPerSecond > 0 ? Self.usualTokens * 1_000 / tokensPerSecond : 0)
    }

    private static let usualTokens: Int64 = 256
}
