package import MeshModel
internal import OrderedCollections

/// What names mean at this node: what it first learnt, for ever, or until the operator says otherwise.
///
/// Nodes and users choose their names themselves and nobody hands them out, so two may have the same one. Whoever comes
/// later gets nothing that was sent to a name before. When two come at once the name means nobody.
///
/// Short names are kept for each reader: a provider that is not for everybody takes none, and no model's, from those who
/// may not use it, and they cannot tell that it is there.
package struct NameBook: Sendable {
    private let node: PublicKey
    private var pins: OrderedDictionary<MeshName, NamePin> = [:]
    private var countByHome: [PublicKey: Int] = [:]
    private var modelsByHome: [PublicKey: Int] = [:]
    private var nextOrder: UInt64 = 1
    /// This node's own name and its operator now.
    private var ownName = ""
    private var ownOperator: PublicKey?
    /// Who may call this node, its operator aside; nil: anybody. Names that are for others are not kept.
    private var readers: Set<PublicKey>?
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

    /// What a node is called to others that calls itself `name`: its id where that name is somebody else's.
    func called(_ node: PublicKey, _ name: String) -> String {
        self.node(named: name) == node ? name : KeyText.node.text(node.bytes)
    }

    /// The key of the owner that `username` means at `node`.
    func owner(named username: String, at node: PublicKey) -> PublicKey? {
        pins[.owner(username, at: node)]?.holder.flatMap { PublicKey($0) }
    }

    /// What `id` may mean for a caller, what comes first first: their own provider of that id, the operator's of this
    /// node, and the first one that was learnt of those they may use.
    private func pins(of id: String, for caller: Principal) -> [NamePin] {
        let learnt = ([.provider(id)] + caller.keys.map { MeshName.shown(id, to: $0) }).compactMap { pins[$0] }
        return [MeshName.own(id, owner: caller.owner), .global(id)].compactMap { pins[$0] }
            + learnt.sorted { $0.order < $1.order }
    }

    /// Since when `id` is the short name of a provider for a caller.
    func since(_ id: String, for caller: Principal) -> UInt64? { pins(of: id, for: caller).map(\.order).min() }

    /// Whether `text` was a model's id for a caller before `order`.
    func isModel(_ text: String, before order: UInt64, for caller: Principal) -> Bool {
        ([.model(text)] + caller.keys.map { MeshName.shownModel(text, to: $0) }).contains { name in
            pins[name].map { $0.order < order } ?? false
        }
    }

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
    func short(_ id: String, in text: String, for caller: Principal) -> Short {
        let named = pins(of: id, for: caller)
        guard let pin = named.first, let first = named.map(\.order).min() else {
            return isModel(text, before: .max, for: caller) ? .model : .unknown
        }
        if isModel(text, before: first, for: caller) { return .model }
        return pin.holder.flatMap { RecordKey($0) }.map(Short.provider) ?? .contested
    }

    // MARK: Learning

    /// Only these call this node.
    /// - Returns: whether it is news.
    package mutating func setReaders(_ readers: Set<PublicKey>) -> Bool {
        guard readers != self.readers else { return false }
        self.readers = readers
        return true
    }

    /// Takes in what a catalog shows.
    package mutating func learn(
        _ nodes: [CatalogNode], _ providers: [CatalogProvider], _ publications: [Publication] = [], wall: Timestamp
    ) {
        learnNames(of: nodes, providers, publications, wall: wall)
        learnModels(of: providers, wall)
    }

    /// The same before it is known what models there are.
    mutating func learnNames(
        of nodes: [CatalogNode], _ providers: [CatalogProvider], _ publications: [Publication] = [], wall: Timestamp
    ) {
        for known in nodes where known.key == node { (ownName, ownOperator) = (known.name, known.operatorKey) }
        let view = View(nodes, providers, publications, readers)
        // Most catalogs differ from the one before in their workers only.
        if view != lastView || wall.milliseconds - lookedAt.milliseconds > Self.weekMs {
            lastView = view
            lookedAt = wall
            learnNames(nodes, providers, publications, wall)
            models = [:]
        }
    }

    private mutating func learnNames(
        _ nodes: [CatalogNode], _ providers: [CatalogProvider], _ publications: [Publication], _ wall: Timestamp
    ) {
        let before = Set(conflicts)
        conflicts = []
        var claims = Claims()
        for known in nodes { claims.add(.node(known.name), known.key.bytes, home: known.key) }
        for provider in providers { claim(provider, &claims) }
        for told in publications {
            let home = told.id.home
            claims.add(.node(told.homeName), home.bytes, home: home)
            claims.add(.owner(told.scope.username, at: home), told.id.owner.bytes, home: home)
        }
        // What comes at the same moment for all and for some is nobody's for those who see both, and so comes to them first.
        for (name, claimants) in claims.byName {
            guard case .provider(let id) = name, pins[name] == nil else { continue }
            for reader in claims.readers[id] ?? [] where pins[.shown(id, to: reader)] == nil {
                for other in claimants { claims.add(.shown(id, to: reader), other.holder, home: other.home) }
            }
        }
        for (name, claimants) in claims.byName where name.isShown { settle(name, claimants, wall) }
        for (name, claimants) in claims.byName where !name.isShown { settle(name, claimants, wall) }
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
        /// Whose they are counts, not what they say.
        var publishers: [[UInt8]] = []
        var readers: Set<PublicKey>?

        init() {}

        init(
            _ nodes: [CatalogNode], _ providers: [CatalogProvider], _ publications: [Publication],
            _ readers: Set<PublicKey>?
        ) {
            publishers = publications.map { $0.id.owner.bytes + $0.id.home.bytes + Array($0.homeName.utf8) }
            self.readers = readers
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
        /// To whom something of that id is shown that is not for everybody.
        var readers: [String: [PublicKey]] = [:]

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
        let (id, key) = (provider.providerID, provider.tokenSalt.bytes)
        let isForAll = isForAll(provider)
        if home == node || !isForAll { claims.add(.own(id, owner: provider.owner), key, home: home) }
        if isForAll {
            if home == node, provider.scope == .global { claims.add(.global(id), key, home: home) }
            claims.add(.provider(id), key, home: home)
        }
        for reader in named(by: provider) where !isForAll {
            claims.add(.shown(id, to: reader), key, home: home)
            claims.readers[id, default: []].append(reader)
        }
    }

    /// Whether all who call this node may use it.
    private func isForAll(_ provider: CatalogProvider) -> Bool {
        switch provider.access {
        case .everyone: true
        case .ownerOnly: false
        case .named(let keys): keys.contains(node) || ownOperator.map(keys.contains) ?? false
        }
    }

    /// Those who call this node and are named, its owner aside.
    private func named(by provider: CatalogProvider) -> [PublicKey] {
        guard case .named(let keys) = provider.access else { return [] }
        return keys.filter { $0 != provider.owner && callsHere($0) }
    }

    private func callsHere(_ owner: PublicKey) -> Bool { readers?.contains(owner) ?? true || owner == ownOperator }

    private mutating func settle(_ name: MeshName, _ claims: [Claim], _ wall: Timestamp) {
        if isForced(name), let own = claims.first(where: { $0.home == node }), pins[name]?.holder != own.holder {
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
            let named = isForAll(provider) ? nil : [provider.owner].filter(callsHere) + self.named(by: provider)
            for model in provider.modelsSeen where model.utf8.contains(UInt8(ascii: "/")) {
                guard let named else {
                    learn(.model(model), from: provider.homeNode, wall)
                    continue
                }
                for reader in named { learn(.shownModel(model, to: reader), from: provider.homeNode, wall) }
            }
        }
    }

    private mutating func learn(_ model: MeshName, from home: PublicKey, _ wall: Timestamp) {
        if let pin = pins[model] { refresh(pin, wall) } else { put(model, [], home, wall) }
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
        guard wall.milliseconds - evictedAt.milliseconds > Self.evictionMs else { return }
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
    package mutating func used(_ names: [UsedName]) {
        for used in names {
            for name in self.names(in: used) {
                guard var pin = pins[name], !pin.isUsed else { continue }
                pin.isUsed = true
                keep(pin)
            }
        }
    }

    private func names(in used: UsedName) -> [MeshName] {
        let (text, reader) = (used.text, used.owner)
        return switch ModelName(text) {
        case .full(let owner, let home, _, _):
            [.node(home)] + (node(named: home).map { [.owner(owner, at: $0)] } ?? [])
        case .provider(let id, _):
            [
                .model(text), .shownModel(text, to: reader), .provider(id), .shown(id, to: reader), .global(id),
                .own(id, owner: reader),
            ]
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

    /// How often names are looked for that nobody needs.
    private static let evictionMs: Int64 = 3_600_000
    private static let weekMs: Int64 = 7 * 86_400_000
}
