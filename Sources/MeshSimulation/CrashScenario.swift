internal import MeshGossip
import MeshModel

/// Power fails between the disk and the wire, all the time.
extension Scenario {
    static let crash = Scenario(
        name: "crash", summary: "nodes die between writing and saying, and contradict nobody", defaultNodes: 12
    ) { parameters in
        var report = ScenarioReport("crash", parameters)
        var settings = options(parameters)
        settings.intervals.beaconMs = 5_000
        settings.catalogIntervalMs = 100
        settings.crashPermille = 150
        var simulation = Simulation(options: settings)
        simulation.run(forMs: 3_000)
        var keys: [RecordKey] = []
        for change in 0..<60 {
            let index = change % parameters.nodes
            let key = simulation.publishAdvert(index, provider: "provider-\(index)", note: "change \(change)")
            if !keys.contains(key) { keys.append(key) }
            simulation.run(forMs: 500)
        }
        simulation.options.crashPermille = 0
        let took = simulation.run(forMs: 120_000) {
            $0.honest.count == parameters.nodes && $0.isConverged && $0.isEverywhere(keys)
        }
        report.add("crashes", Int64(simulation.counters.crashes), "")
        report.add("converged after", took ?? -1, "ms")
        report.require("nodes died", simulation.counters.crashes >= parameters.nodes)
        report.require("all agree in the end", took != nil, "\(simulation.differing) differ")
        report.require(
            "nobody contradicted himself", simulation.counters.equivocations == 0,
            "\(simulation.counters.equivocations) times")
        report.finish(simulation)
        return report
    }
}
