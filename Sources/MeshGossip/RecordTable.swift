internal import MeshModel
internal import MeshWire

/// Groups of records that one party may not fill without end.
enum QuotaGroup: Hashable, Sendable {
    case adverts(owner: PublicKey)
    case advertsAtHome(PublicKey)
    /// Counted per signer, so that strangers' grants cannot crowd out the owner's.
    case hosts(provider: RecordKey, signer: PublicKey)
    case attachments(node: PublicKey)
    /// What stands on one operator's nodes, however many he has: keys of nodes and owners are free to make.
    case sponsored(Sponsor, RecordType)

    var limit: Int {
        switch self {
        case .adverts: Limits.providersPerOwner
        case .advertsAtHome: Limits.providersPerHome
        case .hosts: Limits.hostsPerProvider
        case .attachments: Limits.attachmentsPerNode
        case .sponsored(_, let type):
            switch type {
            case .nodeDescriptor: Limits.nodesPerOperator
            case .beacon: Limits.nodesPerOperator
            case .providerAdvert: Limits.providersPerOperator
            case .attachGrant: Limits.grantsPerOperator
            case .attachment: Limits.attachmentsPerOperator
            }
        }
    }
}

/// Who answers for what is admitted: an operator. All nodes that carry no operator's certificate count as one.
enum Sponsor: Hashable, Sendable {
    case operatorKey(PublicKey)
    case uncertified

    init(_ operatorKey: PublicKey?) { self = operatorKey.map(Sponsor.operatorKey) ?? .uncertified }
}

/// The records this node holds, at most one per key, with what is needed to compare, expire and connect them.
/// Dictionaries are looked up in and never iterated; every listing comes from a sorted array.
struct RecordTable: Sendable {
    struct Entry: Sendable {
        var record: VerifiedRecord
        /// The second record its signer made with the same version; while it is there, neither counts.
        var contradiction: VerifiedRecord?
        var expires: Instant
        var facts: RecordFacts
        /// Whose nodes the record stands on; nil while that is not known, and for tombstones.
        var sponsor: Sponsor?
        var isUsable = false
        /// The earliest look at this entry that is in the queue.
        var queued: Instant?

        var groups: [QuotaGroup] {
            facts.groups + (sponsor.map { [.sponsored($0, record.type)] } ?? [])
        }

        var isPoisoned: Bool { contradiction != nil }
        var isLive: Bool { contradiction == nil && !record.envelope.isTombstone }

        var summary: RecordSummary {
            RecordSummary(
                key: record.key, version: record.version,
                hashPrefix: isPoisoned ? .max : record.hash.high.high)
        }
    }

    private var entries: [RecordKey: Entry] = [:]
    /// Everything held, by key: what reconciliation compares.
    private(set) var summaries: [RecordSummary] = []
    private var keysByType: [[RecordKey]] = Array(repeating: [], count: RecordType.allCases.count)
    private var dependants: [RecordKey: [RecordKey]] = [:]
    private var groups: [QuotaGroup: [RecordKey]] = [:]
    /// Live entries that are not usable.
    private(set) var pendingCount = 0

    var count: Int { summaries.count }

    subscript(key: RecordKey) -> Entry? { entries[key] }

    func keys(of type: RecordType) -> [RecordKey] { keysByType[Self.index(of: type)] }

    func dependants(of key: RecordKey) -> [RecordKey] { dependants[key] ?? [] }

    /// The key that has to go when `key` joins `group`: the greatest, so that every node keeps the same ones in
    /// whatever order they came. Nil while there is room.
    func excess(in group: QuotaGroup, adding key: RecordKey) -> RecordKey? {
        let members = groups[group] ?? []
        guard members.count >= group.limit, let last = members.last, position(of: key, in: members) == nil
        else { return nil }
        return max(last, key)
    }

