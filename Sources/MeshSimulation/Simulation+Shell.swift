internal import MeshBroker
internal import MeshCrypto
internal import MeshGossip
import MeshModel
internal import MeshRouting
import MeshWire
internal import OrderedCollections

/// The shell of a simulated node: carries out what its `Broker` says, as a live node's `ControlPlane` does, over a disk
/// that takes its time and a power supply that fails.
extension Simulation {
    /// Gives one input to one node and does what it says.
    mutating func drive(_ index: Int, _ input: Broker.Input) {
        guard nodes[index].isUp else { return }
        carryOut(nodes[index].broker.handle(input, now: now(index)), of: index)
        guard nodes[index].isUp, let deadline = nodes[index].broker.nextDeadline else { return }
        // A deadline in the past would mean a node that spins; the next millisecond is soon enough.
        let due = max(deadline, clock.advanced(byMilliseconds: 1))
        if let scheduled = nodes[index].scheduledTick, scheduled <= due { return }
        nodes[index].scheduledTick = due
        queue.insert(.tick(index, life: nodes[index].generation), at: due)
    }

    mutating func drive(_ index: Int, _ input: Gossip.Input) { drive(index, Broker.Input.gossip(input)) }

    private mutating func carryOut(_ effects: Effects, of index: Int) {
        for effect in effects.immediate { perform(effect, of: index) }
        guard let batch = effects.persist else { return }
        let writing = Writing(
            node: index, life: nodes[index].generation, batch: batch, then: effects.afterPersist, outcome: nil)
        let isWritten = clock.advanced(byMilliseconds: Self.diskMs)
        if options.speaksFirst {
            // The negative control: what is still on its way to the disk is known to everybody.
            let outcome = make(batch, at: index)
            var early = writing
            early.outcome = outcome
            queue.insert(.persisted(early), at: clock.advanced(byMilliseconds: 1))
            queue.insert(.write(early), at: isWritten)
        } else {
            queue.insert(.write(writing), at: isWritten)
        }
    }

    /// How long the disk takes for a batch.
    private static let diskMs: Int64 = 3

    /// The batch reaches the disk, unless the node dies of it: half of those who do die just before and half just after.
    mutating func write(_ writing: Writing) {
        let index = writing.node
        guard nodes[index].isUp, nodes[index].generation == writing.life else { return }
        let dies = nodes[index].isDoomed || faults.next() % 1_000 < options.crashPermille
        if dies, faults.next() % 2 == 0 { return die(index) }
        var done = writing
        let outcome = writing.outcome ?? make(writing.batch, at: index)
        done.outcome = outcome
        if !nodes[index].disk.write(outcome, writing.batch) {
            contradictions.append("node \(index) wrote two things with one version")
        }
        if dies { return die(index) }
        if !options.speaksFirst { queue.insert(.persisted(done), at: clock.advanced(byMilliseconds: 1)) }
    }

    mutating func persisted(_ writing: Writing) {
        guard nodes[writing.node].isUp, nodes[writing.node].generation == writing.life, let outcome = writing.outcome
        else { return }
        for effect in writing.then { perform(effect, of: writing.node) }
        drive(writing.node, .persisted(outcome))
    }

    private mutating func die(_ index: Int) {
        counters.crashes += 1
        nodes[index].isDoomed = false
        crash(index)
        queue.insert(.start(index), at: clock.advanced(byMilliseconds: 500 + Int64(faults.next() % 2_500)))
    }

    /// Gives each record its version and signs it. Nothing of it is on the disk yet.
    private mutating func make(_ batch: StoreBatch, at index: Int) -> StoreOutcome {
        guard case .records(let requests) = batch else { return .names(isStored: true) }
        return .records(
            requests.map { request in
                let last = [
                    nodes[index].disk.lastVersion(of: request.signer), nodes[index].given[request.signer],
                    request.above,
                ].compactMap { $0 }.max()
                guard let key = nodes[index].keys[request.signer],
                    let version = RecordVersion.next(after: last, epoch: Self.epoch)
                else { return SigningOutcome(request: request, record: nil) }
                nodes[index].given[request.signer] = version
                let record = signed(request, version, by: key, wall: now(index).wall)
                return SigningOutcome(request: request, record: record)
            })
    }

    // MARK: What the value says

    private mutating func perform(_ effect: Broker.Effect, of index: Int) {
        switch effect {
        case .gossip(let effect): perform(effect, of: index)
        case .keep(let record): nodes[index].disk.keep(record)
        case .forget(let key): nodes[index].disk.forget(key)
        case .describeNode(let record): nodes[index].descriptor = record
        case .catalogChanged(let catalog):
            checkNames(of: catalog, at: index)
            nodes[index].catalog = catalog
            trace("catalog", index, UInt64(catalog.size).bigEndianBytes)
        case .nameClaimed(let conflict): trace("claimed", index, conflict.claimant)
        // Nothing is sealed here.
        case .open: break
        }
    }

    /// After a crash the same names must mean the same: what requests go by is on the disk.
    private mutating func checkNames(of catalog: Catalog, at index: Int) {
        guard isHonest(index), unstored.count < 100 else { return }
        let names = nodes[index].disk.names
        if catalog.names.all.contains(where: { names[$0.name]?.holder != $0.holder }) {
            unstored.append("node \(index) routed by a name that was not on its disk")
        }
    }

    /// What a node says in its own name is on its disk, and no version of it ever said anything else.
    mutating func checkWords(_ records: [[UInt8]], of index: Int) {
        for bytes in records {
            guard case .success(let envelope) = RecordEnvelope.parse(bytes), isOwn(envelope, of: index) else {
                continue
            }
            let hash = Sodium.shared.hash32(Array(envelope.signedBytes))
            guard !signedByHand.contains(hash) else { continue }
            let use = SimulatedDisk.VersionUse(signer: envelope.signer, version: envelope.version)
            if nodes[index].disk.hash(writtenAs: use) != hash, unstored.count < 100 {
                unstored.append("node \(index) said a \(envelope.type.name) that was not on its disk")
            }
            let before = said[index].updateValue(hash, forKey: use)
            if let before, before != hash, contradictions.count < 100 {
                contradictions.append("node \(index) said two things with version \(envelope.version)")
            }
        }
    }
}

extension Simulation {
    /// Tokens and operators' keys are at several nodes, and each of those has versions of its own: what tells them apart
    /// is for which node the record is.
    private func isOwn(_ envelope: RecordEnvelope, of index: Int) -> Bool {
        let node = nodes[index].key.publicKey
        guard envelope.signer != node else { return true }
        guard nodes[index].keys[envelope.signer] != nil else { return false }
        switch RecordBody.decode(envelope) {
        case .providerAdvert(let body): return PublicKey(body.homeNode) == node
        case .attachGrant(let body): return PublicKey(body.hostingNode) == node
        case .nodeDescriptor, .beacon, .attachment, .tombstone, nil: return false
        }
    }
}

/// A batch on its way to a node's disk.
struct Writing: Sendable {
    var node: Int
    /// The node's life in which it was asked for.
    var life: Int
    var batch: StoreBatch
    var then: [Broker.Effect]
    /// Nil before the records are made.
    var outcome: StoreOutcome?
}
