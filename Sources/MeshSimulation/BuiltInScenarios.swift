internal import MeshGossip
package import MeshModel

extension Scenario {
    static func options(_ parameters: ScenarioParameters) -> SimulationOptions {
        var options = SimulationOptions(nodes: parameters.nodes, seed: parameters.seed)
        options.verifiesSignatures = parameters.verifiesSignatures
        options.speaksFirst = parameters.speaksFirst
        // What is looked at are records; beacons at their live rate would be most of the work.
        options.intervals.beaconMs = 60_000
        options.catalogIntervalMs = 10_000
        return options
    }

    private static func publish(_ parameters: ScenarioParameters, _ simulation: inout Simulation) -> [RecordKey] {
        (0..<parameters.records).map { number in
            let honest = simulation.honest
            return simulation.publishAdvert(honest[number % honest.count], provider: "provider-\(number)")
        }
    }

    static let spread = Scenario(
        name: "spread", summary: "one update to all nodes: time, copies, bytes per node", defaultNodes: 100
    ) { parameters in
        var report = ScenarioReport("spread", parameters)
        var simulation = Simulation(options: options(parameters))
        simulation.run(forMs: 4_000)
        let first = simulation.publishAdvert(0, provider: "watched")
        simulation.run(forMs: 20_000) { $0.isEverywhere([first]) }
        simulation.run(forMs: 1_000)
        let before = simulation.counters
        simulation.watch(first)
        simulation.publishAdvert(0, provider: "watched", note: "changed")
        let limit = Int64(parameters.nodes <= 1_000 ? 2_000 : 5_000)
        simulation.run(forMs: 30_000) { $0.arrivals.count >= parameters.nodes }
        // What is still under way belongs to the cost.
        simulation.run(forMs: 1_000)
        let count = Int64(parameters.nodes)
        report.add("reached", Int64(simulation.arrivals.count), "nodes")
        report.add("last arrival", simulation.lastArrivalMs, "ms")
        report.add("copies per 100 nodes", Int64(simulation.watchedCopies) * 100 / count, "")
        report.add("push bytes per node", Int64(simulation.counters.pushBytes - before.pushBytes) / count, "B")
        report.require("every node has the update", simulation.arrivals.count == parameters.nodes)
        report.require("within \(limit) ms", simulation.lastArrivalMs <= limit, "\(simulation.lastArrivalMs) ms")
        report.require("at most 4 copies per node", simulation.watchedCopies <= 4 * parameters.nodes)
        report.finish(simulation)
        return report
    }

    static let join = Scenario(
        name: "join", summary: "nodes that know one address find each other and all records", defaultNodes: 20
    ) { parameters in
        var report = ScenarioReport("join", parameters)
        var settings = options(parameters)
        settings.start = .cold
        var simulation = Simulation(options: settings)
        simulation.run(forMs: 2_000)
        let keys = publish(parameters, &simulation)
        let took = simulation.run(forMs: 120_000) {
            $0.isConverged && $0.isEverywhere(keys) && $0.nodes[0].gossip.members.count == parameters.nodes
        }
        report.add("converged after", took ?? -1, "ms")
        report.require("all nodes know all nodes and all records", took != nil, "\(simulation.differing) differ")
        report.require("nobody is alone", simulation.honest.allSatisfy { simulation.linkCount($0) > 0 })
        report.finish(simulation)
        return report
    }

    static let partitionHeal = Scenario(
        name: "partition-heal", summary: "two halves change apart for a minute, then meet again", defaultNodes: 30
    ) { parameters in
        var report = ScenarioReport("partition-heal", parameters)
        var simulation = Simulation(options: options(parameters))
        simulation.run(forMs: 3_000)
        simulation.partition { $0 % 2 }
        simulation.run(forMs: 30_000)
        let keys = publish(parameters, &simulation)
        simulation.run(forMs: 30_000)
        report.require("the halves differ", !simulation.isConverged || keys.isEmpty)
        simulation.heal()
        let took = simulation.run(forMs: 120_000) { $0.isConverged && $0.isEverywhere(keys) }
        report.add("converged after healing", took ?? -1, "ms")
        report.require("all agree again", took != nil, "\(simulation.differing) differ")
        report.finish(simulation)
        return report
    }

