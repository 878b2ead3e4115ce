internal import MeshModel
internal import MeshRouting
internal import MeshWire
internal import Yams

extension Topology {
    /// Reads and validates the text of a topology file; every problem is named with its path.
    package static func parse(_ text: String) -> Result<Topology, TopologyProblems> {
        guard text.utf8.count <= TopologyLimits.fileBytes else {
            return .failure(.init(problems: [.init(path: "(file)", message: "is larger than 4 MiB")]))
        }
        let root: Yams.Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            return .failure(.init(problems: [.init(path: "(file)", message: "is not valid YAML: \(error)")]))
        }
        var problems: [TopologyProblem] = []
        guard case .mapping(let mapping)? = root else {
            return .failure(
                .init(problems: [.init(path: "(file)", message: "must be a mapping with 'name' and 'nodes'")]))
        }
        var section = TopologySection(mapping, path: "", problems: &problems)
        let topology = read(&section, problems: &problems)
        if problems.isEmpty { TopologyValidation(topology).check(&problems) }
        return problems.isEmpty ? .success(topology) : .failure(TopologyProblems(problems: problems))
    }

    private static func read(_ section: inout TopologySection, problems: inout [TopologyProblem]) -> Topology {
        section.refuseUnknown(
            besides: [
                "name", "description", "network", "beacon_interval_ms", "nodes", "users", "providers", "workers",
                "buyers", "market",
            ],
            problems: &problems)
        let name = section.name("name", problems: &problems)
        var topology = Topology(
            name: name,
            description: section.text("description", default: "", problems: &problems),
            network: section.text("network", default: "aisbf-local-\(name)", problems: &problems),
            beaconIntervalMs: Int64(
                section.integer("beacon_interval_ms", default: 1_000, in: 100...300_000, problems: &problems)),
            nodes: [], users: [], providers: [], workers: [], buyers: [], markets: [])
        section.each("nodes", problems: &problems) { topology.nodes.append(node(&$0, &$1)) }
        section.each("users", problems: &problems) { topology.users.append(user(&$0, &$1)) }
        section.each("providers", problems: &problems) { topology.providers.append(provider(&$0, &$1)) }
        section.each("workers", problems: &problems) { topology.workers.append(worker(&$0, &$1)) }
        section.each("buyers", problems: &problems) { topology.buyers.append(buyer(&$0, &$1)) }
        section.each("market", problems: &problems) { topology.markets.append(market(&$0, &$1)) }
        return topology
    }

    private static func node(_ section: inout TopologySection, _ problems: inout [TopologyProblem]) -> Node {
        section.refuseUnknown(besides: ["name", "region", "peers"], problems: &problems)
        return Node(
            name: section.name("name", problems: &problems),
            region: section.text("region", default: "", problems: &problems),
            peers: section.texts("peers", problems: &problems))
    }

    private static func user(_ section: inout TopologySection, _ problems: inout [TopologyProblem]) -> User {
        section.refuseUnknown(besides: ["name", "home"], problems: &problems)
        return User(
            name: section.name("name", problems: &problems), home: section.name("home", problems: &problems))
    }

    private static func buyer(_ section: inout TopologySection, _ problems: inout [TopologyProblem]) -> Buyer {
        section.refuseUnknown(besides: ["name", "node"], problems: &problems)
        return Buyer(
            name: section.name("name", problems: &problems), node: section.name("node", problems: &problems))
    }

    private static func provider(_ section: inout TopologySection, _ problems: inout [TopologyProblem]) -> Provider {
        section.refuseUnknown(
            besides: ["id", "owner", "home", "access", "named", "max_concurrency", "backend"], problems: &problems)
        let word = section.text("access", default: "owner", problems: &problems)
        let access = Access(rawValue: word)
        if access == nil {
            section.report("access", "must be 'public', 'owner' or 'named', not '\(word)'", problems: &problems)
        }
        let concurrency = section.integer("max_concurrency", default: 0, in: 0...100_000, problems: &problems)
        var named: [AccountName] = []
        for (index, text) in section.texts("named", problems: &problems).enumerated() {
            if let account = accountName(text) {
                named.append(account)
            } else {
                section.report("named[\(index)]", "must look like user@node", problems: &problems)
            }
        }
        var backend: Backend?
        section.child("backend", problems: &problems) { backend = Self.backend(&$0, &$1) }
        return Provider(
            id: section.name("id", problems: &problems), owner: section.name("owner", problems: &problems),
            home: section.name("home", problems: &problems), access: access ?? .owner, named: named,
            maxConcurrency: concurrency == 0 ? nil : concurrency, backend: backend)
    }

    private static func market(_ section: inout TopologySection, _ problems: inout [TopologyProblem]) -> Market {
        section.refuseUnknown(besides: ["nodes", "rotations", "policies"], problems: &problems)
        var market = Market(
            nodes: section.texts("nodes", problems: &problems), rotations: [], policies: [], document: .object([]))
        if market.nodes.isEmpty { section.report("nodes", "must name the nodes that have this", problems: &problems) }
        var members: [JSONValue.Member] = []
        let rotations = section.documents("rotations", problems: &problems)
        if !rotations.isEmpty { members.append(.init("rotations", .array(rotations))) }
        for (index, document) in rotations.enumerated() {
            let (rotation, wrong) = Rotation.read(document.without("owner"))
            for problem in wrong {
                section.report("rotations[\(index)].\(problem.path)", problem.message, problems: &problems)
            }
            market.rotations.append(rotation)
        }
        let policies = section.documents("policies", problems: &problems)
        if !policies.isEmpty { members.append(.init("policies", .array(policies))) }
        for (index, document) in policies.enumerated() {
            let (policy, wrong) = Policy.read(document.without("owner"))
            for problem in wrong {
                section.report("policies[\(index)].\(problem.path)", problem.message, problems: &problems)
            }
            market.policies.append(policy)
        }
        market.document = .object(members)
        return market
    }

    private static func worker(_ section: inout TopologySection, _ problems: inout [TopologyProblem]) -> Worker {
        section.refuseUnknown(besides: ["name", "provider", "attach", "backend"], problems: &problems)
        let text = section.text("provider", default: "", problems: &problems)
        let provider = providerName(text)
        if provider == nil { section.report("provider", "must look like owner@node/id", problems: &problems) }
        var backend = Backend.demo(models: ["demo-chat"], tokensPerSecond: 50)
        section.child("backend", problems: &problems) { backend = Self.backend(&$0, &$1) }
        return Worker(
            name: section.name("name", problems: &problems),
            provider: provider ?? ProviderName(owner: "", home: "", id: ""),
            attach: section.name("attach", problems: &problems), backend: backend)
    }

    private static func backend(_ section: inout TopologySection, _ problems: inout [TopologyProblem]) -> Backend {
        section.refuseUnknown(besides: ["kind", "models", "tokens_per_second", "base_url"], problems: &problems)
        let kind = section.text("kind", default: "demo", problems: &problems)
        switch kind {
        case "demo":
            let models = section.texts("models", problems: &problems)
            let speed = section.integer("tokens_per_second", default: 50, in: 0...1_000_000, problems: &problems)
            return .demo(models: models.isEmpty ? ["demo-chat"] : models, tokensPerSecond: speed)
        case "openai":
            let url = section.text("base_url", default: "", problems: &problems)
            if !url.hasPrefix("http://"), !url.hasPrefix("https://") {
                section.report("base_url", "must be an http or https URL", problems: &problems)
            }
            return .openAI(baseURL: url)
        default:
            section.report("kind", "must be 'demo' or 'openai', not '\(kind)'", problems: &problems)
            return .demo(models: [], tokensPerSecond: 0)
        }
    }

    private static func accountName(_ text: String) -> AccountName? {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, parts.allSatisfy(NameRule.isValid) else { return nil }
        return AccountName(user: parts[0], node: parts[1])
    }

    private static func providerName(_ text: String) -> ProviderName? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, NameRule.isValid(parts[1]), let account = accountName(parts[0]) else { return nil }
        return ProviderName(owner: account.user, home: account.node, id: parts[1])
    }
}

extension JSONValue {
    /// Whose something is, is no part of it.
    fileprivate func without(_ name: String) -> JSONValue { .object((members ?? []).filter { $0.name != name }) }
}
