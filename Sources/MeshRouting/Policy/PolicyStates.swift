package import MeshModel

/// How fast a candidate was for this node: what others say of it must never draw requests to it.
package struct MeasuredSpeed: Hashable, Sendable {
    /// Milliseconds to the first content; 0: not known.
    package var latencyMs = Percentiles()
    /// Thousandths of tokens in a second; 0: not known.
    package var throughput = Percentiles()

    package init() {}

    /// Of a worker of this node's own, of which averages are known: each stands for every percentile.
    package init(_ speed: WorkerSpeed) {
        latencyMs = Percentiles(all: min(max(speed.firstContentMs, 0), 1 << 40))
        throughput = Percentiles(all: min(max(speed.tokensPerSecond, 0), 1 << 40) * 1_000)
    }

    func fulfils(_ wish: SpeedWish) -> Bool {
        latencyMs.isWithin(wish.latencyMs) && throughput.reaches(wish.throughput)
    }
}

/// What changes about a candidate from request to request.
package struct CandidateState: Hashable, Sendable {
    /// Why it takes nothing now.
    package var exclusion: Exclusion?
    /// Requests of this node that are under way there.
    package var underWay: Int32 = 0
    package var speed = MeasuredSpeed()

    package init() {}
}

/// The states of the candidates of one index, by their numbers.
package struct PolicyStates: Sendable {
    /// What every decision reads of a state, close together.
    struct Hot: Sendable {
        var exclusion: Exclusion?
        var underWay: Int32 = 0
        /// To the first content, and for each token: as measured, or what stands for what is not.
        var latencyMs = Int32(PolicyScale.unknownLatencyMs)
        var tokenUs = Self.tokenUs(PolicyScale.unknownThroughput)

        init() {}

        init(_ state: CandidateState) {
            exclusion = state.exclusion
            underWay = max(state.underWay, 0)
            let (latency, throughput) = (state.speed.latencyMs.p50, state.speed.throughput.p50)
            if latency > 0 { latencyMs = Int32(min(latency, 600_000)) }
            if throughput > 0 { tokenUs = Self.tokenUs(throughput) }
        }

        private static func tokenUs(_ throughput: Int64) -> Int32 { Int32(clamping: 1_000_000_000 / throughput) }
    }

    /// Those of one model. They are kept apart so that a change behind the back of a decision, which holds on to all of
    /// them as they were, copies a few and not all.
    struct Run: Sendable {
        var hot: [Hot]
        var states: [CandidateState]
    }

    private(set) var runs: [Run]
    /// The number of the first candidate of each run.
    private let starts: [Int]
    package let count: Int

    package init(_ index: PolicyIndex) {
        count = index.count
        starts = index.ranges.map(\.lowerBound)
        runs = index.ranges.map { range in
            Run(
                hot: Array(repeating: Hot(), count: range.count),
                states: Array(repeating: CandidateState(), count: range.count))
        }
    }

    package subscript(number: Int) -> CandidateState {
        let (run, place) = find(number)
        return runs[run].states[place]
    }

    /// The run of a candidate and its place there. Every run has at least one.
    private func find(_ number: Int) -> (run: Int, place: Int) {
        var (low, high) = (0, starts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= number { low = middle } else { high = middle }
        }
        return (low, number - starts[low])
    }

    package mutating func update(_ number: Int, _ change: (inout CandidateState) -> Void) {
        guard (0..<count).contains(number) else { return }
        let (run, place) = find(number)
        change(&runs[run].states[place])
        runs[run].hot[place] = Hot(runs[run].states[place])
    }

    /// The same of the candidates of a newer index: who stays keeps its state.
    package func carried(from old: PolicyIndex, to new: PolicyIndex) -> PolicyStates {
        var carried = PolicyStates(new)
        for (number, state) in runs.lazy.flatMap(\.states).enumerated()
        where state != CandidateState() && number < old.count {
            let candidate = old.candidate(number)
            let place = new.number(
                provider: candidate.provider.key, node: candidate.node.key, model: candidate.model)
            if let place { carried.update(place) { $0 = state } }
        }
        return carried
    }
}
