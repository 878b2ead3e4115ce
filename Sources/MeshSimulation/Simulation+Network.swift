internal import MeshCrypto
internal import MeshGossip
internal import MeshModel
internal import MeshWire

/// What nodes' effects do to the simulated world.
extension Simulation {
    mutating func perform(_ effect: Gossip.Effect, of index: Int) {
        switch effect {
        case .send(let link, let frame): send(frame, on: link, from: index)
        case .close(let link, _): close(link, by: index)
        case .dial(let key, let address): dial(key, address, from: index)
        case .accepted(let record, _):
            counters.accepted += 1
            check(record, at: index)
            trace("accepted", index, record.hash.bytes)
            if record.key == watched, arrivals[index] == nil { arrivals[index] = clock }
        case .beacon(let lease, _): check(lease.record, at: index)
        case .removed(let key, _, let reason): trace("removed-\(reason.rawValue)", index, key.bytes)
        case .rejected(let rejection, _, _):
            counters.rejected += 1
            trace("rejected-\(rejection.rawValue)", index, [])
        case .ignored(let reason, _): if reason == .duplicate { counters.duplicates += 1 }
        case .equivocation(let key, _, _):
            counters.equivocations += 1
            trace("equivocation", index, key.bytes)
        case .blocked(let peer, _):
            counters.blockedPeers += 1
            let isPeerHonest = honest.contains { nodes[$0].key.publicKey == peer }
            if isHonest(index), options.verifiesSignatures, isPeerHonest {
                violations.append("node \(index) blocked an honest peer")
            }
        case .usabilityChanged(let key, _, let usable): trace(usable ? "usable" : "unusable", index, key.bytes)
        case .unreachable, .beaconDue, .livenessChanged, .syncFinished: break
        }
    }

    /// Nothing may be believed that its signer never signed, bit for bit.
    private mutating func check(_ record: VerifiedRecord, at index: Int) {
        guard genuine[record.hash] != record.envelope.bytes, violations.count < 100 else { return }
        violations.append("node \(index) accepted a record that \(record.signer) never signed")
    }

    private func crosses(_ first: Int, _ second: Int) -> Bool { groups[first] == groups[second] }

    private mutating func latency() -> Int64 {
        let span = UInt64(options.latencyMs.upperBound - options.latencyMs.lowerBound + 1)
        return options.latencyMs.lowerBound + Int64(random.next() % span)
    }

    private mutating func happens(_ permille: UInt64) -> Bool { permille > 0 && random.next() % 1_000 < permille }

    private mutating func dial(_ key: PublicKey?, _ address: String, from index: Int) {
        let trip = latency()
        guard let target = SimulatedNode.index(address), nodes.indices.contains(target), target != index,
            nodes[target].isUp, nodes[index].descriptor != nil, nodes[target].descriptor != nil, crosses(index, target),
            key == nil || key == nodes[target].key.publicKey
        else {
            queue.insert(
                .dialFailed(index, key, address: address), at: clock.advanced(byMilliseconds: 2 * trip))
            return
        }
        // A TLS handshake and the link handshake: two round trips.
        queue.insert(
            .connected(target, from: index, address: address), at: clock.advanced(byMilliseconds: 4 * trip))
    }

    mutating func connect(_ dialler: Int, to index: Int, address: String) {
        guard nodes[dialler].isUp else { return }
        guard nodes[index].isUp, crosses(dialler, index) else {
            return drive(dialler, Gossip.Input.dialFailed(nodes[index].key.publicKey, address: address))
        }
        let link = LinkID(raw: UInt64(connections.count))
        connections.append(Connection(ends: [dialler, index], lastArrival: [clock, clock]))
        for (own, peer) in [(dialler, index), (index, dialler)] {
            guard let descriptor = nodes[peer].descriptor else { continue }
            drive(
                own,
                Gossip.Input.linkUp(
                    link, peer: nodes[peer].key.publicKey, dialled: own == dialler,
                    address: own == dialler ? address : nil, descriptor: descriptor))
        }
    }

