package import MeshModel

/// What a catalog offers, laid out for choosing: one **candidate** for each model that a provider has at a node, however many
/// of its workers there have it; candidates of one model lie side by side. Built when the catalog changes; a decision then
/// looks at the candidates of the models that are asked for and at nothing else.
///
/// Which of a provider's workers at the node serves the request is decided there. So of workers that differ a candidate shows
/// the best: the largest window, and all that one of them takes.
package struct PolicyIndex: Sendable {
    /// Facts of one candidate, as numbers: looked at a thousand times for one request.
    struct Row: Sendable {
        var model: Int32
        var provider: Int32
        var node: Int32
        /// -1: not known, or in a currency that is not compared.
        var prices: Int32 = -1
        /// The prices that each decision reads.
        var input: Int64 = 0
        var output: Int64 = 0
        var request: Int64 = 0
        var endpoints: Int32 = 0
        /// 0: not told.
        var quantization: Int32 = 0
        var contextTokens: UInt32 = 0
        var slots: Int32 = 0
        /// Bits of `RequestParameters` and `Modalities`: sets of another module would be asked through tables.
        var parameters: UInt64 = 0
        var modalities: UInt8 = 0
        var knowsModalities = false
        var isHere: Bool
        var isHosted: Bool
        var isPublic: Bool
        var isAtHome: Bool
        /// At a node of the operator of this one.
        var isAtOperator: Bool
        var dataPolicy: DataPolicy
    }

    /// The least that candidates which lie side by side ask: a decision passes over all of them at once when even that is too much.
    struct Block: Sendable {
        var input = Int64.max
        var output = Int64.max
        var request = Int64.max

        /// So many candidates are one block.
        static let rows = 64

        mutating func add(_ row: Row) {
            // Who tells no price is judged like one who asks nothing.
            let isKnown = row.prices >= 0
            input = min(input, isKnown ? row.input : 0)
            output = min(output, isKnown ? row.output : 0)
            request = min(request, isKnown ? row.request : 0)
        }
    }

    let catalog: Catalog
    private(set) var rows: [Row] = []
    /// Those of each model, behind each other; and where those of each model begin.
    private(set) var blocks: [Block] = []
    private(set) var firstBlocks: [Int] = []
    /// Where the rows of each model lie.
    private(set) var ranges: [Range<Int>] = []
    private(set) var models = NumberedNames()
    private(set) var prices: [Prices] = []
    private(set) var quantizations = NumberedNames()
    /// Sets of paths that workers advertise.
    private(set) var endpoints: [[String]] = []
    private(set) var nodes: [CatalogNode] = []
    private var nodeNumbers: [PublicKey: Int] = [:]
    /// What the providers are called, in lower case, each with its numbers.
    private var providersByName: [String: [Int]] = [:]
    private var providersByOwner: [PublicKey: [Int]] = [:]
    /// Those that are not for everybody.
    private var closed: [Int] = []
    /// Lists of models that were read, each with what is in it: most workers have the same few. Of use while it is built.
    private var described: [(list: ModelList, models: [Described])] = []

    /// A model of a list, in numbers.
    private struct Described: Sendable {
        var model: Int32
        var quantization: Int32
        var contextTokens: UInt32
        var parameters: UInt64
        var modalities: UInt8
        var knowsModalities: Bool
        /// Whether it stands in the list once more, before.
        var isAgain: Bool
    }

    private static let listsKept = 8

    package init(_ catalog: Catalog) {
        self.catalog = catalog
        _ = quantizations.number("")
        for node in catalog.nodes { number(node) }
        let here = catalog.node(catalog.node)?.operatorKey
        var sorted: [[Row]] = []
        var sets: [[String]: Int] = [:]
        for (place, provider) in catalog.providers.enumerated() {
            name(provider, place)
            for row in candidates(of: provider, place, operatorHere: here, &sets) {
                while sorted.count <= Int(row.model) { sorted.append([]) }
                sorted[Int(row.model)].append(row)
            }
        }
        rows.reserveCapacity(sorted.reduce(0) { $0 + $1.count })
        for model in sorted.indices { lay(out: &sorted[model]) }
        described = []
    }

    /// Those that ask little lie together, and whoever tells no price before them.
    private mutating func lay(out ofModel: inout [Row]) {
        ofModel.sort { left, right in
            if (left.prices < 0) != (right.prices < 0) { return left.prices < 0 }
            if left.input != right.input { return left.input < right.input }
            if left.output != right.output { return left.output < right.output }
            return (left.provider, left.node) < (right.provider, right.node)
        }
        ranges.append(rows.count..<rows.count + ofModel.count)
        firstBlocks.append(blocks.count)
        for start in stride(from: 0, to: ofModel.count, by: Block.rows) {
            var block = Block()
            for row in ofModel[start..<min(start + Block.rows, ofModel.count)] { block.add(row) }
            blocks.append(block)
        }
        rows += ofModel
    }

    package var count: Int { rows.count }

    // MARK: Building

    @discardableResult
    private mutating func number(_ node: CatalogNode) -> Int {
        if let known = nodeNumbers[node.key] { return known }
        nodeNumbers[node.key] = nodes.count
        nodes.append(node)
        return nodes.count - 1
    }

    private mutating func name(_ provider: CatalogProvider, _ place: Int) {
        if provider.access != .everyone { closed.append(place) }
        providersByOwner[provider.owner, default: []].append(place)
        var names = [
            Self.folded(provider.providerID), Self.folded(provider.fullName), ProviderKeyName.text(provider.tokenSalt),
        ]
        if names[1] == names[2] { names.removeLast() }
        for name in names { providersByName[name, default: []].append(place) }
    }

    private mutating func candidates(
        of provider: CatalogProvider, _ place: Int, operatorHere: PublicKey?, _ sets: inout [[String]: Int]
    ) -> [Row] {
        var found: [Row] = []
        let priced = PricedModels(provider)
        // Workers of a provider at one node mostly have one list.
        var begin = 0
        var node: PublicKey?
        var last: ModelList?
        for host in provider.hosts.sorted(by: { $0.node < $1.node }) {
            if host.node != node {
                (node, begin, last) = (host.node, found.count, nil)
            }
            let number = number(
                CatalogNode(key: host.node, name: host.nodeName, operatorKey: nil, apiURL: "", linkAddresses: []))
            let runs = nodes[number].operatorKey
            var row = Row(
                model: 0, provider: Int32(place), node: Int32(number), slots: Int32(clamping: host.offer.slots),
                isHere: host.node == catalog.node, isHosted: provider.kind == ProviderKind.upstream,
                isPublic: provider.access == .everyone, isAtHome: host.node == provider.homeNode,
                isAtOperator: host.node == catalog.node || (runs != nil && runs == operatorHere),
                dataPolicy: provider.dataPolicy)
            row.endpoints = Int32(set(of: host.offer.endpoints, &sets))
            if let last, last == host.offer.models {
                for place in found.indices[begin...] { addWorker(to: &found[place], row, &sets) }
                continue
            }
            let isFirst = last == nil
            for model in describe(host.offer.models) {
                take(model, into: &row, priced)
                // The first list at a node has each model once, but for those that it repeats.
                let known = isFirst && !model.isAgain ? nil : found[begin...].firstIndex { $0.model == row.model }
                if let known {
                    addWorker(to: &found[known], row, &sets)
                    addFacts(to: &found[known], row)
                } else {
                    found.append(row)
                }
            }
            last = host.offer.models
        }
        return found
    }

    private mutating func describe(_ list: ModelList) -> [Described] {
        if let known = described.last(where: { $0.list == list }) { return known.models }
        var seen: Set<Int32> = []
        let told = list.map { model in
            let number = Int32(models.number(model.id))
            return Described(
                model: number, quantization: Int32(quantizations.number(model.quantization ?? "")),
                contextTokens: model.contextTokens ?? 0, parameters: model.parameters.rawValue,
                modalities: Modalities(names: model.modalities).rawValue, knowsModalities: !model.modalities.isEmpty,
                isAgain: !seen.insert(number).inserted)
        }
        if described.count == Self.listsKept { described.removeFirst() }
        described.append((list, told))
        return told
    }

    private mutating func take(_ model: Described, into row: inout Row, _ priced: PricedModels) {
        row.model = model.model
        row.contextTokens = model.contextTokens
        row.knowsModalities = model.knowsModalities
        row.modalities = model.modalities
        row.parameters = model.parameters
        row.quantization = model.quantization
        row.prices = -1
        (row.input, row.output, row.request) = (0, 0, 0)
        if let told = priced[models.names[Int(model.model)]], told.currency == .usd {
            row.prices = Int32(prices.count)
            (row.input, row.output, row.request) = (told.input, told.output, told.request)
            prices.append(told)
        }
    }

    /// Another worker of the same provider at the same node has the model as well.
    private mutating func addWorker(to row: inout Row, _ other: Row, _ sets: inout [[String]: Int]) {
        row.slots += min(other.slots, Int32.max - row.slots)
        if row.endpoints != other.endpoints {
            let both = endpoints[Int(row.endpoints)] + endpoints[Int(other.endpoints)]
            row.endpoints = Int32(set(of: both, &sets))
        }
    }

    private func addFacts(to row: inout Row, _ other: Row) {
        row.contextTokens = max(row.contextTokens, other.contextTokens)
        row.modalities |= other.modalities
        row.knowsModalities = row.knowsModalities || other.knowsModalities
        row.parameters |= other.parameters
        if row.quantization == 0 { row.quantization = other.quantization }
    }

    private mutating func set(of paths: [String], _ sets: inout [[String]: Int]) -> Int {
        var each: [String] = []
        for path in paths.sorted() where each.last != path { each.append(path) }
        if let known = sets[each] { return known }
        sets[each] = endpoints.count
        endpoints.append(each)
        return endpoints.count - 1
    }

    // MARK: Looking up

    /// Names are written in any case by people, and in lower case by the mesh.
    static func folded(_ name: String) -> String { name.lowercased() }

    func providers(named name: String) -> [Int] { providersByName[Self.folded(name)] ?? [] }

    func providers(of owner: PublicKey) -> [Int] { providersByOwner[owner] ?? [] }

    /// Those that are not for everybody, and are for `principal`; nil where all are for everybody.
    func admitted(_ principal: Principal) -> [Int]? {
        closed.isEmpty ? nil : closed.filter { catalog.providers[$0].admits(principal) }
    }

    /// The number of a candidate, by which its state is kept.
    package func number(provider: RecordKey, node: PublicKey, model: String) -> Int? {
        guard let known = models[model], let place = nodeNumbers[node] else { return nil }
        return ranges[known].first { row in
            rows[row].node == place && catalog.providers[Int(rows[row].provider)].key == provider
        }
    }

    package func number(of key: CandidateKey) -> Int? {
        number(provider: key.provider, node: key.node, model: key.model)
    }

    package func candidate(_ number: Int) -> PolicyCandidate {
        let row = rows[number]
        let node = nodes[Int(row.node)]
        return PolicyCandidate(
            provider: catalog.providers[Int(row.provider)], node: node, model: models.names[Int(row.model)],
            prices: row.prices < 0 ? nil : prices[Int(row.prices)],
            contextTokens: row.contextTokens == 0 ? nil : row.contextTokens,
            modalities: row.knowsModalities ? Modalities(rawValue: row.modalities) : nil,
            parameters: row.parameters == 0 ? nil : RequestParameters(rawValue: row.parameters),
            quantization: row.quantization == 0 ? nil : quantizations.names[Int(row.quantization)],
            slots: row.slots == 0 ? nil : row.slots, isHere: row.isHere, isHosted: row.isHosted)
    }
}

