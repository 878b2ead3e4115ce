package import MeshExchange
import MeshModel
import MeshSessions
import MeshTransport
import MeshWire
package import NIOCore
package import NIOWebSocket
import Synchronization

/// One worker's WebSocket: turns frames into events of the pure `BrokerSession` and `AnswerExchange` machines and
/// their actions into frames. Lives on its event loop; writes are flushed once per turn of the loop.
package final class WorkerConnection: ChannelInboundHandler, Ticking {
    package typealias InboundIn = WebSocketFrame
    package typealias OutboundOut = WebSocketFrame

    private struct InFlight {
        var exchange: AnswerExchange
        let receiver: any AnswerReceiver
        let attempt: WorkerAttempt
        let upload: WorkerUpload?
    }

    private var machine: BrokerSession
    private let sessions: SessionTable
    private let makeSession: (WorkerConnection, any EventLoop) -> WorkerSession
    private var session: WorkerSession?
    private var context: ChannelHandlerContext?
    private var inFlight: [UInt64: InFlight] = [:]
    private var nextNumber = BrokerSession.firstRequestNumber
    private var isFlushDue = false
    private var isFlushScheduled = false
    private var isRegistered = false
    private var isClosing = false
    private var lastTick = SystemClock.instant
    private var held = HeldAnswers()
    private var lastUnsent = (bytes: 0, since: SystemClock.instant)

    init(
        machine: BrokerSession, sessions: SessionTable,
        makeSession: @escaping (WorkerConnection, any EventLoop) -> WorkerSession
    ) {
        self.machine = machine
        self.sessions = sessions
        self.makeSession = makeSession
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        session = makeSession(self, context.eventLoop)
        sessions.tickers.ticker(of: context.eventLoop).add(self)
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        // Behind this node's close nothing counts but the worker's answer to it.
        if isClosing {
            if frame.opcode == .connectionClose { context.close(promise: nil) }
            return
        }
        let now = SystemClock.now
        machine.seen(now: now.instant)
        switch frame.opcode {
        case .text:
            let bytes = frame.unmaskedData
            bytes.withUnsafeReadableBytes { textArrived($0, now: now) }
        case .binary: binaryArrived(frame.unmaskedData, now: now)
        case .ping:
            // Who pings and does not read must not fill this node with pongs.
            if unsentBytes <= Limits.workerUnsentBytes { write(.pong, frame.unmaskedData) }
        case .connectionClose:
            // Answer the close and let the peer's half of the handshake finish.
            let said = frame.unmaskedData
            write(.connectionClose, said)
            flush()
            ended(.worker(code: said.getInteger(at: said.readerIndex)))
            context.close(promise: nil)
        default: break
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        // A part of a large message on a slow line is a sign of life as well.
        machine.seen(now: SystemClock.instant)
        flush()
        context.fireChannelReadComplete()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        ended(.lost)
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        ended(.lost)
        self.context = nil
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let reason = CloseReason(webSocketError: error) { return close(reason) }
        context.close(promise: nil)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent: close(.nodeStopping)
        case ChannelEvent.inputClosed: context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: Requests

    func start(_ request: WorkRequest, model: String?, receiver: any AnswerReceiver, attempt: WorkerAttempt) {
        guard machine.isLive, let context, context.channel.isActive else {
            return refuse(
                attempt, receiver,
                MeshError(.workerUnavailable, "the worker has just disconnected", retryAfterSeconds: 2))
        }
        guard inFlight.count < Limits.workerRequestsAtOnce else {
            return refuse(
                attempt, receiver, MeshError(.workerBusy, "the worker has its hands full", retryAfterSeconds: 1))
        }
        guard unsentBytes <= Limits.workerUnsentBytes else {
            return refuse(
                attempt, receiver,
                MeshError(.workerBusy, "the worker takes its requests too slowly", retryAfterSeconds: 2))
        }
        let number = nextNumber
        let head = machine.requestHead(number: number, operation: request.content.operation.rawValue)
        let document = request.content.document(model: model)
        let size = head.count + document.readableBytes + 1
        guard size <= machine.profile.maxFrameBytes else {
            let limit = machine.profile.maxFrameBytes
            return refuse(
                attempt, receiver,
                MeshError(
                    .frameLimit,
                    "the request is \(size) bytes, but this worker takes at most \(limit) in one message; shorten it or choose another provider"
                ))
        }
        nextNumber += 1
        machine.requestSent(number)
        attempt.number.store(number, ordering: .relaxed)
        inFlight[number] = InFlight(
            exchange: AnswerExchange(
                form: request.form, subject: .init(request.need.endpoint), deadlines: request.deadlines,
                isUploading: request.upload != nil, now: SystemClock.instant),
            receiver: receiver, attempt: attempt,
            upload: request.upload.map {
                WorkerUpload($0, number: number, connection: self, eventLoop: context.eventLoop)
            })
        var data = context.channel.allocator.buffer(capacity: size)
        data.writeBytes(head)
        document.write(into: &data)
        data.writeInteger(UInt8(ascii: "}"))
        write(.text, data)
        flushSoon()
    }

    /// Whoever asked does not want the answer any more: the worker is told, and whatever still comes is dropped.
    func cancel(_ number: UInt64) {
        guard let entry = inFlight.removeValue(forKey: number) else { return }
        held.ended(number)
        entry.attempt.session.requestEnded()
        if let sample = entry.exchange.abandoned(now: SystemClock.instant) { session?.record(sample) }
        control("cancel", number, known: true)
    }

    func control(_ operation: String, _ number: UInt64) {
        guard machine.profile.controlsFlow else { return }
        control(operation, number, known: inFlight[number] != nil)
    }

    /// The buyer's side took `count` bytes of a binary answer.
    func consumed(_ count: Int, of number: UInt64) {
        guard let credit = inFlight[number]?.exchange.consumed(count) else { return }
        writeText(machine.creditFrame(number: number, bytes: credit))
        flushSoon()
    }

    private func control(_ operation: String, _ number: UInt64, known: Bool) {
        guard known else { return }
        writeText(machine.controlFrame(operation, number: number))
        flushSoon()
    }

    /// The request was counted at its session, which this connection may not have any more.
    private func refuse(_ attempt: WorkerAttempt, _ receiver: any AnswerReceiver, _ error: MeshError) {
        attempt.session.requestEnded()
        receiver.deliver([.fail(error)])
    }

    // MARK: Frames

    private func textArrived(_ bytes: UnsafeRawBufferPointer, now: Now) {
        let scanned: Result<WorkerFrame, JSONScanError>
        do throws(JSONScanError) { scanned = .success(try WorkerFrame.scan(bytes)) } catch { scanned = .failure(error) }
        for action in machine.textArrived(scanned, in: bytes, now: now) {
            if case .reply(let number, let event) = action {
                guard case .success(let frame) = scanned else { continue }
                replied(number, event, frame, bytes, now.instant)
            } else {
                perform(action)
            }
        }
    }

    /// Some clients send text in binary frames; ours begin with a byte that no JSON begins with.
    private func binaryArrived(_ buffer: ByteBuffer, now: Now) {
        guard buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) == 1 else {
            return buffer.withUnsafeReadableBytes { textArrived($0, now: now) }
        }
        switch buffer.withUnsafeReadableBytes({ machine.binaryArrived($0, now: now.instant) }) {
        case .failure(let own): own.actions.forEach(perform)
        case .success(let (number, start)):
            guard inFlight[number] != nil else { return sessions.metrics.unmatchedReply() }
            inFlight[number]?.attempt.isCredited.store(true, ordering: .relaxed)
            var payload = buffer
            payload.moveReaderIndex(forwardBy: start)
            let outcome = payload.withUnsafeReadableBytes {
                inFlight[number]?.exchange.binaryArrived($0, now: now.instant)
            }
            let surplus = countHeld(number)
            guard let outcome, let entry = inFlight[number] else { return }
            switch outcome {
            case .pass: entry.receiver.deliver([.bytes(payload)])
            case .actions(let actions):
                deliver(actions + surplus, entry.receiver)
                // What went into events was taken in here; how slowly the buyer reads is told by `pause`.
                consumed(payload.readableBytes, of: number)
            }
            if entry.exchange.isFinished { failedByNode(number) }
        }
    }

    /// The worker broke a rule and may still be at it: it is told to stop.
    private func failedByNode(_ number: UInt64) {
        control("cancel", number, known: inFlight[number] != nil)
        finish(number)
    }

    private func replied(
        _ number: UInt64, _ event: WorkerFrame.ReplyEvent, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer,
        _ now: Instant
    ) {
        if event == .credit { return credited(number, frame, bytes, now) }
        // Changed in place: what a stream holds back must not be copied for every frame.
        guard let actions = inFlight[number]?.exchange.replied(event, frame, in: bytes, now: now) else {
            sessions.metrics.unmatchedReply()
            return
        }
        let surplus = countHeld(number)
        guard let entry = inFlight[number] else { return }
        if actions.contains(where: Self.knowsNoModel) { machine.doubtModels() }
        deliver(actions + surplus, entry.receiver)
        guard entry.exchange.isFinished else {
            if actions.isEmpty, event.isSignOfWork { entry.receiver.deliver([.pending]) }
            return
        }
        switch event {
        case .answer, .done, .error: finish(number)
        case .pending, .start, .credit, .chunk, .progress, .heartbeat, .ignored: failedByNode(number)
        }
    }

    /// Whether an answer may mean that the worker has other models than it listed.
    private static func knowsNoModel(_ action: AnswerExchange.Action) -> Bool {
        switch action {
        case .head(let head): head.status == 404
        case .fail(let error): error.code == .modelNotFound
        case .bytes, .end: false
        }
    }

    /// Counts what the request's unfinished answer holds now. One that brings the worker over its share fails.
    private func countHeld(_ number: UInt64) -> [AnswerExchange.Action] {
        guard let entry = inFlight[number] else { return [] }
        guard !held.takes(entry.exchange.heldBytes, of: number) else { return [] }
        return inFlight[number]?.exchange.failed(
            MeshError(.workerBadAnswer, "the worker has too many large answers under way that are not finished")) ?? []
    }

    private func credited(
        _ number: UInt64, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, _ now: Instant
    ) {
        guard let upload = inFlight[number]?.upload, let payload = frame.payload, payload.kind == .object,
            let room = (try? JSONScanner.fields(of: bytes, in: payload.range))?.integer("bytes", in: bytes), room > 0
        else { return sessions.metrics.unmatchedReply() }
        upload.credited(Int(clamping: room))
    }

    /// The next bytes of a request's upload, as many as its worker gave credit for.
    func pass(_ bytes: ByteBuffer, ofUpload number: UInt64) {
        guard let context, let upload = inFlight[number]?.upload else { return }
        upload.arrived(bytes.readableBytes)
        // A buyer on a slow line is one who sends.
        inFlight[number]?.exchange.uploadProgressed(now: SystemClock.instant)
        let id = "q\(number)"
        var data = context.channel.allocator.buffer(capacity: 2 + id.utf8.count + bytes.readableBytes)
        data.writeInteger(1 as UInt8)
        data.writeInteger(UInt8(clamping: id.utf8.count))
        data.writeString(id)
        data.writeImmutableBuffer(bytes)
        let sent = context.eventLoop.makePromise(of: Void.self)
        let count = bytes.readableBytes
        sent.futureResult.whenSuccess { upload.sent(count) }
        context.write(wrapOutboundOut(WebSocketFrame(fin: true, opcode: .binary, data: data)), promise: sent)
        isFlushDue = true
        flushSoon()
    }

    func endUpload(_ number: UInt64) {
        inFlight[number]?.exchange.uploadEnded(now: SystemClock.instant)
        inFlight[number]?.upload?.ended()
        control("upload_end", number, known: inFlight[number]?.upload != nil)
    }

    private func finish(_ number: UInt64) {
        // A delivery may have cancelled the request meanwhile.
        guard let entry = inFlight.removeValue(forKey: number) else { return }
        held.ended(number)
        entry.attempt.session.requestEnded()
        if let sample = entry.exchange.sample(now: SystemClock.instant) { session?.record(sample) }
    }

    private func deliver(_ actions: [AnswerExchange.Action], _ receiver: any AnswerReceiver) {
        guard !actions.isEmpty, let context else { return }
        receiver.deliver(
            actions.map { action in
                switch action {
                case .head(let head): .head(machine.profile.passesRanges ? head : head.withoutRanges())
                case .bytes(let bytes): .bytes(context.channel.allocator.buffer(bytes: bytes))
                case .end(let totals): .end(totals)
                case .fail(let error): .fail(error)
                }
            })
    }

    private func perform(_ action: BrokerSession.Action) {
        switch action {
        // Who asks and does not read must not fill this node with answers.
        case .send(let bytes): if unsentBytes <= Limits.workerUnsentBytes { writeText(bytes) }
        case .ping: write(.ping, ByteBuffer())
        case .close(let reason): closeNow(reason)
        case .registered(let profile):
            session?.update { $0.profile = profile }
            guard let session, !isRegistered else { break }
            isRegistered = true
            sessions.registered(session)
        case .modelsListed(let models):
            guard let session else { break }
            let kept = sessions.kept(models, of: session)
            session.update { $0.offer.models = kept }
            sessions.changed(session)
        case .hardwareChanged(let hardware): session?.update { $0.profile.hardware = hardware }
        case .profileChanged(let profile):
            session?.update { $0.profile = profile }
            if let session { sessions.changed(session) }
        case .badFrame: sessions.metrics.badFrame()
        case .reply: break
        }
    }

    // MARK: Time and end

    /// Called by the ticker, twice a second.
    package func tick() {
        guard context != nil, !isClosing else { return }
        let now = SystemClock.instant
        if machine.heard(since: lastTick) { session?.sawLife(SystemClock.wall) }
        lastTick = now
        machine.tick(now: now).forEach(perform)
        watchReading(now)
        let late = inFlight.filter {
            $0.value.exchange.deadline <= now || $0.value.upload?.isStalled(now: now) ?? false
        }
        for number in late.keys {
            let awaitsUpload = inFlight[number]?.upload?.isAwaited ?? false
            let isStalled = (inFlight[number]?.exchange.deadline ?? now) > now
            let outcome =
                isStalled
                ? inFlight[number]?.exchange.uploadStalled()
                : inFlight[number]?.exchange.deadlinePassed(awaitsUpload: awaitsUpload)
            guard let actions = outcome, let entry = inFlight[number] else { continue }
            deliver(actions, entry.receiver)
            control("cancel", number, known: true)
            finish(number)
        }
        flush()
    }

    /// Bytes that were written to the socket's queue and not taken by the worker yet.
    private var unsentBytes: Int { context?.channel.unsentSocketBytes ?? 0 }

    /// A worker that takes nothing for too long is as good as gone, whatever it sends.
    private func watchReading(_ now: Instant) {
        let unsent = unsentBytes
        if unsent == 0 || unsent < lastUnsent.bytes { lastUnsent = (unsent, now) }
        lastUnsent.bytes = unsent
        if unsent > 0, now.milliseconds(since: lastUnsent.since) >= Limits.streamBlockedMs { close(.notReading) }
    }

    func close(_ reason: CloseReason) { machine.close(reason).forEach(perform) }

    /// The worker is told why, and has a moment to take it: a socket that is closed with something unread is reset, and
    /// the reason would be lost with it.
    private func closeNow(_ reason: CloseReason) {
        guard let context, !isClosing else { return }
        isClosing = true
        var data = context.channel.allocator.buffer(capacity: 2 + reason.rawValue.utf8.count)
        data.write(webSocketErrorCode: WebSocketErrorCode(codeNumber: Int(reason.code)))
        data.writeString(reason.rawValue)
        write(.connectionClose, data)
        flush()
        sessions.metrics.closed(reason)
        ended(.node(reason))
        let channel = context.channel
        if reason.isUnheard { return channel.close(promise: nil) }
        channel.eventLoop.scheduleTask(in: .milliseconds(Limits.workerCloseLingerMs)) {
            channel.close(promise: nil)
        }
    }

    /// The socket is gone, or as good as: nobody waits for it any longer. Safe to call twice.
    private func ended(_ cause: SessionEnd.Cause) {
        if let context { sessions.tickers.ticker(of: context.eventLoop).remove(self) }
        _ = machine.close(.silent)
        let lost = inFlight.sorted { $0.key < $1.key }
        inFlight = [:]
        for (_, entry) in lost {
            entry.attempt.session.requestEnded()
            var exchange = entry.exchange
            deliver(
                exchange.failed(
                    MeshError(.workerLost, "the worker disconnected before it answered", retryAfterSeconds: 2)),
                entry.receiver)
            if let sample = exchange.sample(now: SystemClock.instant) { session?.record(sample) }
        }
        if let session {
            self.session = nil
            sessions.ended(session, cause)
        }
    }

    // MARK: Writing

    private func writeText(_ bytes: [UInt8]) {
        guard let context else { return }
        write(.text, context.channel.allocator.buffer(bytes: bytes))
    }

    private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer) {
        guard let context else { return }
        context.write(wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: data)), promise: nil)
        isFlushDue = true
    }

    private func flush() {
        guard isFlushDue else { return }
        isFlushDue = false
        context?.flush()
    }

    /// One flush for everything that is written in this turn of the loop.
    private func flushSoon() {
        guard let context, !isFlushScheduled else { return }
        isFlushScheduled = true
        context.eventLoop.assumeIsolated().execute { [weak self] in
            self?.isFlushScheduled = false
            self?.flush()
        }
    }
}

extension WorkerFrame.ReplyEvent {
    /// Whether it shows that the worker is at the request, where it brought no content.
    fileprivate var isSignOfWork: Bool {
        switch self {
        case .pending, .start, .progress, .chunk: true
        case .answer, .done, .error, .credit, .heartbeat, .ignored: false
        }
    }
}
