package import MeshModel

/// A built-in experiment: what is set up, what happens, and what must hold.
package struct Scenario: Sendable {
    package let name: String
    package let summary: String
    package let defaultNodes: Int
    let body: @Sendable (ScenarioParameters) -> ScenarioReport

    package func run(_ parameters: ScenarioParameters) -> ScenarioReport { body(parameters) }

    package static let all: [Scenario] = [
        .spread, .join, .partitionHeal, .silent, .mutated, .forged, .lossy, .equivocation, .hostileNames, .crowd,
        .heavyJoin, .crash, .pools,
    ]

    package static func named(_ name: String) -> Scenario? { all.first { $0.name == name } }
}

package struct ScenarioParameters: Hashable, Sendable {
    package var nodes: Int
    package var records: Int
    package var seed: UInt64
    /// False is the negative control: every signature is believed.
    package var verifiesSignatures = true
    /// True is another: nodes say what is not on their disks yet.
    package var speaksFirst = false
    /// False is another: a node forgets what names meant before.
    package var keepsNames = true
    /// False is one more: pools hear of no failure.
    package var rests = true

    package init(nodes: Int, records: Int, seed: UInt64) {
        self.nodes = nodes
        self.records = records
        self.seed = seed
    }
}

/// What a scenario measured and whether what must hold did.
package struct ScenarioReport: Hashable, Sendable {
    package struct Figure: Hashable, Sendable {
        package var name: String
        package var value: Int64
        package var unit: String
    }

    package struct Check: Hashable, Sendable {
        package var name: String
        package var holds: Bool
        package var detail: String
    }

    package var scenario: String
    package var nodes: Int
    package var records: Int
    package var seed: UInt64
    package var figures: [Figure] = []
    package var checks: [Check] = []
    package var traceHash = Bytes16.zero
    package var counters = SimulationCounters()

    package var holds: Bool { checks.allSatisfy(\.holds) }

    init(_ scenario: String, _ parameters: ScenarioParameters) {
        self.scenario = scenario
        nodes = parameters.nodes
        records = parameters.records
        seed = parameters.seed
    }

    mutating func add(_ name: String, _ value: Int64, _ unit: String) {
        figures.append(Figure(name: name, value: value, unit: unit))
    }

    mutating func require(_ name: String, _ holds: Bool, _ detail: String = "") {
        checks.append(Check(name: name, holds: holds, detail: detail))
    }

    /// What holds in every scenario, and the fingerprint of the run.
    mutating func finish(_ simulation: Simulation) {
        require(
            "no record accepted that its signer never signed", simulation.violations.isEmpty,
            simulation.violations.first ?? "")
        require(
            "nothing said before it was on the disk", simulation.unstored.isEmpty, simulation.unstored.first ?? "")
        require(
            "no version said two things", simulation.contradictions.isEmpty, simulation.contradictions.first ?? "")
        require(
            "every frame within its bound", simulation.counters.largestFrame <= Limits.linkFrameBytes,
            "largest \(simulation.counters.largestFrame) bytes")
        add("frames", Int64(simulation.counters.frames), "")
        add("bytes", Int64(simulation.counters.bytes), "B")
        add("virtual time", simulation.elapsedMs, "ms")
        traceHash = simulation.traceHash
        counters = simulation.counters
    }
}
