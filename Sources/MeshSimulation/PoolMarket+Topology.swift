import MeshModel
import MeshRouting
import MeshTopology

extension PoolMarket {
    /// What a topology sells: a seat for each node at which a provider has workers, or a backend of its own. What buyers
    /// ask for are the rotations and policies of its markets.
    init(_ topology: Topology, seed: UInt64) {
        let sellers = topology.providers.map { provider in
            let nodes = Self.nodes(of: provider, topology)
            return Seller(
                name: Self.name(of: provider), window: Self.usualWindow, nodes: nodes.count,
                places: provider.maxConcurrency, isHosted: provider.backend != nil)
        }
        let rotations = Self.named(topology.markets.flatMap(\.rotations), by: \.name)
        self.init(
            sellers: sellers, rotations: rotations, inner: [],
            policies: Self.named(topology.markets.flatMap(\.policies), by: \.name), seed: seed)
        for (number, provider) in topology.providers.enumerated() {
            for host in Self.nodes(of: provider, topology) {
                seats.append(Seat(seller: number, node: Self.node(host), host: host))
            }
        }
    }

    /// The node of this number, as buyers' nodes know it.
    static func node(_ number: Int) -> PublicKey {
        PublicKey(Bytes32(high: Bytes16(high: 0x6e6f_6465, low: UInt64(number)), low: .zero))
    }

    static func name(of provider: Topology.Provider) -> String {
        "\(provider.owner)@\(provider.home)/\(provider.id)"
    }

    /// A topology tells none.
    private static let usualWindow = 131_072

    private static func nodes(of provider: Topology.Provider, _ topology: Topology) -> [Int] {
        let places =
            provider.backend != nil
            ? [provider.home] : topology.workers.filter { $0.provider.description == name(of: provider) }.map(\.attach)
        return topology.nodes.indices.filter { places.contains(topology.nodes[$0].name) }
    }

    /// Several nodes may have the same one.
    private static func named<Thing>(_ things: [Thing], by name: (Thing) -> String) -> [Thing] {
        things.enumerated().filter { number, thing in
            !things[..<number].contains { name($0) == name(thing) }
        }.map(\.element)
    }
}
