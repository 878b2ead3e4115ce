internal import MeshBroker
import MeshCrypto
import MeshModel
internal import MeshRouting
import MeshWire

extension Scenario {
    /// Every third node comes later, calls itself, its user and its provider as the first node does, and waits for its
    /// names to come free.
    static let hostileNames = Scenario(
        name: "hostile-names", summary: "nodes that take others' names get none of their requests", defaultNodes: 12
    ) { parameters in
        var report = ScenarioReport("hostile-names", parameters)
        var settings = options(parameters)
        settings.catalogIntervalMs = 1_000
        settings.keepsNames = parameters.keepsNames
        var simulation = Simulation(options: settings)
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
        shop.restart(&simulation)
        shop.ask(&simulation)
        report.require("and after a restart", shop.reached == 2 * shop.buyers.count)
        // All but one namesake go, the provider goes, then the honest node takes another name.
        for index in shop.hostile.dropFirst() { simulation.rename(index, "node-\(index)") }
        simulation.publishBound(0, user: "seller", provider: "demo", access: .ownerOnly)
        shop.restart(&simulation)
        shop.ask(&simulation)
        report.require("a provider that is gone is nobody", shop.reached == 0, "\(shop.reached) reached")
        simulation.rename(0, "c")
        shop.restart(&simulation)
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
    private(set) var reached = 0
    private(set) var conflicts = 0
    private(set) var robbed = 0
    private(set) var asked = 0

    init(_ parameters: ScenarioParameters) {
        keepsNames = parameters.keepsNames
        hostile = (1..<max(parameters.nodes, 1)).filter { $0 % 3 == 1 }
        let bad = hostile
        buyers = (1..<max(parameters.nodes, 1)).filter { !bad.contains($0) }
    }

    /// Every buyer's node starts anew with what is on its disk.
    func restart(_ simulation: inout Simulation) {
        for index in buyers {
            simulation.crash(index)
            simulation.restart(index)
        }
    }

    /// Lets what was published arrive, and asks for the seller under its full and its short name everywhere.
    mutating func ask(_ simulation: inout Simulation) {
        if !keepsNames { restart(&simulation) }
        simulation.run(forMs: 30_000)
        reached = 0
        conflicts = 0
        let seller = simulation.nodes[0].key.publicKey
        for index in buyers {
            let node = simulation.nodes[index]
            conflicts += node.broker.names.conflicts.count { $0.name == .node("b") }
            let principal = Principal(
                owner: node.key.publicKey, username: "buyer", node: node.key.publicKey, nodeOperator: nil)
            for name in ["seller@b/demo/m", "demo/m"] {
                asked += 1
                guard case .success(let route) = node.catalog.resolve(name, for: principal) else { continue }
                if route.providers.allSatisfy({ $0.owner == seller }) { reached += 1 } else { robbed += 1 }
            }
        }
    }
}

extension Simulation {
    /// Publishes the advert of a provider of a user, whose key is the node's own.
    mutating func publishBound(
        _ index: Int, user: String, provider: String, access: Aisbf_Mesh_V1_Access
    ) {
        let owner = nodes[index].key
        publish(index, [draft(index, provider: provider, owner: owner, username: user, access: access)])
    }
}