/// One candidate, for people: nil is what nobody told.
package struct PolicyCandidate: Hashable, Sendable {
    package var provider: CatalogProvider
    package var node: CatalogNode
    package var model: String
    package var prices: Prices?
    package var contextTokens: UInt32?
    package var modalities: Modalities?
    package var parameters: RequestParameters?
    package var quantization: String?
    package var slots: Int32?
    /// At the node that was asked.
    package var isHere: Bool
    /// A hosted API and no worker.
    package var isHosted: Bool

    /// Where a request to it goes.
    package var route: Route { Route(providers: [provider], model: model) }
}

/// A provider's prices by model: nearly always one for all of them.
private struct PricedModels {
    private let list: PriceList
    private let forAll: Prices?

    init(_ provider: CatalogProvider) {
        list = provider.prices
        forAll = list.entries.count == 1 && list.entries[0].model.isEmpty ? list.entries[0].prices : nil
    }

    subscript(model: String) -> Prices? { list.isEmpty ? nil : forAll ?? list[model: model] }
}

/// Names with numbers in the order in which they came.
struct NumberedNames: Sendable {
    private(set) var names: [String] = []
    private var numbers: [String: Int] = [:]

    subscript(name: String) -> Int? { numbers[name] }

    mutating func number(_ name: String) -> Int {
        if let known = numbers[name] { return known }
        numbers[name] = names.count
        names.append(name)
        return names.count - 1
    }
}
