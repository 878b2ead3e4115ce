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
        latencyMs = Percentiles(all: speed.firstContentMs)
        throughput = Percentiles(all: speed.tokensPerSecond.multipliedReportingOverflow(by: 1_000).partialValue)
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
    private(set) var states: [CandidateState]

    package init(_ index: PolicyIndex) { states = Array(repeating: CandidateState(), count: index.count) }

    package subscript(number: Int) -> CandidateState { states[number] }

    package mutating func update(_ number: Int, _ change: (inout CandidateState) -> Void) {
        guard states.indices.contains(number) else { return }
        change(&states[number])
    }

    /// The same of the candidates of a newer index: who stays keeps its state.
    package func carried(from old: PolicyIndex, to new: PolicyIndex) -> PolicyStates {
        var carried = PolicyStates(new)
        for (number, state) in states.enumerated() where state != CandidateState() && number < old.count {
            let candidate = old.candidate(number)
            let place = new.number(
                provider: candidate.provider.key, node: candidate.node.key, model: candidate.model)
            if let place { carried.states[place] = state }
        }
        return carried
    }
}
