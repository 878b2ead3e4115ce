package import MeshModel

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
    private var goodLatency = Mean()
    private var tokens = Mean()
    private var tokensPerSecond = Mean()
    private var firstContent = Mean()
    package private(set) var last: RequestSample?
    /// What another node had measured of this worker before it came here; counts until there are own samples.
    package var inherited: WorkerSpeed?

    package init() {}

    package mutating func add(_ sample: RequestSample) {
        last = sample
        if samples.count < Limits.performanceSamples {
            samples.append(sample)
        } else {
            count(samples[next], times: -1)
            samples[next] = sample
            next = (next + 1) % Limits.performanceSamples
        }
        count(sample, times: 1)
    }

    private mutating func count(_ sample: RequestSample, times: Int64) {
        if sample.isSuccess { goodLatency.count(sample.latencyMs, times) }
        tokens.count(sample.totalTokens, times)
        tokensPerSecond.count(sample.tokensPerSecond, times)
        firstContent.count(sample.firstContentMs, times)
    }

    package var count: Int { samples.count }
    package var averageLatencyMs: Int64? { goodLatency.mean }
    /// What a request costs on the whole: one that failed cost its time as well, and never less than a good one, or a
    /// worker whose backend is down would look like the fastest of all.
    private var averageCostMs: Int64? {
        // Asked after every request: the samples are looked through only where there are failures among them.
        if goodLatency.number == Int64(samples.count) { return goodLatency.mean }
        let good = averageLatencyMs ?? Limits.failedRequestCostMs
        var cost = Mean()
        for sample in samples { cost.count(sample.isSuccess ? sample.latencyMs : max(sample.latencyMs, good), 1) }
        return cost.mean
    }
    package var averageTokens: Int64? { tokens.mean }
    package var averageTokensPerSecond: Int64? { tokensPerSecond.mean ?? inherited?.tokensPerSecond }
    package var averageFirstContentMs: Int64? { firstContent.mean ?? inherited?.firstContentMs }
    /// As the mesh is told of it.
    package var speed: WorkerSpeed {
        WorkerSpeed(
            tokensPerSecond: averageTokensPerSecond ?? 0, firstContentMs: averageFirstContentMs ?? 0,
            latencyMs: averageLatencyMs ?? inherited?.latencyMs ?? 0)
    }
    /// Thousandths; 1,000 while nothing is known.
    package var successPerMille: Int64 {
        samples.isEmpty ? 1_000 : goodLatency.number * 1_000 / Int64(samples.count)
    }

    /// Expected cost of a request to an idle worker, for comparing workers of one provider: its usual latency, dearer
    /// the more of its requests fail. Unknown workers cost little, so that they become known.
    package var unitCost: Int64 {
        let expected = inherited.map { max($0.latencyMs, $0.firstContentMs) }
        let latency = min(max(averageCostMs ?? expected ?? 1, 1), 1 << 32)
        return latency * 1_000 / max(successPerMille, 50)
    }

    /// The mean of the values in the window, kept as they come and go.
    private struct Mean: Hashable, Sendable {
        private(set) var number: Int64 = 0
        private var sum: Int64 = 0

        var mean: Int64? { number > 0 ? sum / number : nil }

        /// Each value counts as at most 2^40, and there are at most a hundred.
        mutating func count(_ value: Int64?, _ times: Int64) {
            guard let value else { return }
            number += times
            sum += times * min(max(value, 0), 1 << 40)
        }
    }
}
