package import MeshModel
internal import OrderedCollections

/// What names mean at this node: what it first learnt, for ever, or until the operator says otherwise.
///
/// Nodes and users choose their names themselves and nobody hands them out, so two may have the same one. Whoever comes
/// later gets nothing that was sent to a name before. When two come at once the name means nobody.
package struct NameBook: Sendable {
    private let node: PublicKey
    private var pins: OrderedDictionary<MeshName, NamePin> = [:]
    private var countByHome: [PublicKey: Int] = [:]
    private var modelsByHome: [PublicKey: Int] = [:]
    private var nextOrder: UInt64 = 1
    /// This node's own name now.
    private var ownName = ""
    /// What was learnt of each provider, so that nothing is looked at twice.
    private var models: [RecordKey: [String]] = [:]
    private var lastView = View()
    private var lookedAt = Timestamp(milliseconds: 0)
    private var evictedAt = Timestamp(milliseconds: 0)
    private var changes: [NameChange] = []
    /// Claims that do not fit, as of the last look.
    package private(set) var conflicts: [NameConflict] = []
    private var news: [NameConflict] = []

    package init(node: PublicKey, pins: [NamePin] = []) {
        self.node = node
        for pin in pins { keep(pin) }
        changes = []
    }

    /// In the order in which they were learnt.
    package var all: [NamePin] { pins.values.sorted { $0.order < $1.order } }

    package func pin(_ name: MeshName) -> NamePin? { pins[name] }

    // MARK: Looking up

    /// The key of the node that `name` means.
    func node(named name: String) -> PublicKey? {
        name == ownName ? node : pins[.node(name)]?.holder.flatMap { PublicKey($0) }
    }

    /// The key of the owner that `username` means at `node`.
    func owner(named username: String, at node: PublicKey) -> PublicKey? {
        pins[.owner(username, at: node)]?.holder.flatMap { PublicKey($0) }
    }

    /// Since when `id` is the short name of a provider for `owner`.
    func since(_ id: String, for owner: PublicKey) -> UInt64? {
        [MeshName.own(id, owner: owner), .global(id), .provider(id)].compactMap { pins[$0]?.order }.min()
    }

    /// Whether `text` was a model's id before `order`.
    func isModel(_ text: String, before order: UInt64) -> Bool { pins[.model(text)].map { $0.order < order } ?? false }

    enum Short: Hashable {
        case provider(RecordKey)
        /// The text is a model's id.
        case model
        /// Several providers came under that name at once.
        case contested
        /// Nobody was ever called so.
        case unknown
    }

    /// What `provider/model` (the whole of it is `text`) means: the caller's own provider of that id, else the
    /// operator's of this node, else the first one that was learnt; but a model id that was there before all of
    /// these stays one.
    func short(_ id: String, in text: String, for owner: PublicKey) -> Short {
        let named = [MeshName.own(id, owner: owner), .global(id), .provider(id)].compactMap { pins[$0] }
        guard let pin = named.first, let first = named.map(\.order).min() else {
            return pins[.model(text)] == nil ? .unknown : .model
        }
        if let model = pins[.model(text)], model.order < first { return .model }
        return pin.holder.flatMap { RecordKey($0) }.map(Short.provider) ?? .contested
    }

    // MARK: Learning

    /// Takes in what a catalog shows.
    package mutating func learn(_ nodes: [CatalogNode], _ providers: [CatalogProvider], wall: Timestamp) {
        for known in nodes where known.key == node { ownName = known.name }
        let view = View(nodes, providers)
        // Most catalogs differ from the one before in their workers only.
        if view != lastView || wall.milliseconds - lookedAt.milliseconds > Self.weekMs {
            lastView = view
            lookedAt = wall
            learnNames(nodes, providers, wall)
            models = [:]
        }
        learnModels(of: providers, wall)
    }

    private mutating func learnNames(_ nodes: [CatalogNode], _ providers: [CatalogProvider], _ wall: Timestamp) {
        let before = Set(conflicts)
        conflicts = []
        var claims = Claims()
        for known in nodes { claims.add(.node(known.name), known.key.bytes, home: known.key) }
        for provider in providers { claim(provider, &claims) }
        for (name, claimants) in claims.byName { settle(name, claimants, wall) }
        news += conflicts.filter { $0.name.isFull && !before.contains($0) }
    }

    /// What of a catalog has to do with names.
    private struct View: Hashable {
        struct Provider: Hashable {
            var key: RecordKey
            var advert: Bytes32
            var home: String
        }

        var nodes: [PublicKey] = []
        var nodeNames: [String] = []
        var providers: [Provider] = []

        init() {}

        init(_ nodes: [CatalogNode], _ providers: [CatalogProvider]) {
            self.nodes = nodes.map(\.key)
            nodeNames = nodes.map(\.name)
            self.providers = providers.map { Provider(key: $0.key, advert: $0.advertHash, home: $0.homeName) }
        }
    }

    private struct Claim {
        var holder: [UInt8]
        var home: PublicKey
    }

    private struct Claims {
        var byName: OrderedDictionary<MeshName, [Claim]> = [:]

        mutating func add(_ name: MeshName, _ holder: [UInt8], home: PublicKey) {
            if byName[name]?.contains(where: { $0.holder == holder }) ?? false { return }
            byName[name, default: []].append(Claim(holder: holder, home: home))
        }
    }

    private func claim(_ provider: CatalogProvider, _ claims: inout Claims) {
        let home = provider.homeNode
        claims.add(.node(provider.homeName), home.bytes, home: home)
        claims.add(.owner(provider.scope.username, at: home), provider.owner.bytes, home: home)
        // Stays the same when the provider becomes private or public.
        let key = provider.tokenSalt.bytes
        if home == node || provider.access == .ownerOnly {
            claims.add(.own(provider.providerID, owner: provider.owner), key, home: home)
        }
        if home == node, provider.scope == .global { claims.add(.global(provider.providerID), key, home: home) }
        if provider.access != .ownerOnly { claims.add(.provider(provider.providerID), key, home: home) }
    }

    private mutating func settle(_ name: MeshName, _ claims: [Claim], _ wall: Timestamp) {
        var own = claims.first { $0.home == node }
        // Other nodes' providers may have any short name; this node's own names are its own.
        if !name.isFull, case .provider = name { own = nil }
        if let own, pins[name]?.holder != own.holder, isForced(name) {
            put(name, own.holder, own.home, wall)
        } else if pins[name] == nil {
            put(name, claims.count == 1 ? claims[0].holder : nil, claims[0].home, wall)
        }
        guard let pin = pins[name] else { return }
        refresh(pin, wall)
        for claim in claims where claim.holder != pin.holder && conflicts.count < Limits.nameConflicts {
            conflicts.append(
                NameConflict(name: name, holder: pin.holder, claimant: claim.holder, home: claim.home))
        }
    }

    /// Whether this node has the name whoever had it before.
    private func isForced(_ name: MeshName) -> Bool {
        if case .node(let text) = name { return text == ownName }
        return false
    }

    private mutating func learnModels(of providers: [CatalogProvider], _ wall: Timestamp) {
        for provider in providers where models[provider.key] != provider.modelsSeen {
            models[provider.key] = provider.modelsSeen
            for model in provider.modelsSeen where model.utf8.contains(UInt8(ascii: "/")) {
                if let pin = pins[.model(model)] {
                    refresh(pin, wall)
                } else {
                    put(.model(model), [], provider.homeNode, wall)
                }
            }
        }
    }

    private mutating func refresh(_ pin: NamePin, _ wall: Timestamp) {
        guard wall.milliseconds - pin.seen.milliseconds > Self.weekMs else { return }
        var pin = pin
        pin.seen = wall
        keep(pin)
    }

    private mutating func put(_ name: MeshName, _ holder: [UInt8]?, _ home: PublicKey, _ wall: Timestamp) {
        guard name.isPlain else { return }
        if pins[name] == nil, !hasRoom(for: name, of: home) {
            evict(wall)
            guard hasRoom(for: name, of: home) else { return }
        }
        keep(
            NamePin(
                name: name, holder: holder, order: nextOrder, home: home, learnt: wall, seen: wall,
                isUsed: pins[name]?.isUsed ?? false, isOwn: home == node && !name.isModel))
    }

    /// Other nodes leave this one's names their half, and the models of a node's workers, which strangers name, leave its
    /// users and providers theirs.
    private func hasRoom(for name: MeshName, of home: PublicKey) -> Bool {
        let limit = home == node ? Limits.namesKept / 2 : Limits.namesPerNode
        guard pins.count < (home == node ? Limits.namesKept : Limits.namesKept / 2) else { return false }
        if name.isModel, modelsByHome[home, default: 0] >= limit / 2 { return false }
        return countByHome[home, default: 0] < limit
    }

    private mutating func count(_ pin: NamePin, _ change: Int) {
        countByHome[pin.home, default: 0] += change
        if pin.name.isModel { modelsByHome[pin.home, default: 0] += change }
    }

    private mutating func keep(_ pin: NamePin) {
        if let old = pins.updateValue(pin, forKey: pin.name) { count(old, -1) }
        count(pin, 1)
        nextOrder = max(nextOrder, pin.order + 1)
        changes.append(.save(pin))
    }

    /// Lets go of what nobody here ever used and the mesh has not shown for a long time. Looks for it once an hour at
    /// most: whoever floods this node with names must not make it look for every one.
    private mutating func evict(_ wall: Timestamp) {
        guard wall.milliseconds - evictedAt.milliseconds > 3_600_000 else { return }
        evictedAt = wall
        let old = pins.values.filter { pin in
            !pin.isUsed && !pin.isOwn && wall.milliseconds - pin.seen.milliseconds > Limits.nameUnusedMs
        }
        guard !old.isEmpty else { return }
        let gone = Set(old.map(\.name))
        for pin in old { count(pin, -1) }
        pins.removeAll { gone.contains($0.key) }
        changes += old.map { .remove($0.name) }
    }

    // MARK: What others tell it

    /// Buyers used these as `model`.
    package mutating func used(_ texts: [String]) {
        for text in texts {
            for name in names(in: text) {
                guard var pin = pins[name], !pin.isUsed else { continue }
                pin.isUsed = true
                keep(pin)
            }
        }
    }

    private func names(in text: String) -> [MeshName] {
        switch ModelName(text) {
        case .full(let owner, let home, _, _):
            [.node(home)] + (node(named: home).map { [.owner(owner, at: $0)] } ?? [])
        case .provider(let id, _): [.model(text), .provider(id), .global(id)]
        case .key, .bare: []
        }
    }

    /// The operator's word: the name means `holder` from now on.
    package mutating func accept(_ name: MeshName, _ holder: [UInt8], wall: Timestamp) {
        let old = pins[name]
        keep(
            NamePin(
                name: name, holder: holder, order: old?.order ?? nextOrder, home: old?.home ?? node,
                learnt: wall, seen: wall, isUsed: true, isOwn: old?.isOwn ?? false))
        lastView = View()
    }

    /// The operator's word: whoever comes with the name next has it.
    package mutating func forget(_ name: MeshName) {
        guard let pin = pins.removeValue(forKey: name) else { return }
        count(pin, -1)
        lastView = View()
        changes.append(.remove(name))
    }

    // MARK: What it tells others

    /// Whether anything has to be stored since the last call of `takeChanges`.
    package var hasChanges: Bool { !changes.isEmpty }

    /// What has to be stored since the last call.
    package mutating func takeChanges() -> [NameChange] {
        defer { changes = [] }
        return changes
    }

    /// Claims to somebody else's name of a node or an owner since the last call.
    package mutating func takeNews() -> [NameConflict] {
        defer { news = [] }
        return news
    }

    private static let weekMs: Int64 = 7 * 86_400_000
}
