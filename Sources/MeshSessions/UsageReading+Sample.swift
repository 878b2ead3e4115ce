import MeshDialects

extension UsageReading {
    /// The sample for a request that took `latencyMs` by this node's clock.
    package func sample(latencyMs: Int64, firstContentMs: Int64?, isSuccess: Bool) -> RequestSample {
        // A worker's own claim counts only where this node cannot tell, and never beyond reason.
        var speed = tokensPerSecond.map { min($0, 100_000) }
        if let tokens = completionTokens, tokens > 0, let firstContentMs, latencyMs - firstContentMs >= 50 {
            let (scaled, overflow) = tokens.multipliedReportingOverflow(by: 1_000)
            if !overflow { speed = min(scaled / (latencyMs - firstContentMs), 100_000) }
        } else if speed == nil, let tokens = completionTokens, tokens > 0, tokens < 1 << 32 {
            speed = min(tokens * 1_000 / max(latencyMs, 1), 100_000)
        }
        return RequestSample(
            latencyMs: latencyMs, firstContentMs: firstContentMs, totalTokens: totalTokens ?? sum,
            tokensPerSecond: speed, isSuccess: isSuccess)
    }

    /// Each has at most twelve digits.
    private var sum: Int64? {
        guard promptTokens != nil || completionTokens != nil else { return nil }
        return (promptTokens ?? 0) + (completionTokens ?? 0)
    }
}
