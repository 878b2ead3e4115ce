internal import MeshModel
internal import MeshWire
internal import OrderedCollections

/// Keeping enough links: static peers always, others up to the degree, and a connection of our own to whoever
/// dialled us.
extension Gossip {
    var linkedPeers: OrderedSet<PublicKey> { OrderedSet(links.values.map(\.peer)) }

    var targetDegree: Int { min(max(members.count { $0 != configuration.key }, 0), configuration.degree) }

    mutating func learnAddresses(_ record: VerifiedRecord, now: Now) {
        guard record.signer != configuration.key, case .nodeDescriptor(let body) = record.body, isUsable(record.key)
        else { return }
        dials.learn(record.signer, addresses: body.linkAddresses, now: now.instant)
    }

    mutating func dialFailed(_ key: PublicKey?, address: String, now: Now) {
        let due = backoff(key, address: address, now: now)
        if dials.failed(key, address: address, due: due) == .reconciliation { reconcileWithRandomLink(now) }
    }

    /// Requests come at any rate: whatever failed a moment ago is not dialled for each of them.
    mutating func reach(_ key: PublicKey, now: Now) {
        // Whoever asks has looked for a link: one that is here and was not found takes no requests.
        let isLinked = links.values.contains { $0.peer == key && $0.dialled && !$0.isDraining }
        guard !isLinked, let target = dials.targets[.node(key)] else { return effects.append(.unreachable(key)) }
        if target.dialling != nil || target.nextAddress.map(dials.isDialling) == true { return }
        let mayDial = target.tried.map { now.instant.milliseconds(since: $0) >= Limits.reachAgainMs } ?? true
        guard mayDial, !isBlocked(key, now: now), dial(.node(key), target, .membership, now) else {
            return effects.append(.unreachable(key))
        }
    }

    /// Dials a member unless that is under way, refused, or was tried a moment ago.
    mutating func startDial(to key: PublicKey, purpose: DialPurpose, now: Now) -> Bool {
        guard let target = dials.targets[.node(key)], target.dialling == nil, !isBlocked(key, now: now),
            target.due <= now.instant
        else { return false }
        return dial(.node(key), target, purpose, now)
    }

    /// When this target may be tried again: doubling, with half of it left to chance.
    mutating func backoff(_ key: PublicKey?, address: String?, now: Now) -> Instant {
        let intervals = configuration.intervals
        let longest =
            members.count <= configuration.smallMesh
            ? intervals.dialBackoffLongestMs : intervals.dialBackoffLongestLargeMs
        let doublings = min(dials.failures(key, address: address), 16)
        let wait = min(intervals.dialBackoffMs << Int64(doublings), longest)
        return now.instant.advanced(byMilliseconds: max(1, random.jittered(wait, percent: 50)))
    }

    mutating func dialMissing(_ now: Now) {
        guard let deadline = dials.nextDeadline, deadline <= now.instant else { return }
        endLateDials(now)
        let linked = linkedPeers
        let dialled = OrderedSet(links.values.filter { $0.dialled && !$0.isDraining }.map(\.peer))
        let resolved = OrderedSet(dials.targets.values.compactMap(\.resolved))
        let open = targetDegree - linked.count - dials.targets.values.count { $0.dialling != nil }
        var candidates: [(id: DialTable.TargetID, target: DialTarget, sponsor: Sponsor)] = []
        var ids = Array(dials.targets.keys)
        ids.shuffle(using: &random)
        for id in ids {
            guard let target = dials.targets[id], target.dialling == nil, target.due <= now.instant else { continue }
            if let address = target.nextAddress, dials.isDialling(address) { continue }
            let key = target.key ?? target.resolved
            if let key, dialled.contains(key) || isBlocked(key, now: now) || key == configuration.key { continue }
            if target.isStatic {
                dial(id, target, .membership, now)
            } else if let key {
                guard isUsable(RecordFacts.descriptorKey(of: key, cryptography: configuration.cryptography)) else {
                    dials.remove(id)
                    continue
                }
                // The address of the configuration is dialled in its place.
                if resolved.contains(key) { continue }
                if configuration.dialsBack && linked.contains(key) {
                    dial(id, target, .membership, now)
                } else if !linked.contains(key) {
                    candidates.append((id, target, sponsor(ofNode: key)))
                }
            }
        }
        dialFreely(candidates, linked: linked, open: open, now)
        dials.nextDeadline = nextDial(after: now)
    }

    /// Fills what is open of the degree. First one node of each operator that there is no link to: whoever runs most of
    /// the nodes must not become all of a node's neighbours.
    private mutating func dialFreely(
        _ candidates: [(id: DialTable.TargetID, target: DialTarget, sponsor: Sponsor)], linked: OrderedSet<PublicKey>,
        open: Int, _ now: Now
    ) {
        var open = open
        var sponsors = OrderedSet(linked.map { sponsor(ofNode: $0) })
        var others: [(id: DialTable.TargetID, target: DialTarget)] = []
        for candidate in candidates {
            guard open > 0 else { return }
            guard sponsors.append(candidate.sponsor).inserted else {
                others.append((candidate.id, candidate.target))
                continue
            }
            dial(candidate.id, candidate.target, .membership, now)
            open -= 1
        }
        for other in others.prefix(max(open, 0)) { dial(other.id, other.target, .membership, now) }
    }

    @discardableResult
    private mutating func dial(
        _ id: DialTable.TargetID, _ target: DialTarget, _ purpose: DialPurpose, _ now: Now
    ) -> Bool {
        guard let address = target.nextAddress else { return false }
        let ends = now.instant.advanced(byMilliseconds: configuration.intervals.dialTimeoutMs)
        dials.started(id, purpose: purpose, now: now.instant, ends: ends)
        dials.wake(ends)
        effects.append(.dial(target.key, address: address))
        return true
    }

    private mutating func endLateDials(_ now: Now) {
        for (id, target) in dials.targets {
            guard let dialling = target.dialling, dialling.ends <= now.instant else { continue }
            switch id {
            case .node(let key):
                dials.failed(key, address: nil, due: backoff(key, address: nil, now: now))
            case .address(let address):
                dials.failed(nil, address: address, due: backoff(nil, address: address, now: now))
            }
        }
    }

    private func nextDial(after now: Now) -> Instant? {
        var earliest: Instant?
        for target in dials.targets.values {
            let moment = target.dialling?.ends ?? target.due
            // What is due already and was passed over waits for a change, not for the clock.
            if moment > now.instant { earliest = min(earliest ?? moment, moment) }
        }
        return earliest
    }
}