    static let silent = adversaries(
        "silent", "40 % of the nodes take everything and say nothing", .silent, percent: 40, expectRejects: false)

    static let mutated = adversaries(
        "mutated", "one node in ten flips a bit in every frame with records", .mutating, percent: 10,
        expectRejects: true)

    static let forged = adversaries(
        "forged", "one node in ten signs in others' names", .forging, percent: 10, expectRejects: true)

    private static func adversaries(
        _ name: String, _ summary: String, _ behaviour: Behaviour, percent: Int, expectRejects: Bool
    ) -> Scenario {
        Scenario(name: name, summary: summary, defaultNodes: 30) { parameters in
            var report = ScenarioReport(name, parameters)
            var settings = options(parameters)
            // Spread evenly, and node 0 honest.
            for index in 1..<max(parameters.nodes, 1) where index * percent / 100 != (index - 1) * percent / 100 {
                settings.behaviours[index] = behaviour
            }
            var simulation = Simulation(options: settings)
            simulation.run(forMs: 3_000)
            let keys = publish(parameters, &simulation)
            let took = simulation.run(forMs: 120_000) { $0.isEverywhere(keys) }
            simulation.run(forMs: 10_000)
            report.add("adversaries", Int64(settings.behaviours.count), "nodes")
            report.add("everywhere after", took ?? -1, "ms")
            report.add("records rejected", Int64(simulation.counters.rejected), "")
            report.add("peers blocked", Int64(simulation.counters.blockedPeers), "")
            report.require("every honest node has every record", took != nil)
            if expectRejects { report.require("wrong records were refused", simulation.counters.rejected > 0) }
            report.finish(simulation)
            return report
        }
    }

    static let lossy = Scenario(
        name: "lossy", summary: "frames lost, doubled and reordered, clocks off, a node crashing", defaultNodes: 20
    ) { parameters in
        var report = ScenarioReport("lossy", parameters)
        var settings = options(parameters)
        settings.lossPermille = 100
        settings.duplicatePermille = 50
        settings.reorderPermille = 100
        settings.clockOffsetMs = 30_000
        var simulation = Simulation(options: settings)
        simulation.run(forMs: 3_000)
        let keys = publish(parameters, &simulation)
        simulation.run(forMs: 500)
        simulation.crash(parameters.nodes - 1)
        simulation.run(forMs: 10_000)
        simulation.restart(parameters.nodes - 1)
        simulation.run(forMs: 1_000)
        let took = simulation.run(forMs: 180_000) {
            $0.honest.count == parameters.nodes && $0.isConverged && $0.isEverywhere(keys)
        }
        report.add("converged after", took ?? -1, "ms")
        report.add("frames lost", Int64(simulation.counters.lostFrames), "")
        report.require("all agree in the end", took != nil, "\(simulation.differing) differ")
        report.finish(simulation)
        return report
    }

    static let equivocation = Scenario(
        name: "equivocation", summary: "a signer tells two nodes different things with one version", defaultNodes: 20
    ) { parameters in
        var report = ScenarioReport("equivocation", parameters)
        var simulation = Simulation(options: options(parameters))
        simulation.run(forMs: 3_000)
        let key = simulation.equivocate(0, provider: "twice", to: 1, and: parameters.nodes - 1)
        let took = simulation.run(forMs: 60_000) { simulation in
            simulation.isConverged && simulation.honest.allSatisfy { simulation.nodes[$0].gossip.record(key) == nil }
        }
        report.add("void everywhere after", took ?? -1, "ms")
        report.require("neither record counts anywhere", took != nil, "\(simulation.differing) differ")
        report.require("every node saw both", simulation.counters.equivocations >= parameters.nodes)
        report.finish(simulation)
        return report
    }
}

extension Simulation {
    /// Starts watching how the next version of `key` spreads.
    package mutating func watch(_ key: RecordKey) {
        watched = key
        arrivals = [:]
        watchedCopies = 0
        watchedSince = clock
    }

    /// From `watch` to the last first arrival.
    package var lastArrivalMs: Int64 {
        let last = nodes.indices.compactMap { arrivals[$0] }.max()
        return last.map { $0.milliseconds(since: watchedSince) } ?? -1
    }
}
