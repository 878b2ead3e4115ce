import DequeModule
package import Logging
package import MeshBroker
import MeshCrypto
package import MeshGossip
package import MeshModel
package import MeshRouting
package import MeshStore
package import MeshTransport
package import MeshWire
package import NIOCore
import NIOPosix
import Synchronization

/// Owns the `Broker` value: takes inputs from everywhere, one after the other, and does what the value says.
/// Requests never wait for it; they read the catalog it publishes.
package final class ControlPlane: Sendable {
    /// Sends frames, closes and dials on behalf of gossip; the node's links do it.
    package protocol Links: Sendable {
        func send(_ frame: Aisbf_Mesh_V1_LinkFrame, over link: LinkID)
        func close(_ link: LinkID, code: String)
        func dial(_ address: String, expected: PublicKey?)
        /// The handshake of links made from now on shows this descriptor.
        func setDescriptor(_ record: VerifiedRecord)
    }

    private enum Event: Sendable {
        /// A link's frame: the only input that may be dropped, because reconciliation repairs what it said. Its ticket
        /// counts it against the link until it was handled.
        case frame(Broker.Input, FrameTicket)
        case input(Broker.Input)
        case query(@Sendable (Broker) -> Void)
    }

    private let store: MeshStore
    private let signers: Signers
    private let catalog: CatalogHolder
    private let metrics: ControlMetrics
    private let logger: Logger
    private let events: AsyncStream<Event>
    private let inbox: AsyncStream<Event>.Continuation
    private let eventLoop: any EventLoop
    private let clock: ClockJudge
    private let network: NetworkID
    private let epoch: UInt32
    private let unsaved = Mutex<[StoreChange]>([])
    private let unsavedNames = Mutex<[NameChange]>([])
    private let savingNames = Mutex(())
    /// What waits for the next commit, oldest first, and the bell that says so.
    private let unsigned = Mutex<Deque<SigningRequest>>([])
    private let signingIsDue: (bells: AsyncStream<Void>, ring: AsyncStream<Void>.Continuation)
    private let commits = Atomic<Int>(0)
    /// Adverts that a key of this node may open, and the bell that says so.
    private let unopened = Mutex<Deque<VerifiedRecord>>([])
    private let openingIsDue: (bells: AsyncStream<Void>, ring: AsyncStream<Void>.Continuation)
    /// Versions of this node's keys that the mesh holds and this store may not know of.
    private let outrun = Mutex<[PublicKey: RecordVersion]>([:])
    private let framesWaiting = Atomic<Int>(0)
    package let board = MeshBoard()
    private let unstored: UnstoredVersions

    package init(
        store: MeshStore, signers: Signers, catalog: CatalogHolder, clock: ClockJudge, network: NetworkID,
        eventLoop: any EventLoop, logger: Logger
    ) {
        self.store = store
        self.signers = signers
        self.catalog = catalog
        self.clock = clock
        self.network = network
        self.eventLoop = eventLoop
        self.logger = logger
        metrics = ControlMetrics()
        unstored = UnstoredVersions(store)
        epoch = RecordVersion.epoch(at: SystemClock.wall)
        (events, inbox) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
        let signing = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        signingIsDue = (signing.stream, signing.continuation)
        let opening = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        openingIsDue = (opening.stream, opening.continuation)
    }

    /// How many transactions the records of this node took so far.
    package var recordCommits: Int { commits.load(ordering: .relaxed) }

    /// Queues an input; from any thread. None is dropped: their number is bounded by the sessions, links and commands
    /// they come from.
    package func submit(_ input: Broker.Input) { enqueue(.input(input)) }

    /// Queues what a peer sent. How much of one peer's waits is bounded by its link, which reads no more while `ticket`s
    /// are out; when `Limits.controlInbox` frames of all links wait, further ones are dropped and counted.
    package func submit(frame: Aisbf_Mesh_V1_LinkFrame, of link: LinkID, ticket: FrameTicket) {
        guard framesWaiting.load(ordering: .relaxed) < Limits.controlInbox else { return metrics.inboxOverflow() }
        framesWaiting.add(1, ordering: .relaxed)
        enqueue(.frame(.gossip(.frame(link, frame)), ticket))
    }

    /// Reads something off the broker between two inputs.
    package func query<Value: Sendable>(_ body: @escaping @Sendable (Broker) -> Value) async -> Value? {
        await withCheckedContinuation { continuation in
            let once = Mutex<CheckedContinuation<Value?, Never>?>(continuation)
            let answer: @Sendable (Value?) -> Void = { value in
                once.withLock { continuation in
                    continuation?.resume(returning: value)
                    continuation = nil
                }
            }
            if !enqueue(.query { answer(body($0)) }) { answer(nil) }
        }
    }

    @discardableResult
    private func enqueue(_ event: Event) -> Bool {
        switch inbox.yield(event) {
        case .enqueued: return true
        case .dropped, .terminated:
            metrics.inboxOverflow()
            return false
        @unknown default: return false
        }
    }

    package func stop() { inbox.finish() }

    /// Runs until `stop`.
    /// - Throws: `StoreError` when the store is damaged. While it has no room nothing is signed that must be remembered,
    ///   for a node that cannot remember what it said must not say more; everything else goes on.
    package func run(broker initial: Broker, links: any Links) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                // Whatever ends the signing ends the node.
                defer { inbox.finish() }
                // Stopped while something is being signed: what is left unsaid is said after the next start.
                do { try await signWhatWaits(links) } catch is CancellationError {}
            }
            group.addTask { [self] in
                do { try await openWhatWaits() } catch is CancellationError {}
            }
            do {
                defer {
                    signingIsDue.ring.finish()
                    openingIsDue.ring.finish()
                }
                try await handleEvents(initial, links)
            }
            try await group.waitForAll()
        }
        // What is known has to be saved.
        try flushRecords()
    }

    private func handleEvents(_ initial: Broker, _ links: any Links) async throws {
        var broker = initial
        let alarm = DeadlineAlarm(eventLoop: eventLoop) { [inbox] in inbox.yield(.input(.tick)) }
        for await event in events {
            switch event {
            case .query(let read): read(broker)
            case .input(let input): try await handle(input, &broker, links)
            case .frame(let input, let ticket):
                framesWaiting.subtract(1, ordering: .relaxed)
                try await handle(input, &broker, links)
                // Only now may the link read on.
                withExtendedLifetime(ticket) {}
            }
            alarm.set(broker.nextDeadline)
        }
        alarm.set(nil)
    }

    private func handle(_ input: Broker.Input, _ broker: inout Broker, _ links: any Links) async throws {
        let effects = broker.handle(input, now: SystemClock.now)
        board.holds(records: broker.gossip.recordCount)
        for effect in effects { try await perform(effect, links) }
    }

    private func perform(_ effect: Broker.Effect, _ links: any Links) async throws {
        switch effect {
        case .catalogChanged(let catalog): self.catalog.replace(catalog)
        case .sign(let request): queue(request)
        case .open(let record): queue(record)
        case .names(let changes): try await save(changes)
        case .nameClaimed(let conflict): warn(conflict)
        case .gossip(let effect):
            if case .accepted(let record, .some) = effect { continueAbove(record) }
            perform(effect, links)
        }
    }

    private func perform(_ effect: Gossip.Effect, _ links: any Links) {
        metrics.count(effect)
        switch effect {
        case .send(let link, let frame): links.send(frame, over: link)
        case .close(let link, let code):
            logger.notice("link closed by gossip", metadata: ["link.id": "\(link.raw)", "code": "\(code.rawValue)"])
            links.close(link, code: code.failure.rawValue)
        case .dial(let key, let address): links.dial(address, expected: key)
        case .accepted(let record, _):
            if record.type.isReconciled { remember(.saveRecord(record.envelope.bytes)) }
        case .removed(let key, _, _):
            remember(.deleteRecord(key))
            remember(.deleteOwnRecord(key))
        case .rejected(let rejection, let peer, let blamed):
            logger.warning(
                "record rejected",
                metadata: ["reason": "\(rejection.rawValue)", "link.peer": "\(peer.nodeID)", "blamed": "\(blamed)"])
        case .equivocation(let key, let signer, _):
            logger.warning("a signer contradicted itself", metadata: ["record.key": "\(key)", "signer": "\(signer)"])
        case .blocked(let peer, let milliseconds):
            logger.warning("peer blocked", metadata: ["link.peer": "\(peer.nodeID)", "duration.ms": "\(milliseconds)"])
        case .livenessChanged(let node, let alive):
            logger.info("node liveness changed", metadata: ["node": "\(node.nodeID)", "alive": "\(alive)"])
        case .beacon(let lease, _): board.heard(lease, now: SystemClock.instant)
        case .beaconDue, .usabilityChanged, .ignored, .syncFinished: break
        }
    }

    // MARK: Signing

    private func queue(_ request: SigningRequest) {
        let isTaken = unsigned.withLock { waiting in
            guard waiting.count < Limits.signingsWaiting else { return false }
            waiting.append(request)
            return true
        }
        if isTaken { signingIsDue.ring.yield() } else { inbox.yield(.input(.notSigned(request))) }
    }

    /// A record under one of our keys that comes from elsewhere says that this store is older than what we said. Nothing
    /// more is signed with that key before the store knows it.
    private func continueAbove(_ record: VerifiedRecord) {
        guard signers.key(record.signer) != nil else { return }
        outrun.withLock { $0[record.signer] = max($0[record.signer] ?? record.version, record.version) }
    }

    /// Signs in the order in which it was asked, as many at once as wait: while one commit is on its way to the disk, the
    /// next one fills.
    private func signWhatWaits(_ links: any Links) async throws {
        for await _ in signingIsDue.bells {
            while case let batch = nextBatch(), !batch.isEmpty {
                let records = try await sign(batch)
                for (request, record) in zip(batch, records) {
                    if let record, record.type == .nodeDescriptor { links.setDescriptor(record) }
                    inbox.yield(.input(record.map(Broker.Input.signed) ?? .notSigned(request)))
                }
            }
        }
    }

    private func nextBatch() -> [SigningRequest] {
        unsigned.withLock { waiting in
            let batch = Array(waiting.prefix(Limits.signingsPerCommit))
            waiting.removeFirst(batch.count)
            return batch
        }
    }

    /// Allocates the versions durably, signs, stores, and only then lets the records out; nil for what cannot be signed
    /// now.
    private func sign(_ batch: [SigningRequest]) async throws -> [VerifiedRecord?] {
        guard !clock.isSuspect else { return batch.map { _ in nil } }
        let keys = batch.map { signers.key($0.signer) }
        for (request, key) in zip(batch, keys) where key == nil {
            // The key went away meanwhile (a worker's token after its session ended): nothing is owed.
            logger.debug("no key to sign with", metadata: ["record.type": "\(request.type.name)"])
        }
        return try await NIOThreadPool.singleton.runIfActive { [self] in try made(batch, keys) }
    }

    /// Blocks.
    private func made(_ batch: [SigningRequest], _ keys: [SigningKey?]) throws -> [VerifiedRecord?] {
        let newer = outrun.withLock { known in
            defer { known = [:] }
            return known
        }
        for (signer, version) in newer { try unstored.raise(signer, to: version) }
        try unstored.settle()
        let wall = SystemClock.wall
        let signable = batch.indices.filter { keys[$0] != nil && batch[$0].body.count <= Limits.recordBodyBytes }
        guard !signable.isEmpty else { return batch.map { _ in nil } }
        var records = [VerifiedRecord?](repeating: nil, count: batch.count)
        do throws(StoreError) {
            guard unstored.isEmpty else { throw .full(path: store.path) }
            let stored = try store.makeRecords(signable.map { batch[$0].signer }, epoch: epoch) { place, version in
                let request = batch[signable[place]]
                return keys[signable[place]].map { key in
                    MeshStore.MadeRecord(
                        bytes: signed(request, version, by: key, wall), isKept: request.type.isReconciled)
                }
            }
            commits.add(1, ordering: .relaxed)
            for (place, bytes) in zip(signable, stored) { records[place] = bytes.flatMap { verified($0, wall) } }
        } catch {
            guard error.isPassing else { throw error }
            // What nobody has to remember is said all the same.
            for place in signable where !batch[place].type.isReconciled {
                let request = batch[place]
                guard let key = keys[place],
                    let version = try unstored.allocate(request.signer, epoch: epoch, mustLast: false)
                else { continue }
                records[place] = verified(signed(request, version, by: key, wall), wall)
            }
        }
        return records
    }

    private func signed(
        _ request: SigningRequest, _ version: RecordVersion, by key: SigningKey, _ wall: Timestamp
    ) -> [UInt8] {
        RecordDraft(
            type: request.type, network: network, signer: request.signer, name: request.name, version: version,
            issued: wall, expires: wall.advanced(byMilliseconds: request.lifeMs), isTombstone: request.isTombstone,
            body: request.body
        ).signed(by: key, cryptography: Sodium.shared)
    }

    private func verified(_ bytes: [UInt8], _ wall: Timestamp) -> VerifiedRecord? {
        switch VerifiedRecord.verify(bytes: bytes, network: network, wall: wall, cryptography: Sodium.shared) {
        case .success(let record): return record
        case .failure(let reason):
            logger.error(
                "a record of this node would be refused everywhere; was its clock set back?",
                metadata: ["reason": "\(reason.rawValue)"])
            return nil
        }
    }

    // MARK: Sealed adverts

    /// A full queue drops the newest: what is lost is tried again when its advert changes, or this node gets a new key.
    private func queue(_ record: VerifiedRecord) {
        unopened.withLock { if $0.count < Limits.sealedWaiting { $0.append(record) } }
        openingIsDue.ring.yield()
    }

    /// There is a new key, for which something may have been sealed before.
    package func openAgain() {
        enqueue(.query { [self] broker in broker.closedAdverts.prefix(Limits.sealedWaiting).forEach(queue) })
    }

    /// Off the control loop: each key that is tried costs a scalar multiplication, and strangers choose how often.
    private func openWhatWaits() async throws {
        for await _ in openingIsDue.bells {
            while let record = unopened.withLock({ $0.popFirst() }) {
                let details = try await NIOThreadPool.singleton.runIfActive { [signers] in signers.opened(record) }
                inbox.yield(.input(.opened(record.key, details)))
            }
        }
    }

    // MARK: Names

    /// Before the catalog counts that was built with them: after a crash the same names must mean the same.
    private func save(_ changes: [NameChange]) async throws {
        unsavedNames.withLock { $0 += changes }
        // Stopped meanwhile: the last flush takes it.
        do { try await NIOThreadPool.singleton.runIfActive { [self] in try saveNames() } } catch is CancellationError {}
    }

    /// What a full disk does not take is tried again every second: it holds as long as the node runs.
    private func saveNames() throws(StoreError) {
        // One after the other: what is older must not be written over what is newer.
        try savingNames.withLock { _ throws(StoreError) in
            let changes = unsavedNames.withLock { changes in
                defer { changes = [] }
                return changes
            }
            do throws(StoreError) { try store.saveNames(changes) } catch {
                guard error.isPassing else { throw error }
                unsavedNames.withLock { $0 = changes + $0 }
            }
        }
    }

    private func warn(_ conflict: NameConflict) {
        logger.warning(
            "a name is claimed by two; 'aisbf mesh names' shows and settles it",
            metadata: [
                "name": "\(conflict.name.text)",
                "name.means": "\(conflict.holder.map { conflict.name.text(of: $0) } ?? "nobody")",
                "name.claimant": "\(conflict.name.text(of: conflict.claimant))",
                "node": "\(KeyText.node.text(conflict.home.bytes))",
            ])
    }

    // MARK: The record cache

    /// Keeps when a peer was last linked, for the operator to look up.
    package func remember(peer: PublicKey, address: String?) {
        remember(.savePeer(PeerEntry(nodeKey: peer, address: address, lastSeen: SystemClock.wall)))
    }

    private func remember(_ change: StoreChange) {
        unsaved.withLock { changes in
            // A cache, not a promise: what is lost here comes back by reconciliation.
            if changes.count < Limits.storeQueue * 16 { changes.append(change) }
        }
    }

    /// Writes what was learned since the last call, in one transaction. What there is no room for waits for a better
    /// time. Blocks; call it off the event loops.
    package func flushRecords() throws {
        guard store.probe() else { return }
        try unstored.settle()
        try saveNames()
        let changes = unsaved.withLock { changes in
            defer { changes = [] }
            return changes
        }
        guard !changes.isEmpty else { return }
        do throws(StoreError) {
            if try isSaved(changes) { return }
            // One change that the store does not take must not cost the others, nor the node.
            for change in changes where try !isSaved([change]) { metrics.unsavable() }
        } catch {
            guard error.isPassing else { throw error }
            unsaved.withLock { later in
                later = changes + later.prefix(max(0, Limits.storeQueue * 16 - changes.count))
            }
        }
    }

    /// False when the store refuses what the changes say; every other failure is thrown.
    private func isSaved(_ changes: [StoreChange]) throws(StoreError) -> Bool {
        let outcome: Result<Void, StoreError>
        do throws(StoreError) { outcome = .success(try store.apply(changes)) } catch { outcome = .failure(error) }
        switch outcome {
        case .success: return true
        case .failure(.invalid): return false
        case .failure(let error): throw error
        }
    }
}

/// Wakes the control plane when its next deadline comes; never more than one timer.
private final class DeadlineAlarm: Sendable {
    private let eventLoop: any EventLoop
    private let ring: @Sendable () -> Void
    private let state = Mutex<(deadline: Instant?, timer: Scheduled<Void>?)>((nil, nil))

    init(eventLoop: any EventLoop, ring: @escaping @Sendable () -> Void) {
        self.eventLoop = eventLoop
        self.ring = ring
    }

    func set(_ deadline: Instant?) {
        state.withLock { state in
            guard let deadline else {
                state.timer?.cancel()
                state = (nil, nil)
                return
            }
            // A timer that rings too early costs one look; moving it for every event costs a system call each.
            if let armed = state.deadline, state.timer != nil, armed <= deadline { return }
            state.timer?.cancel()
            state.deadline = deadline
            // Never more often than every two milliseconds, whatever the value asks for.
            let wait = min(max(2, deadline.milliseconds(since: SystemClock.instant) + 1), Limits.controlSleepMs)
            state.timer = eventLoop.scheduleTask(in: .milliseconds(wait)) { [weak self] in self?.rang() }
        }
    }

    private func rang() {
        state.withLock { $0 = (nil, nil) }
        ring()
    }
}
