import MeshExchange
import MeshModel
import MeshSessions
import MeshTransport
import MeshWire
package import NIOCore
import Synchronization

/// One worker's WebSocket: turns messages into events of the pure `BrokerSession` and `WorkerRequests` machines and
/// what they say into frames, and keeps who waits for each answer. Lives on its event loop; writes are flushed once per
/// turn of the loop.
package final class WorkerConnection: ChannelInboundHandler, Ticking {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    /// Who waits for the answer to one request.
    private struct Waiting {
        let receiver: any AnswerReceiver
        let attempt: WorkerAttempt
        let upload: WorkerUpload?
    }

    private var machine: BrokerSession
    private let sessions: SessionTable
    /// Nil behind its one call: what it knows of the handshake takes memory.
    private var makeSession: ((WorkerConnection, any EventLoop) -> WorkerSession)?
    private var session: WorkerSession?
    private var context: ChannelHandlerContext?
    private var requests = WorkerRequests(now: SystemClock.instant)
    /// Those of the outstanding requests, by their numbers.
    private var waiting: [UInt64: Waiting] = [:]
    /// Where it stands at the ticker of its event loop.
    private var tickerPlace: Int?
    private var reader = WebSocketReader()
    /// What is too large to be written at once, and what follows it.
    private var outbox = FrameOutbox()
    private var isFlushDue = false
    private var isFlushScheduled = false
    private var isRegistered = false
    private var isClosing = false
    private var lastTick = SystemClock.instant

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
        session = makeSession?(self, context.eventLoop)
        makeSession = nil
        tickerPlace = sessions.tickers.ticker(of: context.eventLoop).add(self)
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        reader.append(unwrapInboundIn(data))
        do throws(WebSocketFault) {
            while let message = try reader.next() { arrived(message, context) }
        } catch {
            // Nothing of what follows can be told from what it is not.
            reader = WebSocketReader()
            close(CloseReason(error))
        }
    }

    private func arrived(_ message: WebSocketReader.Message, _ context: ChannelHandlerContext) {
        // Behind this node's close nothing counts but the worker's answer to it.
        if isClosing {
            if message.opcode == .close { context.close(promise: nil) }
            return
        }
        let now = SystemClock.now
        machine.seen(now: now.instant)
        switch message.opcode {
        case .text: message.data.withUnsafeReadableBytes { textArrived($0, now: now) }
        case .binary: binaryArrived(message.data, now: now)
        case .ping:
            // Who pings and does not read must not fill this node with pongs.
            if WorkerRequests.mayWrite(unsent: unsentBytes) { write(.pong, message.data) }
        case .close:
            // Answer the close and let the peer's half of the handshake finish.
            let said = message.data
            write(.close, said)
            flush()
            ended(.worker(code: said.getInteger(at: said.readerIndex)))
            context.close(promise: nil)
        case .pong, .continuation: break
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        // A part of a large message on a slow line is a sign of life as well.
        machine.seen(now: SystemClock.instant)
        flush()
        context.fireChannelReadComplete()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        pump()
        flush()
        context.fireChannelWritabilityChanged()
    }

    package func channelInactive(context: ChannelHandlerContext) {
        ended(.lost)
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        ended(.lost)
        self.context = nil
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent: close(.nodeStopping)
        case ChannelEvent.inputClosed: context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: Requests

    func start(_ request: WorkRequest, model: String?, receiver: any AnswerReceiver, attempt: WorkerAttempt) {
        guard let context, context.channel.isActive,
            let (head, frameBytes) = machine.opening(
                number: requests.next, operation: request.content.operation.rawValue)
        else {
            return refuse(
                attempt, receiver,
                MeshError(.workerUnavailable, "the worker has just disconnected", retryAfterSeconds: 2))
        }
        let document = request.content.document(model: model)
        let size = head.count + document.readableBytes + 1
        // Below its mark there is little; to ask for how much costs more than the rest of this.
        let unsent = context.channel.isWritable && outbox.isEmpty ? 0 : unsentBytes
        if let error = requests.refusal(unsent: unsent, frame: (size, frameBytes)) {
            return refuse(attempt, receiver, error)
        }
        let exchange = AnswerExchange(
            form: request.form, subject: .init(request.need.endpoint), deadlines: request.deadlines,
            isUploading: request.upload != nil, now: SystemClock.instant)
        let number = requests.begin(exchange, hasUpload: request.upload != nil)
        machine.requestSent(number)
        attempt.number.store(number, ordering: .relaxed)
        waiting[number] = Waiting(
            receiver: receiver, attempt: attempt,
            upload: request.upload.map {
                WorkerUpload($0, number: number, connection: self, eventLoop: context.eventLoop)
            })
        write(head, document, size, context)
        flushSoon()
    }

    /// The frame of a request: joined where it is short, else in the pieces that it came in.
    private func write(_ head: [UInt8], _ document: RenderedContent, _ size: Int, _ context: ChannelHandlerContext) {
        guard outbox.passes(size) else {
            let (head, end) = (ByteBuffer(bytes: head), ByteBuffer(integer: UInt8(ascii: "}")))
            outbox.add(.text, [head] + document.pieces + [end])
            return pump()
        }
        var frame = context.channel.allocator.buffer(capacity: WebSocketFrameHead.bytes(before: size) + size)
        frame.writeWebSocketHead(.text, length: size)
        frame.writeBytes(head)
        document.write(into: &frame)
        frame.writeInteger(UInt8(ascii: "}"))
        send(frame, context)
    }

    /// Whoever asked does not want the answer any more: the worker is told, and whatever still comes is dropped.
    /// - Parameter isLate: because nothing came in the time that the worker had.
    func cancel(_ number: UInt64, isLate: Bool = false) {
        if let end = requests.cancelled(number, isLate: isLate, now: SystemClock.instant) { ended(number, end) }
    }

    func control(_ operation: String, _ number: UInt64) {
        guard machine.profile.controlsFlow, requests.isOutstanding(number) else { return }
        steer(operation, number)
    }

    /// The buyer's side took `count` bytes of a binary answer.
    func consumed(_ count: Int, of number: UInt64) {
        if let credit = requests.consumed(count, of: number) { give(credit, to: number) }
    }

    private func give(_ credit: Int, to number: UInt64) {
        writeText(machine.creditFrame(number: number, bytes: credit))
        flushSoon()
    }

    private func steer(_ operation: String, _ number: UInt64) {
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
        let scanned = Result { () throws(JSONScanError) in try WorkerFrame.scan(bytes) }
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
            var payload = buffer
            payload.moveReaderIndex(forwardBy: start)
            let outcome = payload.withUnsafeReadableBytes {
                requests.binaryArrived(number, $0, now: now.instant)
            }
            guard let outcome else { return sessions.metrics.unmatchedReply() }
            waiting[number]?.attempt.isCredited.store(true, ordering: .relaxed)
            perform(outcome, of: number, payload)
        }
    }

    private func replied(
        _ number: UInt64, _ event: WorkerFrame.ReplyEvent, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer,
        _ now: Instant
    ) {
        guard let outcome = requests.replied(number, event, frame, in: bytes, now: now) else {
            return sessions.metrics.unmatchedReply()
        }
        if outcome.doubtsModels { machine.doubtModels() }
        perform(outcome, of: number)
    }

    /// - Parameter passing: the bytes that came, of which the outcome may say that they pass.
    private func perform(_ outcome: WorkerRequests.Outcome, of number: UInt64, _ passing: ByteBuffer = ByteBuffer()) {
        guard let waiter = waiting[number] else { return }
        if let room = outcome.room { waiter.upload?.credited(room) }
        if outcome.passes { waiter.receiver.deliver([.bytes(passing)]) }
        deliver(outcome.told, waiter.receiver)
        if outcome.isPending { waiter.receiver.deliver([.pending]) }
        // Whoever hears of it may have had enough.
        if let credit = outcome.credit, requests.isOutstanding(number) { give(credit, to: number) }
        if let end = outcome.end { ended(number, end) }
    }

    /// The request is over here.
    private func ended(_ number: UInt64, _ end: WorkerRequests.End) {
        guard let waiter = waiting.removeValue(forKey: number) else { return }
        waiter.attempt.session.requestEnded()
        if let sample = end.sample { session?.record(sample) }
        // Its own word of refusal is not needed for others to come first for a moment.
        if end.ranOutOfTime { waiter.attempt.session.rest(retryAfterSeconds: nil, now: SystemClock.instant) }
        if end.isCancelled { steer("cancel", number) }
    }

    /// `count` bytes of a request's upload were asked of the buyer's side.
    func asked(_ count: Int, ofUpload number: UInt64) { requests.uploadAsked(count, of: number) }

    /// The next bytes of a request's upload, as many as its worker gave credit for.
    func pass(_ bytes: ByteBuffer, ofUpload number: UInt64) {
        guard let context, let upload = waiting[number]?.upload,
            requests.uploadArrived(bytes.readableBytes, of: number, now: SystemClock.instant)
        else { return }
        let id = "q\(number)"
        var data = context.channel.allocator.buffer(capacity: 2 + id.utf8.count + bytes.readableBytes)
        data.writeInteger(1 as UInt8)
        data.writeInteger(UInt8(clamping: id.utf8.count))
        data.writeString(id)
        data.writeImmutableBuffer(bytes)
        let sent = context.eventLoop.makePromise(of: Void.self)
        let count = bytes.readableBytes
        sent.futureResult.whenSuccess { upload.sent(count) }
        write(.binary, data, sent)
        flushSoon()
    }

    func endUpload(_ number: UInt64) {
        if requests.uploadEnded(number, now: SystemClock.instant) { steer("upload_end", number) }
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
        case .send(let bytes): if WorkerRequests.mayWrite(unsent: unsentBytes) { writeText(bytes) }
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
        let due = requests.tick(unsent: unsentBytes, now: now)
        if due.isBlocked { close(.notReading) }
        for late in due.late { perform(late.outcome, of: late.number) }
        flush()
    }

    /// Bytes that were written to the socket's queue and not taken by the worker yet.
    private var unsentBytes: Int { (context?.channel.unsentSocketBytes ?? 0) + outbox.bytes }

    func close(_ reason: CloseReason) { machine.close(reason).forEach(perform) }

    /// The worker is told why, and has a moment to take it: a socket that is closed with something unread is reset, and
    /// the reason would be lost with it.
    private func closeNow(_ reason: CloseReason) {
        guard let context, !isClosing else { return }
        isClosing = true
        outbox.drop()
        var data = context.channel.allocator.buffer(capacity: 2 + reason.rawValue.utf8.count)
        data.writeInteger(reason.code)
        data.writeString(reason.rawValue)
        write(.close, data)
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
        if let context, let place = tickerPlace { sessions.tickers.ticker(of: context.eventLoop).remove(place) }
        tickerPlace = nil
        outbox.drop()
        _ = machine.close(.silent)
        for lost in requests.lost(now: SystemClock.instant) { perform(lost.outcome, of: lost.number) }
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

    /// Messages keep their order. Pings, pongs and the close go between the fragments of one.
    private func write(
        _ opcode: WebSocketFrameHead.Opcode, _ data: ByteBuffer, _ sent: EventLoopPromise<Void>? = nil
    ) {
        // Behind a close there is none.
        if isClosing, opcode != .close { return sent?.fail(ChannelError.ioOnClosedChannel) ?? () }
        guard !opcode.isControl, !outbox.passes(data.readableBytes) else {
            return put(.init(opcode: opcode, isLast: true, data: data, sent: sent))
        }
        outbox.add(opcode, [data], sent)
        pump()
    }

    /// As much of what waits as the socket takes now.
    private func pump() {
        while let context, context.channel.isWritable, let frame = outbox.next() { put(frame) }
    }

    /// What is small leaves in one piece with its head.
    private func put(_ frame: FrameOutbox.Frame) {
        guard let context else { return frame.sent?.fail(ChannelError.ioOnClosedChannel) ?? () }
        let count = frame.data.readableBytes
        let isSmall = count <= Self.joinedBytes
        let room = WebSocketFrameHead.maximumBytes + (isSmall ? count : 0)
        var bytes = context.channel.allocator.buffer(capacity: room)
        bytes.writeWebSocketHead(frame.opcode, isLast: frame.isLast, length: count)
        if isSmall {
            bytes.writeImmutableBuffer(frame.data)
            return send(bytes, context, frame.sent)
        }
        send(bytes, context)
        send(frame.data, context, frame.sent)
    }

    /// From here on a payload is not worth copying.
    private static let joinedBytes = 4 << 10

    private func send(_ bytes: ByteBuffer, _ context: ChannelHandlerContext, _ sent: EventLoopPromise<Void>? = nil) {
        context.write(wrapOutboundOut(bytes), promise: sent)
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
