internal import MeshModel
internal import MeshRouting

/// What must hold between the parts of a topology whose parts are well formed.
struct TopologyValidation {
    private let topology: Topology
    private let nodeNames: [String]

    init(_ topology: Topology) {
        self.topology = topology
        nodeNames = topology.nodes.map(\.name)
    }

    func check(_ problems: inout [TopologyProblem]) {
        if topology.nodes.isEmpty { problems.append(.init(path: "nodes", message: "must name at least one node")) }
        if topology.nodes.count > TopologyLimits.nodes {
            problems.append(.init(path: "nodes", message: "are more than \(TopologyLimits.nodes)"))
            return
        }
        if topology.network.isEmpty || topology.network.utf8.count > 4_096 {
            problems.append(.init(path: "network", message: "must have 1 to 4096 bytes"))
        }
        checkNodes(&problems)
        checkAccounts(&problems)
        checkProviders(&problems)
        checkWorkers(&problems)
        checkMarkets(&problems)
    }

    private func checkNodes(_ problems: inout [TopologyProblem]) {
        unique(nodeNames, in: "nodes", field: "name", &problems)
        let known = Set(nodeNames)
        for (index, node) in topology.nodes.enumerated() {
            for (position, peer) in node.peers.enumerated() {
                let path = "nodes[\(index)].peers[\(position)]"
                if peer == node.name {
                    problems.append(.init(path: path, message: "a node is not its own peer"))
                } else if !known.contains(peer) {
                    unknown(peer, path, &problems)
                }
            }
            if !node.region.isEmpty, !NameRule.isValid(node.region) {
                problems.append(.init(path: "nodes[\(index)].region", message: "must be \(NameRule.text)"))
            }
        }
        if problems.isEmpty { checkConnected(&problems) }
    }

    /// Nodes that no chain of peers joins would never find each other.
    private func checkConnected(_ problems: inout [TopologyProblem]) {
        var positions: [String: Int] = [:]
        for (index, name) in nodeNames.enumerated() { positions[name] = index }
        var neighbours = [[Int]](repeating: [], count: nodeNames.count)
        for (index, node) in topology.nodes.enumerated() {
            for peer in node.peers.compactMap({ positions[$0] }) {
                neighbours[index].append(peer)
                neighbours[peer].append(index)
            }
        }
        var reached = [Bool](repeating: false, count: nodeNames.count)
        var open = nodeNames.isEmpty ? [] : [0]
        while let next = open.popLast() {
            if reached[next] { continue }
            reached[next] = true
            open.append(contentsOf: neighbours[next].filter { !reached[$0] })
        }
        for (index, name) in nodeNames.enumerated() where !reached[index] {
            problems.append(
                .init(
                    path: "nodes[\(index)].peers",
                    message: "no chain of peers joins '\(name)' to '\(nodeNames[0])'; name a peer on one side"))
        }
    }

    private func checkAccounts(_ problems: inout [TopologyProblem]) {
        unique(topology.users.map { "\($0.name)@\($0.home)" }, in: "users", field: "name", &problems)
        unique(topology.buyers.map { "\($0.name)@\($0.node)" }, in: "buyers", field: "name", &problems)
        for (index, user) in topology.users.enumerated() {
            mustBeNode(user.home, "users[\(index)].home", &problems)
            mustNotBeGlobal(user.name, "users[\(index)].name", &problems)
        }
        for (index, buyer) in topology.buyers.enumerated() {
            mustBeNode(buyer.node, "buyers[\(index)].node", &problems)
            mustNotBeGlobal(buyer.name, "buyers[\(index)].name", &problems)
        }
    }

    private func checkProviders(_ problems: inout [TopologyProblem]) {
        unique(topology.providers.map { "\($0.owner)@\($0.home)/\($0.id)" }, in: "providers", field: "id", &problems)
        for (index, provider) in topology.providers.enumerated() {
            let path = "providers[\(index)]"
            mustBeNode(provider.home, "\(path).home", &problems)
            if provider.owner != "global", !hasAccount(provider.owner, at: provider.home) {
                problems.append(
                    .init(
                        path: "\(path).owner",
                        message: "'\(provider.owner)' is no user at node '\(provider.home)'; add it under 'users'"))
            }
            if provider.named.isEmpty == (provider.access == .named) {
                problems.append(.init(path: "\(path).named", message: "belongs to 'access: named', and only there"))
            }
            for (position, account) in provider.named.enumerated() where !hasAccount(account.user, at: account.node) {
                problems.append(
                    .init(path: "\(path).named[\(position)]", message: "no such user or buyer in this topology"))
            }
        }
    }

    private func checkWorkers(_ problems: inout [TopologyProblem]) {
        unique(topology.workers.map(\.name), in: "workers", field: "name", &problems)
        for (index, worker) in topology.workers.enumerated() {
            mustBeNode(worker.attach, "workers[\(index)].attach", &problems)
            if topology.provider(worker.provider)?.backend != nil {
                problems.append(
                    .init(
                        path: "workers[\(index)].provider",
                        message: "'\(worker.provider)' has a backend: its home node serves it, and no worker"))
            }
            if topology.provider(worker.provider) == nil {
                let names = topology.providers.map { "\($0.owner)@\($0.home)/\($0.id)" }
                problems.append(
                    .init(
                        path: "workers[\(index)].provider",
                        message: "there is no provider '\(worker.provider)'"
                            + NearName.hint(for: "\(worker.provider)", among: names)))
            }
        }
    }

    private func checkMarkets(_ problems: inout [TopologyProblem]) {
        for (index, market) in topology.markets.enumerated() {
            let path = "market[\(index)]"
            for (position, node) in market.nodes.enumerated() {
                mustBeNode(node, "\(path).nodes[\(position)]", &problems)
            }
            for (position, rotation) in market.rotations.enumerated() {
                let wrong = rotation.problems { name in market.rotations.first { $0.name == name } }
                for problem in wrong {
                    problems.append(
                        .init(path: "\(path).rotations[\(position)].\(problem.path)", message: problem.message))
                }
            }
        }
    }

    private func hasAccount(_ user: String, at node: String) -> Bool {
        topology.users.contains { $0.name == user && $0.home == node }
            || topology.buyers.contains { $0.name == user && $0.node == node }
    }

    private func mustBeNode(_ name: String, _ path: String, _ problems: inout [TopologyProblem]) {
        if !nodeNames.contains(name) { unknown(name, path, &problems) }
    }

    private func mustNotBeGlobal(_ name: String, _ path: String, _ problems: inout [TopologyProblem]) {
        if name == "global" {
            problems.append(.init(path: path, message: "'global' means the operator and cannot be a user"))
        }
    }

    private func unknown(_ name: String, _ path: String, _ problems: inout [TopologyProblem]) {
        problems.append(
            .init(path: path, message: "there is no node '\(name)'" + NearName.hint(for: name, among: nodeNames)))
    }

    private func unique(
        _ names: [String], in list: String, field: String, _ problems: inout [TopologyProblem]
    ) {
        var seen: Set<String> = []
        for (index, name) in names.enumerated() where !seen.insert(name).inserted {
            problems.append(.init(path: "\(list)[\(index)].\(field)", message: "'\(name)' is there twice"))
        }
    }
}
