internal import MeshGossip
import MeshModel

/// One operator with most of the nodes, and honest traffic at its heaviest.
extension Scenario {
    static let crowd = Scenario(
        name: "crowd", summary: "one operator runs most of the nodes, and they say nothing", defaultNodes: 40
    ) { parameters in
        var report = ScenarioReport("crowd", parameters)
        let honest = max(parameters.nodes * 3 / 10, 2)
        func mesh(countsAsOne: Bool) -> Simulation {
            var settings = options(parameters)
            for index in honest..<parameters.nodes {
                settings.behaviours[index] = .silent
                if countsAsOne { settings.operators[index] = 0 }
            }
            return Simulation(options: settings)
        }
        /// How many of the links that honest nodes keep lead to honest nodes, per hundred.
        func share(_ simulation: Simulation) -> Int64 {
            let peers = simulation.honest.flatMap { simulation.peers($0) }
            return Int64(peers.count { simulation.honest.contains($0) }) * 100 / Int64(max(peers.count, 1))
        }
        var counted = mesh(countsAsOne: true)
        counted.run(forMs: 10_000)
        var keys: [RecordKey] = []
        for index in counted.honest { keys.append(counted.publishAdvert(index, provider: "provider")) }
        let took = counted.run(forMs: 60_000) { $0.isEverywhere(keys) }
        var control = mesh(countsAsOne: false)
        control.run(forMs: 10_000)
        let withOperators = share(counted)
        let without = share(control)
        report.add("links among honest nodes", withOperators, "%")
        report.add("the same with an operator each", without, "%")
        report.add("everywhere after", took ?? -1, "ms")
        report.require("every honest node has every record", took != nil)
        report.require("honest nodes link to most of each other", withOperators >= 60, "\(withOperators) %")
        report.require("counting nodes would not do", without + 15 <= withOperators, "\(without) %")
        report.finish(counted)
        return report
    }

    static let heavyJoin = Scenario(
        name: "heavy-join", summary: "an empty node takes over thousands of records, and nobody is blamed",
        defaultNodes: 4
    ) { parameters in
        var report = ScenarioReport("heavy-join", parameters)
        var simulation = Simulation(options: options(parameters))
        let last = parameters.nodes - 1
        simulation.run(forMs: 2_000)
        simulation.crash(last)
        // In one go, as after a restart of nodes with many providers each.
        let count = parameters.records * 400
        let keys = (0..<last).flatMap { node in
            simulation.publishOwnedAdverts(node, owners: Array(stride(from: node, to: count, by: last)))
        }
        let settled = simulation.run(forMs: 600_000) { $0.isConverged }
        simulation.restart(last)
        simulation.run(forMs: 1_000)
        let took = simulation.run(forMs: 600_000) { $0.honest.count == parameters.nodes && $0.isConverged }
        report.add("records", Int64(count), "")
        report.add("the others agreed after", settled ?? -1, "ms")
        report.add("joined after", took ?? -1, "ms")
        report.add("peers blocked", Int64(simulation.counters.blockedPeers), "")
        report.require("the others agree", settled != nil, "\(simulation.differing) differ")
        report.require("the new node has everything", took != nil && simulation.isEverywhere(keys))
        report.require("nobody was blamed", simulation.counters.blockedPeers == 0)
        report.finish(simulation)
        return report
    }
}
