import MeshCrypto
internal import MeshGossip
package import MeshModel
internal import MeshRouting
import MeshWire
internal import SwiftProtobuf

extension Scenario {
    /// Every third node comes later, calls itself, its user and its provider as the first node does, and waits for its
    /// names to come free.
    static let hostileNames = Scenario(
        name: "hostile-names", summary: "nodes that take others' names get none of their requests", defaultNodes: 12
    ) { parameters in
        var report = ScenarioReport("hostile-names", parameters)
        var options = SimulationOptions(nodes: parameters.nodes, seed: parameters.seed)
        options.verifiesSignatures = parameters.verifiesSignatures
        options.intervals.beaconMs = 60_000
        var simulation = Simulation(options: options)
        var shop = NameShop(parameters)
        simulation.run(forMs: 3_000)

        // The honest one alone.
        simulation.rename(0, "b")
        simulation.publishBound(0, user: "seller", provider: "demo", access: .public)
        shop.ask(&simulation)
        report.require("every buyer reaches the seller by both names", shop.reached == 2 * shop.buyers.count)
        // Namesakes come, then the buyers' nodes start anew.
        for index in shop.hostile {
            simulation.rename(index, "b")
            simulation.publishBound(index, user: "seller", provider: "demo", access: .public)
        }
        shop.ask(&simulation)
        report.require("and still does beside its namesakes", shop.reached == 2 * shop.buyers.count)
        report.require(
            "each namesake is shown to each operator", shop.conflicts >= shop.hostile.count * shop.buyers.count)
        shop.restart()
        shop.ask(&simulation)
        report.require("and after a restart", shop.reached == 2 * shop.buyers.count)
        // All but one namesake go, the provider goes, then the honest node takes another name.
        for index in shop.hostile.dropFirst() { simulation.rename(index, "node-\(index)") }
        simulation.publishBound(0, user: "seller", provider: "demo", access: .ownerOnly)
        shop.restart()
        shop.ask(&simulation)
        report.require("a provider that is gone is nobody", shop.reached == 0, "\(shop.reached) reached")
        simulation.rename(0, "c")
        shop.restart()
        shop.ask(&simulation)
        simulation.publishBound(0, user: "seller", provider: "demo", access: .public)
        shop.ask(&simulation)
        report.require("back under another node name it has its old names", shop.reached == 2 * shop.buyers.count)
        report.add("requests", Int64(shop.asked), "")
        report.add("to namesakes", Int64(shop.robbed), "")
        report.require("no request reached a namesake", shop.robbed == 0, "\(shop.robbed) of \(shop.asked)")
        report.finish(simulation)
        return report
    }
}

/// The buyers of the scenario: what each one's node makes of the records it holds.
private struct NameShop {
    private let keepsNames: Bool
    let hostile: [Int]
    let buyers: [Int]
    private var builders: [CatalogBuilder?]
    private(set) var reached = 0
    private(set) var conflicts = 0
    private(set) var robbed = 0
    private(set) var asked = 0

    init(_ parameters: ScenarioParameters) {
        keepsNames = parameters.keepsNames
        hostile = (1..<max(parameters.nodes, 1)).filter { $0 % 3 == 1 }
        let bad = hostile
        buyers = (1..<max(parameters.nodes, 1)).filter { !bad.contains($0) }
        builders = Array(repeating: nil, count: parameters.nodes)
    }

    /// Every buyer's node starts anew with what it had stored.
    mutating func restart() {
        for index in buyers {
            let stored = keepsNames ? builders[index]?.names.all ?? [] : []
            builders[index] = builders[index].map {
                CatalogBuilder(node: $0.node, cryptography: Sodium.shared, names: stored)
            }
        }
    }

    /// Lets what was published arrive, and asks for the seller under its full and its short name everywhere.
    mutating func ask(_ simulation: inout Simulation) {
        simulation.run(forMs: 30_000)
        if !keepsNames { restart() }
        reached = 0
        conflicts = 0
        let seller = simulation.nodes[0].key.publicKey
        for index in buyers {
            let key = simulation.nodes[index].key.publicKey
            var builder = builders[index] ?? CatalogBuilder(node: key, cryptography: Sodium.shared)
            let gossip = simulation.nodes[index].gossip
            let catalog = builder.build(
                CatalogBuilder.Records(
                    descriptors: gossip.usableRecords(of: .nodeDescriptor),
                    adverts: gossip.usableRecords(of: .providerAdvert), grants: [], attachments: []),
                reachable: [], wall: simulation.now(index).wall)
            builders[index] = builder
            conflicts += builder.names.conflicts.count { $0.name == .node("b") }
            let principal = Principal(owner: key, username: "buyer", node: key, nodeOperator: nil)
            for name in ["seller@b/demo/m", "demo/m"] {
                asked += 1
                guard case .success(let route) = catalog.resolve(name, for: principal) else { continue }
                if route.providers.allSatisfy({ $0.owner == seller }) { reached += 1 } else { robbed += 1 }
            }
        }
    }
}

extension Simulation {
    /// The node calls itself `name` from now on.
    mutating func rename(_ index: Int, _ name: String) {
        let record = describe(index, name: name)
        drive(index, .publish(record))
    }

    /// Publishes the advert of a provider of a user, whose key is the node's own.
    mutating func publishBound(
        _ index: Int, user: String, provider: String, access: Aisbf_Mesh_V1_Access
    ) {
        let key = nodes[index].key
        let notAfter = Self.wallStart.advanced(byMilliseconds: 30 * 86_400_000)
        let statement = Statement.scopeBinding(
            username: user, owner: key.publicKey, home: key.publicKey, notAfter: notAfter)
        let body = Aisbf_Mesh_V1_ProviderAdvert.with {
            $0.providerID = provider
            $0.homeNode.append(contentsOf: key.publicKey.bytes)
            $0.access = access
            $0.kind = "simulated"
            $0.binding.username = user
            $0.binding.ownerKey.append(contentsOf: key.publicKey.bytes)
            $0.binding.homeNode.append(contentsOf: key.publicKey.bytes)
            $0.binding.notAfterMs = UInt64(clamping: notAfter.milliseconds)
            $0.binding.signature.append(contentsOf: key.sign(statement))
        }
        let record = sign(
            index, .providerAdvert, name: Array(provider.utf8), lifeMs: RecordType.providerAdvert.maximumLifeMs,
            body: RecordBody.bytes(of: body))
        drive(index, .publish(record))
    }
}
