import MeshModel

extension Catalog {
    /// Up to three names that `text` may be a slip of, closest first; each is accepted, and `principal` may use it.
    func near(_ text: String, for principal: Principal) -> [String] {
        nearSearch(text, for: principal).found.map { found in
            ShortPrefix(found.provider, in: self, principal).name(of: found.model, names)
        }
    }

    /// The models of the provider that was named are looked at first, then the others', until
    /// `Limits.nearNamesExamined` were. That is what an unknown name may cost, however much there is.
    func nearSearch(_ text: String, for principal: Principal) -> NearSearch {
        var search = NearSearch(text)
        if case .provider(let id, _) = ModelName(text) {
            for provider in providers(withID: id) where provider.admits(principal) { search.look(at: provider) }
        }
        for provider in providers {
            guard search.mayGoOn else { break }
            if provider.admits(principal), provider.providerID != search.namedProvider { search.look(at: provider) }
        }
        return search
    }
}

/// One search for names that are spelled alike.
struct NearSearch {
    struct Found {
        var provider: CatalogProvider
        var model: String
        var distance: Int
    }

    private(set) var found: [Found] = []
    /// Models that were looked at, and those of them whose names were compared letter by letter.
    private(set) var examined = 0
    private(set) var compared = 0
    let namedProvider: String?
    private let wanted: [UInt8]
    private let isFull: Bool
    /// Names that differ more are no slip.
    private let limit: Int

    private static let most = 3

    init(_ text: String) {
        wanted = Array(text.utf8)
        limit = min(max(2, wanted.count / 2), Limits.nearNameEdits)
        switch ModelName(text) {
        case .provider(let id, _): (namedProvider, isFull) = (id, false)
        case .full: (namedProvider, isFull) = (nil, true)
        case .key, .bare: (namedProvider, isFull) = (nil, false)
        }
    }

    var mayGoOn: Bool {
        wanted.count <= NearName.longest && examined < Limits.nearNamesExamined && compared < Limits.nearNamesCompared
    }

    mutating func look(at provider: CatalogProvider) {
        examined += 1
        // The latest are at the end, and those that nobody offers any more in front.
        for model in provider.modelsSeen.reversed() {
            guard mayGoOn else { return }
            examined += 1
            consider(provider, model)
        }
    }

    private mutating func consider(_ provider: CatalogProvider, _ model: String) {
        let prefix = isFull ? provider.fullName : provider.providerID
        var best: Int?
        if mayBeNear(prefix.utf8, prefix.utf8.count + 1 + model.utf8.count) {
            best = distance(Array(prefix.utf8) + [UInt8(ascii: "/")] + Array(model.utf8))
        }
        let tail = model.utf8.lastIndex(of: UInt8(ascii: "/")).map { model.utf8[model.utf8.index(after: $0)...] }
        let last = tail ?? model.utf8[...]
        if mayBeNear(last, last.count), let distance = distance(Array(last)) { best = min(best ?? .max, distance + 1) }
        // Another model of the provider that was named is a likely meaning, however it is spelled.
        if provider.providerID == namedProvider { best = min(best ?? .max, limit) }
        guard let best, best < found.last?.distance ?? .max || found.count < Self.most, provider.offers(model) else {
            return
        }
        let place = found.firstIndex { $0.distance > best } ?? found.endIndex
        found.insert(Found(provider: provider, model: model, distance: best), at: place)
        if found.count > Self.most { found.removeLast() }
    }

    /// Told by length and first letter, which costs nothing.
    private func mayBeNear(_ name: some Collection<UInt8>, _ count: Int) -> Bool {
        count <= NearName.longest && abs(count - wanted.count) <= limit && name.first == wanted.first
    }

    private mutating func distance(_ name: [UInt8]) -> Int? {
        guard compared < Limits.nearNamesCompared else { return nil }
        compared += 1
        return NearName.distance(wanted, name, atMost: limit)
    }
}
