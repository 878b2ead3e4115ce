package import Logging
package import MeshBroker
import MeshCrypto
import MeshExchange
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
/// Requests never wait for it; they read the catalog it publishes. What must be on the disk first is written beside it,
/// so that it never waits for the disk itself.
package final class ControlPlane: Sendable {
    /// Sends frames, closes and dials on behalf of gossip; the node's links do it.
    package protocol Links: Sendable {
        func send(_ frame: Aisbf_Mesh_V1_LinkFrame, over link: LinkID)
        func close(_ link: LinkID, code: String)
        func dial(_ address: String, expected: PublicKey?)
        /// The handshake of links made from now on shows this descriptor.
        func setDescriptor(_ record: VerifiedRecord)
        /// A node that `Gossip.Input.reach` asked for cannot be dialled now.
        func unreachable(_ node: PublicKey)
    }

    private enum Event: Sendable {
        /// A link's frame: the only input that may be dropped, because reconciliation repairs what it said. Its ticket
        /// counts it against the link until it was handled.
        case frame(Broker.Input, FrameTicket)
        case input(Broker.Input)
        case persisted(StoreOutcome, then: [Broker.Effect])
        case query(@Sendable (Broker) -> Void)
    }

    /// What is on its way to the disk, and what follows.
    private struct Writing: Sendable {
        var batch: StoreBatch
        var then: [Broker.Effect]
    }

    private let store: MeshStore
    private let writer: BatchWriter
    private let cache: RecordCache
    private let sealed: SealedAdverts
    private let catalog: CatalogHolder
    private let clock: ClockJudge
    private let metrics: ControlMetrics
    private let logger: Logger
    private let eventLoop: any EventLoop
    private let events: AsyncStream<Event>
    private let inbox: AsyncStream<Event>.Continuation
    private let batches = AsyncStream<Writing>.makeStream(bufferingPolicy: .unbounded)
    private let framesWaiting = Atomic<Int>(0)
    package let board = MeshBoard()

    package init(
        store: MeshStore, signers: Signers, catalog: CatalogHolder, clock: ClockJudge, network: NetworkID,
        eventLoop: any EventLoop, logger: Logger
    ) {
        self.store = store
        self.catalog = catalog
        self.clock = clock
        self.eventLoop = eventLoop
        self.logger = logger
        metrics = ControlMetrics()
        cache = RecordCache(store, metrics: metrics)
        sealed = SealedAdverts(signers)
        writer = BatchWriter(
            store: store, signers: signers, network: network, startedAt: SystemClock.wall, logger: logger)
        (events, inbox) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    // MARK: The inbox

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

    /// There is a new key, for which something may have been sealed before.
    package func openAgain() {
        enqueue(.query { [sealed] broker in broker.closedAdverts.prefix(Limits.sealedWaiting).forEach(sealed.add) })
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

    // MARK: The loop

    /// Runs until `stop`.
    /// - Throws: `StoreError` when the store is damaged. While it has no room nothing is signed that must be remembered,
    ///   for a node that cannot remember what it said must not say more; everything else goes on.
    package func run(broker initial: Broker, links: any Links) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                // Whatever ends the writing ends the node.
                defer { inbox.finish() }
                // Stopped while something is being written: what is left unsaid is said after the next start.
                do { try await writeBatches() } catch is CancellationError {}
            }
            group.addTask { [sealed, inbox] in
                do { try await sealed.open { inbox.yield(.input(.opened($0, $1))) } } catch is CancellationError {}
            }
            await handleEvents(initial, links)
            batches.continuation.finish()
            sealed.finish()
            try await group.waitForAll()
        }
        // What is known has to be saved.
        try flushRecords()
    }

    private func handleEvents(_ initial: Broker, _ links: any Links) async {
        var broker = initial
        let alarm = DeadlineAlarm(eventLoop: eventLoop) { [inbox] in inbox.yield(.input(.tick)) }
        for await event in events {
            let now = SystemClock.now
            switch event {
            case .query(let read): read(broker)
            case .input(let input): carryOut(broker.handle(input, now: now), now.instant, links)
            case .frame(let input, let ticket):
                framesWaiting.subtract(1, ordering: .relaxed)
                carryOut(broker.handle(input, now: now), now.instant, links)
                // Only now may the link read on.
                withExtendedLifetime(ticket) {}
            case .persisted(let outcome, let then):
                for effect in then { perform(effect, now.instant, links) }
                carryOut(broker.handle(.persisted(outcome), now: now), now.instant, links)
            }
            board.holds(records: broker.gossip.recordCount)
            board.becomes(isQuiet: broker.isQuiet(now: now.instant))
            alarm.set(broker.nextDeadline, now: now.instant)
        }
        alarm.set(nil, now: SystemClock.instant)
    }

    // MARK: What the value says

    private func carryOut(_ effects: Effects, _ now: Instant, _ links: any Links) {
        for effect in effects.immediate { perform(effect, now, links) }
        if let batch = effects.persist {
            batches.continuation.yield(Writing(batch: batch, then: effects.afterPersist))
        }
    }

    private func perform(_ effect: Broker.Effect, _ now: Instant, _ links: any Links) {
        switch effect {
        case .catalogChanged(let catalog): self.catalog.replace(catalog)
        case .keep(let record): cache.add(.saveRecord(record.envelope.bytes))
        case .forget(let key):
            cache.add(.deleteRecord(key))
            cache.add(.deleteOwnRecord(key))
        case .describeNode(let record): links.setDescriptor(record)
        case .open(let record): sealed.add(record)
        case .nameClaimed(let conflict): logger.tell(conflict)
        case .gossip(let effect):
            metrics.count(effect)
            logger.tell(effect)
            perform(effect, now, links)
        }
    }

    private func perform(_ effect: Gossip.Effect, _ now: Instant, _ links: any Links) {
        switch effect {
        case .send(let link, let frame): links.send(frame, over: link)
        case .close(let link, let code): links.close(link, code: code.failure.rawValue)
        case .dial(let key, let address): links.dial(address, expected: key)
        case .unreachable(let key): links.unreachable(key)
        case .beacon(let lease, _): board.heard(lease, now: now)
        case .accepted, .removed, .rejected, .equivocation, .blocked, .livenessChanged, .beaconDue, .usabilityChanged,
            .ignored, .syncFinished:
            break
        }
    }

    // MARK: The disk

    /// One batch after the other: the broker gives out the next one when it has heard of the last.
    private func writeBatches() async throws {
        for await writing in batches.stream {
            let outcome = try await NIOThreadPool.singleton.runIfActive { [writer, clock] in
                let now = SystemClock.now
                return try writer.write(writing.batch, maySign: !clock.isSuspect(now: now), wall: now.wall)
            }
            enqueue(.persisted(outcome, then: writing.then))
        }
    }

    /// Keeps when a peer was last linked, for the operator to look up.
    package func remember(peer: PublicKey, address: String?, seen: Timestamp) {
        cache.add(.savePeer(PeerEntry(nodeKey: peer, address: address, lastSeen: seen)))
    }

    /// Writes what was learned since the last call. Blocks; call it off the event loops.
    package func flushRecords() throws {
        guard store.probe() else { return }
        try writer.settle()
        try cache.flush()
    }
}
