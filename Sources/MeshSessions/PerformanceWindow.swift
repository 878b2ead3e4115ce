import MeshModel

/// How one request went, measured by this node.
package struct RequestSample: Hashable, Sendable {
    package var latencyMs: Int64
    /// From the request's frame to its first content.
    package var firstContentMs: Int64?
    package var totalTokens: Int64?
    package var tokensPerSecond: Int64?
    /// False for a 5xx, a lost worker, a deadline that passed; a worker's own 4xx is the buyer's affair.
    package var isSuccess: Bool

    package init(
        latencyMs: Int64, firstContentMs: Int64?, totalTokens: Int64?, tokensPerSecond: Int64?, isSuccess: Bool
    ) {
        self.latencyMs = latencyMs
        self.firstContentMs = firstContentMs
        self.totalTokens = totalTokens
        self.tokensPerSecond = tokensPerSecond
        self.isSuccess = isSuccess
    }
}

/// The last `Limits.performanceSamples` requests of one worker: what operators see and routing weighs. It belongs to
/// the client id and not to a socket, so it survives a reconnect.
package struct PerformanceWindow: Hashable, Sendable {
    private var samples: [RequestSample] = []
    private var next = 0
    package private(set) var last: RequestSample?
    /// What another node had measured of this worker before it came here; counts until there are own samples.
    package var inherited: Speed?

    package struct Speed: Hashable, Sendable {
        package var tokensPerSecond: Int64
        package var firstContentMs: Int64
        /// What a whole request is expected to take.
        package var latencyMs: Int64

        package init(tokensPerSecond: Int64, firstContentMs: Int64, latencyMs: Int64 = 0) {
            self.tokensPerSecond = tokensPerSecond
            self.firstContentMs = firstContentMs
            self.latencyMs = latencyMs
        }
    }

    package init() {}

    package mutating func add(_ sample: RequestSample) {
        last = sample
        if samples.count < Limits.performanceSamples {
            samples.append(sample)
        } else {
            samples[next] = sample
            next = (next + 1) % Limits.performanceSamples
        }
    }

    package var count: Int { samples.count }
    package var averageLatencyMs: Int64? { Self.mean(samples.filter(\.isSuccess).map(\.latencyMs)) }
    /// What a request costs on the whole: one that failed cost its time as well, and never less than a good one, or a
    /// worker whose backend is down would look like the fastest of all.
    private var averageCostMs: Int64? {
        let good = averageLatencyMs ?? Limits.failedRequestCostMs
        return Self.mean(samples.map { $0.isSuccess ? $0.latencyMs : max($0.latencyMs, good) })
    }
    package var averageTokens: Int64? { Self.mean(samples.compactMap(\.totalTokens)) }
    package var averageTokensPerSecond: Int64? {
        Self.mean(samples.compactMap(\.tokensPerSecond)) ?? inherited?.tokensPerSecond
    }
    package var averageFirstContentMs: Int64? {
        Self.mean(samples.compactMap(\.firstContentMs)) ?? inherited?.firstContentMs
    }
    /// Thousandths; 1,000 while nothing is known.
    package var successPerMille: Int64 {
        samples.isEmpty ? 1_000 : Int64(samples.filter(\.isSuccess).count) * 1_000 / Int64(samples.count)
    }

    /// Expected cost of a request to an idle worker, for comparing workers of one provider: its usual latency, dearer
    /// the more of its requests fail. Unknown workers cost little, so that they become known.
    package var unitCost: Int64 {
        let expected = inherited.map { max($0.latencyMs, $0.firstContentMs) }
        let latency = min(max(averageCostMs ?? expected ?? 1, 1), 1 << 32)
        return latency * 1_000 / max(successPerMille, 50)
    }

    private static func mean(_ values: [Int64]) -> Int64? {
        guard !values.isEmpty else { return nil }
        // Each is below 2^40, and there are at most a hundred.
        return values.reduce(0) { $0 &+ min($1, 1 << 40) } / Int64(values.count)
    }
}
