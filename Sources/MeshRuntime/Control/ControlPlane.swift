package import Logging
package import MeshBroker
package import MeshCrypto
package import MeshGossip
package import MeshModel
import MeshRouting
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
    private let framesWaiting = Atomic<Int>(0)
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
    }

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
        var broker = initial
        let alarm = DeadlineAlarm(eventLoop: eventLoop) { [inbox] in inbox.yield(.input(.tick)) }
        // Stopped while something is being signed: what is left unsaid is said after the next start, and what is known
        // has to be saved.
        do { try await handleEvents(&broker, alarm, links) } catch is CancellationError {}
        alarm.set(nil)
        try flushRecords()
    }

    private func handleEvents(_ broker: inout Broker, _ alarm: DeadlineAlarm, _ links: any Links) async throws {
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
    }

    private func handle(_ input: Broker.Input, _ broker: inout Broker, _ links: any Links) async throws {
        var queue = [input]
        // Signing feeds back into the broker before anything else is heard.
        while let next = queue.popLast() {
            for effect in broker.handle(next, now: SystemClock.now) {
                if let answer = try await perform(effect, links) { queue.insert(answer, at: 0) }
            }
        }
    }

    private func perform(_ effect: Broker.Effect, _ links: any Links) async throws -> Broker.Input? {
        switch effect {
        case .catalogChanged(let catalog): self.catalog.replace(catalog)
        case .names(let changes): try await save(changes)
        case .nameClaimed(let conflict): warn(conflict)
        case .sign(let request):
            guard let record = try await sign(request, links) else { return .notSigned(request) }
            return .signed(record)
        case .gossip(let effect):
            if case .accepted(let record, .some) = effect { try continueAbove(record) }
            perform(effect, links)
        }
        return nil
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
                metadata: ["reason": "\(rejection.rawValue)", "link.peer": "\(peer)", "blamed": "\(blamed)"])
        case .equivocation(let key, let signer, _):
            logger.warning("a signer contradicted itself", metadata: ["record.key": "\(key)", "signer": "\(signer)"])
        case .blocked(let peer, let milliseconds):
            logger.warning("peer blocked", metadata: ["link.peer": "\(peer)", "duration.ms": "\(milliseconds)"])
        case .livenessChanged(let node, let alive):
            logger.info("node liveness changed", metadata: ["node": "\(node)", "alive": "\(alive)"])
        case .beaconDue, .beacon, .usabilityChanged, .ignored, .syncFinished: break
        }
    }

    /// A record under one of our keys that comes from elsewhere says that this store is older than what we said.
    private func continueAbove(_ record: VerifiedRecord) throws {
        guard signers.key(record.signer) != nil else { return }
        try unstored.raise(record.signer, to: record.version)
    }

    // MARK: Signing

    /// Allocates the version durably, signs, stores, and only then lets the record out.
    private func sign(_ request: SigningRequest, _ links: any Links) async throws -> VerifiedRecord? {
        guard !clock.isSuspect else { return nil }
        guard let signer = signers.key(request.signer) else {
            // The key went away meanwhile (a worker's token after its session ended): nothing is owed.
            logger.debug("no key to sign with", metadata: ["record.type": "\(request.type.name)"])
            return nil
        }
        let store = store
        let unstored = unstored
        let epoch = epoch
        let network = network
        let logger = logger
        let record = try await NIOThreadPool.singleton.runIfActive { () throws -> VerifiedRecord? in
            let wall = SystemClock.wall
            guard request.body.count <= Limits.recordBodyBytes else { return nil }
            guard
                let version = try unstored.allocate(
                    request.signer, epoch: epoch, mustLast: request.type.isReconciled)
            else { return nil }
            let draft = RecordDraft(
                type: request.type, network: network, signer: request.signer, name: request.name, version: version,
                issued: wall,
                expires: wall.advanced(byMilliseconds: request.lifeMs), isTombstone: request.isTombstone,
                body: request.body)
            let bytes = draft.signed(by: signer, cryptography: Sodium.shared)
            do throws(StoreError) {
                if request.type.isReconciled { try store.saveOwnRecord(bytes) }
            } catch {
                guard error.isPassing else { throw error }
                return nil
            }
            switch VerifiedRecord.verify(bytes: bytes, network: network, wall: wall, cryptography: Sodium.shared) {
            case .success(let record): return record
            case .failure(let reason):
                logger.error(
                    "a record of this node would be refused everywhere; was its clock set back?",
                    metadata: ["record.type": "\(request.type.name)", "reason": "\(reason.rawValue)"])
                return nil
            }
        }
        if let record, record.type == .nodeDescriptor { links.setDescriptor(record) }
        return record
    }

    // MARK: Names

    /// Before the catalog counts that was built with them: after a crash the same names must mean the same.
    private func save(_ changes: [NameChange]) async throws {
        unsavedNames.withLock { $0 += changes }
        try await NIOThreadPool.singleton.runIfActive { [self] in try saveNames() }
    }

    /// What a full disk does not take is tried again every second: it holds as long as the node runs.
    private func saveNames() throws(StoreError) {
        let changes = unsavedNames.withLock { changes in
            defer { changes = [] }
            return changes
        }
        do throws(StoreError) { try store.saveNames(changes) } catch {
            guard error.isPassing else { throw error }
            unsavedNames.withLock { $0 = changes + $0 }
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
            let wait = min(max(2, deadline.milliseconds(since: SystemClock.instant) + 1), 60_000)
            state.timer = eventLoop.scheduleTask(in: .milliseconds(wait)) { [weak self] in self?.rang() }
        }
    }

    private func rang() {
        state.withLock { $0 = (nil, nil) }
        ring()
    }
}

/// The private keys this node may sign with, by public key.
package final class Signers: Sendable {
    private let fixed: Mutex<[PublicKey: SigningKey]>
    private let attachKeys: AttachKeyring

    package init(_ keys: [SigningKey], attachKeys: AttachKeyring) {
        fixed = Mutex(Dictionary(keys.map { ($0.publicKey, $0) }, uniquingKeysWith: { first, _ in first }))
        self.attachKeys = attachKeys
    }

    package func add(_ key: SigningKey) { fixed.withLock { $0[key.publicKey] = key } }

    package func key(_ publicKey: PublicKey) -> SigningKey? {
        fixed.withLock { $0[publicKey] } ?? attachKeys.key(publicKey)
    }
}
