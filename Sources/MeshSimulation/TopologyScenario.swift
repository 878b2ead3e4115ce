internal import MeshBroker
import MeshCrypto
internal import MeshGossip
import MeshModel
internal import MeshRouting
package import MeshTopology
import MeshWire
internal import OrderedCollections

extension Scenario {
    /// The mesh of a topology file: it starts from nothing, a worker comes anew, and each node in turn loses its power
    /// between the disk and the wire. What must hold is that every buyer finds every worker that he may use, and no other.
    package init(_ topology: Topology) {
        self.init(name: topology.name, summary: topology.description, defaultNodes: topology.nodes.count) {
            TopologyRun(topology, $0).report()
        }
    }
}

private struct TopologyRun {
    private let topology: Topology
    private let parameters: ScenarioParameters
    private let positions: OrderedDictionary<String, Int>

    private static let startMs: Int64 = 120_000
    private static let changeMs: Int64 = 30_000

    init(_ topology: Topology, _ parameters: ScenarioParameters) {
        self.topology = topology
        self.parameters = parameters
        positions = OrderedDictionary(
            topology.nodes.enumerated().map { ($0.element.name, $0.offset) }, uniquingKeysWith: { first, _ in first })
    }

    private func position(_ node: String) -> Int { positions[node] ?? 0 }

    // MARK: What there is

    private func mesh() -> Simulation {
        var options = SimulationOptions(nodes: topology.nodes.count, seed: parameters.seed)
        options.start = .cold
        options.dialsBack = true
        options.intervals.beaconMs = topology.beaconIntervalMs
        options.verifiesSignatures = parameters.verifiesSignatures
        options.speaksFirst = parameters.speaksFirst
        options.keepsNames = parameters.keepsNames
        for (index, node) in topology.nodes.enumerated() {
            options.names[index] = node.name
            options.peers[index] = node.peers.map(position)
        }
        var simulation = Simulation(options: options)
        for provider in topology.providers {
            let home = position(provider.home)
            let owner = owner(provider.owner, at: provider.home, simulation)
            simulation.nodes[home].hold(owner)
            simulation.publish(home, [draft(provider, owner, simulation)])
        }
        for worker in topology.workers {
            let owner = owner(worker.provider.owner, at: worker.provider.home, simulation)
            simulation.add(
                SimulatedWorker(
                    name: worker.name, node: position(worker.attach),
                    provider: Simulation.recordKey(.providerAdvert, owner.publicKey, Array(worker.provider.id.utf8)),
                    owner: owner.publicKey, token: token(worker.provider.description), models: models(of: worker)))
        }
        return simulation
    }

    /// Of a backend that is asked for its list nothing is known here.
    private func models(of worker: Topology.Worker) -> [String] {
        switch worker.backend {
        case .demo(let models, _): models
        case .openAI: ["model-of-\(worker.name)"]
        }
    }

    private func owner(_ user: String, at node: String, _ simulation: Simulation) -> SigningKey {
        if OwnerScope(username: user) == .global { return simulation.nodes[position(node)].operatorKey }
        return Simulation.key(parameters.seed.bigEndianBytes + Array("user:\(user)@\(node)".utf8))
    }

    private func token(_ provider: String) -> SigningKey {
        Simulation.key(parameters.seed.bigEndianBytes + Array("token:\(provider)".utf8))
    }

    private func draft(
        _ provider: Topology.Provider, _ owner: SigningKey, _ simulation: Simulation
    ) -> Broker.ProviderDraft {
        let scope = OwnerScope(username: provider.owner)
        var draft = simulation.draft(
            position(provider.home), provider: provider.id, owner: owner,
            username: scope == .global ? nil : provider.owner)
        switch provider.access {
        case .public: draft.advert.access = .public
        case .owner: draft.advert.access = .ownerOnly
        case .named: draft.advert.access = .named
        }
        draft.advert.namedKeys = provider.named.map {
            self.owner($0.user, at: $0.node, simulation).publicKey.bytes.protobuf
        }
        draft.advert.maxConcurrency = UInt32(clamping: provider.maxConcurrency ?? 0)
        let token = token("\(provider.owner)@\(provider.home)/\(provider.id)")
        var key = Aisbf_Mesh_V1_AttachKey()
        key.publicKey = token.publicKey.bytes.protobuf
        key.proof = token.sign(Statement.attachKey(owner: owner.publicKey, providerID: provider.id)).protobuf
        draft.advert.attachKeys = [key]
        return draft
    }

    // MARK: What must hold