    private mutating func send(_ frame: Aisbf_Mesh_V1_LinkFrame, on link: LinkID, from index: Int) {
        guard let number = Int(exactly: link.raw), connections.indices.contains(number), connections[number].isOpen
        else { return }
        let connection = connections[number]
        let target = connection.ends[0] == index ? connection.ends[1] : connection.ends[0]
        var frame = frame
        switch nodes[index].behaviour {
        case .honest: checkWords(in: frame, of: index)
        case .silent: return
        case .mutating: frame = mutated(frame)
        case .forging: frame = withForgery(frame, by: index)
        }
        let bytes = RecordBody.bytes(of: frame)
        count(frame, bytes.count)
        if bytes.count > Limits.linkFrameBytes {
            violations.append("node \(index) sent a frame of \(bytes.count) bytes")
        }
        if !crosses(index, target) || happens(options.lossPermille) {
            counters.lostFrames += 1
            return
        }
        let end = connection.ends[0] == index ? 0 : 1
        var arrival = clock.advanced(byMilliseconds: latency())
        if happens(options.reorderPermille) {
            arrival = arrival.advanced(byMilliseconds: 3 * latency())
        } else {
            arrival = max(arrival, connection.lastArrival[end])
            connections[number].lastArrival[end] = arrival
        }
        trace("frame", target, Sodium.shared.hash16(bytes, key: []).bytes)
        queue.insert(.frame(target, link, frame), at: arrival)
        if happens(options.duplicatePermille) {
            queue.insert(.frame(target, link, frame), at: arrival.advanced(byMilliseconds: latency()))
        }
    }

    private mutating func checkWords(in frame: Aisbf_Mesh_V1_LinkFrame, of index: Int) {
        switch GossipMessage(frame) {
        case .push(let records, _), .syncRecords(_, let records), .peers(let records): checkWords(records, of: index)
        case .announce, .want, .syncOpen, .syncRanges, .syncNeed, .drain, .goodbye, nil: break
        }
    }

    private mutating func count(_ frame: Aisbf_Mesh_V1_LinkFrame, _ bytes: Int) {
        counters.frames += 1
        counters.bytes += bytes
        counters.largestFrame = max(counters.largestFrame, bytes)
        switch frame.kind {
        case .push, .announce, .want: counters.pushBytes += bytes
        case .hello, .helloProof, .syncOpen, .syncRanges, .syncNeed, .syncRecords, .peers, .drain, .goodbye, nil: break
        }
    }

    mutating func deliver(_ frame: Aisbf_Mesh_V1_LinkFrame, _ link: LinkID, to index: Int) {
        guard nodes[index].isUp, let number = Int(exactly: link.raw), connections[number].isOpen else { return }
        if let watched, let message = GossipMessage(frame) {
            switch message {
            case .push(let records, _), .syncRecords(_, let records), .peers(let records):
                watchedCopies += records.count { $0.count > 68 && RecordKey($0[52..<68]) == watched }
            case .announce, .want, .syncOpen, .syncRanges, .syncNeed, .drain, .goodbye: break
            }
        }
        drive(index, Gossip.Input.frame(link, frame))
    }

    mutating func close(_ link: LinkID, by index: Int) {
        guard let number = Int(exactly: link.raw), connections.indices.contains(number), connections[number].isOpen
        else { return }
        connections[number].isOpen = false
        for end in connections[number].ends where end != index {
            queue.insert(.closed(end, link), at: clock.advanced(byMilliseconds: latency()))
        }
    }

    /// Cuts the network into groups; links between them die when their pings go unanswered.
    package mutating func partition(_ group: (Int) -> Int) {
        for index in groups.indices { groups[index] = group(index) }
        for number in connections.indices where connections[number].isOpen {
            let ends = connections[number].ends
            guard groups[ends[0]] != groups[ends[1]] else { continue }
            connections[number].isOpen = false
            for end in ends {
                let silence = Limits.linkPingIntervalMs + Limits.linkPingTimeoutMs
                queue.insert(
                    .closed(end, LinkID(raw: UInt64(number))), at: clock.advanced(byMilliseconds: silence))
            }
        }
    }

    package mutating func heal() { partition { _ in 0 } }
}