    mutating func store(_ entry: Entry) {
        let key = entry.record.key
        if let old = entries[key] {
            disconnect(old)
            let index = lowerBound(key)
            summaries[index] = entry.summary
        } else {
            summaries.insert(entry.summary, at: lowerBound(key))
            Self.insert(key, into: &keysByType[Self.index(of: entry.record.type)])
        }
        connect(entry)
        entries[key] = entry
    }

    @discardableResult
    mutating func remove(_ key: RecordKey) -> Entry? {
        guard let entry = entries.removeValue(forKey: key) else { return nil }
        disconnect(entry)
        summaries.remove(at: lowerBound(key))
        Self.remove(key, from: &keysByType[Self.index(of: entry.record.type)])
        return entry
    }

    mutating func setUsable(_ key: RecordKey, _ isUsable: Bool) {
        guard var entry = entries[key], entry.isUsable != isUsable else { return }
        if entry.isLive { pendingCount += isUsable ? -1 : 1 }
        entry.isUsable = isUsable
        entries[key] = entry
    }

    mutating func setSponsor(_ key: RecordKey, _ sponsor: Sponsor?) {
        guard var entry = entries[key], entry.sponsor != sponsor else { return }
        disconnect(entry)
        entry.sponsor = sponsor
        connect(entry)
        entries[key] = entry
    }

    /// The key that has to go from a group that has more than it may.
    func surplus(in group: QuotaGroup) -> RecordKey? {
        let members = groups[group] ?? []
        return members.count > group.limit ? members.last : nil
    }

    mutating func setQueued(_ key: RecordKey, _ queued: Instant?) { entries[key]?.queued = queued }

    /// Index of the first summary whose key is not below `key`.
    func lowerBound(_ key: RecordKey) -> Int {
        var low = 0
        var high = summaries.count
        while low < high {
            let middle = (low + high) / 2
            if summaries[middle].key < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Where the range's summaries stand.
    func indices(from lower: RecordKey, to upper: RecordKey?) -> Range<Int> {
        let first = lowerBound(lower)
        return first..<max(first, upper.map(lowerBound) ?? summaries.count)
    }

    private mutating func connect(_ entry: Entry) {
        let key = entry.record.key
        if entry.isLive && !entry.isUsable { pendingCount += 1 }
        for dependency in entry.facts.dependencies { Self.insert(key, into: &dependants[dependency, default: []]) }
        for group in entry.groups { Self.insert(key, into: &groups[group, default: []]) }
    }

    private mutating func disconnect(_ entry: Entry) {
        let key = entry.record.key
        if entry.isLive && !entry.isUsable { pendingCount -= 1 }
        for dependency in entry.facts.dependencies {
            Self.remove(key, from: &dependants[dependency, default: []])
            if dependants[dependency]?.isEmpty == true { dependants[dependency] = nil }
        }
        for group in entry.groups {
            Self.remove(key, from: &groups[group, default: []])
            if groups[group]?.isEmpty == true { groups[group] = nil }
        }
    }

    private static func index(of type: RecordType) -> Int {
        switch type {
        case .nodeDescriptor: 0
        case .beacon: 1
        case .providerAdvert: 2
        case .attachGrant: 3
        case .attachment: 4
        }
    }

    private static func lowerBound(of key: RecordKey, in keys: [RecordKey]) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func position(of key: RecordKey, in keys: [RecordKey]) -> Int? {
        let index = Self.lowerBound(of: key, in: keys)
        return index < keys.count && keys[index] == key ? index : nil
    }

    private static func insert(_ key: RecordKey, into keys: inout [RecordKey]) {
        let index = lowerBound(of: key, in: keys)
        if index == keys.count || keys[index] != key { keys.insert(key, at: index) }
    }

    private static func remove(_ key: RecordKey, from keys: inout [RecordKey]) {
        let index = lowerBound(of: key, in: keys)
        if index < keys.count && keys[index] == key { keys.remove(at: index) }
    }
}