    /// How many pairs of a buyer and a model of a worker are not as they should be.
    private func wrong(_ simulation: Simulation) -> Int {
        topology.buyers.reduce(0) { sum, buyer in
            sum
                + topology.workers.enumerated().reduce(0) { sum, worker in
                    let isServed = models(of: worker.element).allSatisfy {
                        serves($0, worker.offset, buyer, simulation)
                    }
                    let mayUse = admits(buyer, worker.element) && !simulation.workers[worker.offset].isStopped
                    return sum + (isServed == mayUse ? 0 : 1)
                }
        }
    }

    private func admits(_ buyer: Topology.Buyer, _ worker: Topology.Worker) -> Bool {
        guard let provider = topology.provider(worker.provider) else { return false }
        let isOwner = provider.owner == buyer.name && provider.home == buyer.node
        switch provider.access {
        case .public: return true
        case .owner: return isOwner
        case .named: return isOwner || provider.named.contains { $0.user == buyer.name && $0.node == buyer.node }
        }
    }

    /// Whether a request of the buyer's for the model, by the provider's full name, finds this worker's node.
    private func serves(_ model: String, _ number: Int, _ buyer: Topology.Buyer, _ simulation: Simulation) -> Bool {
        let node = simulation.nodes[position(buyer.node)]
        let worker = simulation.workers[number]
        let principal = Principal(
            owner: owner(buyer.name, at: buyer.node, simulation).publicKey, username: buyer.name,
            node: node.key.publicKey, nodeOperator: node.operatorKey.publicKey)
        let name = "\(topology.workers[number].provider)/\(model)"
        guard node.isUp, case .success(let route) = node.catalog.resolve(name, for: principal) else { return false }
        let host = simulation.nodes[worker.node].key.publicKey
        return route.providers.contains { provider in
            provider.key == worker.provider
                && provider.hosts.contains { $0.node == host && $0.offer.models.contains(route.model) }
        }
    }

    private func isWhole(_ simulation: Simulation) -> Bool {
        simulation.honest.count == topology.nodes.count && wrong(simulation) == 0
    }

    // MARK: What happens

    func report() -> ScenarioReport {
        var report = ScenarioReport(topology.name, parameters)
        var simulation = mesh()
        let started = simulation.run(forMs: Self.startMs, until: isWhole)
        report.add("all served after", started ?? -1, "ms")
        report.require("every buyer finds what he may use, and nothing else", started != nil)
        if !topology.workers.isEmpty { changeWorker(&simulation, &report) }
        losePower(&simulation, &report)
        let agreed = simulation.run(forMs: Self.startMs) { $0.isConverged && isWhole($0) }
        report.require("all agree in the end", agreed != nil, "\(simulation.differing) differ")
        report.finish(simulation)
        trade(&report)
        return report
    }

    /// A day of buyers, where the topology says what they choose from.
    private func trade(_ report: inout ScenarioReport) {
        guard var day = PoolDay.day(of: topology, parameters) else { return }
        day.run()
        let mesh = report.traceHash
        day.tell(&report)
        report.traceHash = Sodium.shared.hash16(mesh.bytes + day.traceHash.bytes, key: [])
    }

    private func changeWorker(_ simulation: inout Simulation, _ report: inout ScenarioReport) {
        simulation.stop(worker: 0)
        let gone = simulation.run(forMs: Self.changeMs, until: isWhole)
        simulation.resume(worker: 0)
        let back = simulation.run(forMs: Self.changeMs, until: isWhole)
        report.add("a worker that left is gone after", gone ?? -1, "ms")
        report.add("a worker that came is found after", back ?? -1, "ms")
        report.require("everybody sees who comes and goes", gone != nil && back != nil)
    }

    private func losePower(_ simulation: inout Simulation, _ report: inout ScenarioReport) {
        var longest: Int64 = 0
        var areBack = true
        for index in simulation.nodes.indices {
            let before = simulation.counters.crashes
            simulation.doom(index)
            // Its next beacon is written in time.
            simulation.run(forMs: 2 * topology.beaconIntervalMs + Self.changeMs) { $0.counters.crashes > before }
            let took = simulation.run(forMs: Self.startMs, until: isWhole)
            areBack = areBack && took != nil
            longest = max(longest, took ?? -1)
        }
        report.add("power failures", Int64(simulation.counters.crashes), "")
        report.add("served again within", longest, "ms")
        report.require("each node comes back as who it was", areBack)
        report.require(
            "nobody contradicted himself", simulation.counters.equivocations == 0,
            "\(simulation.counters.equivocations) times")
    }
}
