internal import MeshModel
internal import OrderedCollections

/// Why a node is dialled.
enum DialPurpose: Hashable, Sendable {
    case membership
    /// Drawn for one reconciliation.
    case reconciliation
}

/// Somebody who may be dialled: a member, or an address of the configuration whose key is not known.
struct DialTarget: Sendable {
    var key: PublicKey?
    var addresses: [String]
    var isStatic: Bool
    /// Not before this moment.
    var due: Instant
    var failures = 0
    /// The latest dial began.
    var tried: Instant?
    /// The dial under way.
    var dialling: (purpose: DialPurpose, ends: Instant)?
    /// Who answered at an address without a key.
    var resolved: PublicKey?

    init(key: PublicKey?, address: String, isStatic: Bool, due: Instant) {
        self.key = key
        addresses = [address]
        self.isStatic = isStatic
        self.due = due
    }

    var nextAddress: String? { addresses.isEmpty ? nil : addresses[failures % addresses.count] }
}

/// Who can be dialled, and when again.
struct DialTable: Sendable {
    enum TargetID: Hashable, Sendable {
        case node(PublicKey)
        case address(String)
    }

    private(set) var targets: OrderedDictionary<TargetID, DialTarget> = [:]
    /// When to look again; set to the past by anything that may change the answer.
    var nextDeadline: Instant?

    mutating func add(_ target: DialTarget) {
        targets[target.key.map(TargetID.node) ?? .address(target.addresses.first ?? "")] = target
        wake(target.due)
    }

    /// Replaces those of the configuration. A node that is in it no longer is a member like any other.
    mutating func setStatic(_ peers: [Gossip.StaticPeer], now: Instant) {
        for (id, target) in targets where target.isStatic {
            let stays = peers.contains { $0.key == target.key && target.addresses.contains($0.address) }
            if stays { continue }
            if target.key == nil { targets.removeValue(forKey: id) } else { targets[id]?.isStatic = false }
        }
        for peer in peers {
            let id = peer.key.map(TargetID.node) ?? .address(peer.address)
            guard var target = targets[id] else {
                add(DialTarget(key: peer.key, address: peer.address, isStatic: true, due: now))
                continue
            }
            if target.isStatic, target.addresses.contains(peer.address) { continue }
            target.isStatic = true
            if !target.addresses.contains(peer.address) { target.addresses.insert(peer.address, at: 0) }
            target.failures = 0
            target.due = now
            targets[id] = target
        }
        wake(now)
    }

    /// The member's current addresses; a changed list deserves a fresh try.
    mutating func learn(_ key: PublicKey, addresses: [String], now: Instant) {
        let id = TargetID.node(key)
        if var target = targets[id] {
            let fresh = addresses + (target.isStatic ? target.addresses.filter { !addresses.contains($0) } : [])
            guard Set(fresh) != Set(target.addresses) else { return }
            target.addresses = fresh
            target.failures = 0
            target.due = now
            targets[id] = target
        } else if let first = addresses.first, targets.count < Limits.gossipDialTargets {
            var target = DialTarget(key: key, address: first, isStatic: false, due: now)
            target.addresses = addresses
            targets[id] = target
        }
        wake(now)
    }

    mutating func wake(_ now: Instant) { nextDeadline = nextDeadline.map { min($0, now) } ?? now }

    /// `key` was seen to live: that it did not answer before says nothing about now.
    mutating func seen(_ key: PublicKey, now: Instant) {
        let node = TargetID.node(key)
        let addresses = (targets[node]?.addresses ?? []).map(TargetID.address)
        let resolved = targets.compactMap { $0.value.resolved == key ? $0.key : nil }
        for id in [node] + addresses + resolved {
            guard let target = targets[id], target.dialling == nil else { continue }
            targets[id]?.tried = nil
            targets[id]?.due = min(target.due, now)
        }
        wake(now)
    }

    mutating func remove(_ id: TargetID) { targets.removeValue(forKey: id) }

    /// Whether `address` is being dialled, for this target or another: an address of the configuration may be a member's,
    /// and nobody knows before it has answered.
    func isDialling(_ address: String) -> Bool {
        targets.values.contains { $0.dialling != nil && $0.nextAddress == address }
    }

    mutating func started(_ id: TargetID, purpose: DialPurpose, now: Instant, ends: Instant) {
        targets[id]?.dialling = (purpose, ends)
        targets[id]?.tried = now
    }

    /// The targets a dial of `key` or `address` was about.
    func ids(_ key: PublicKey?, address: String?) -> [TargetID] {
        [key.map(TargetID.node), address.map(TargetID.address)].compactMap { $0 }.filter { targets[$0] != nil }
    }

    func failures(_ key: PublicKey?, address: String?) -> Int {
        ids(key, address: address).compactMap { targets[$0]?.failures }.max() ?? 0
    }

    /// What the dial was for, when there was one.
    mutating func succeeded(_ key: PublicKey, address: String?) -> DialPurpose? {
        var purpose: DialPurpose?
        for id in ids(key, address: address) {
            purpose = targets[id]?.dialling?.purpose ?? purpose
            if address != nil { targets[id]?.dialling = nil }
            if case .address = id { targets[id]?.resolved = key }
        }
        return purpose
    }

    mutating func stable(_ key: PublicKey, address: String?) {
        for id in ids(key, address: address) { targets[id]?.failures = 0 }
    }

    /// The purpose of the dial that failed.
    @discardableResult
    mutating func failed(_ key: PublicKey?, address: String?, due: Instant) -> DialPurpose? {
        var purpose: DialPurpose?
        for id in ids(key, address: address) {
            purpose = targets[id]?.dialling?.purpose ?? purpose
            targets[id]?.dialling = nil
            targets[id]?.due = due
            if let failures = targets[id]?.failures { targets[id]?.failures = min(failures + 1, 1_000) }
        }
        wake(due)
        return purpose
    }
}
