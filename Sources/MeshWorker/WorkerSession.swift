import Logging
import MeshModel
import MeshUpstream
import MeshWire
import NIOCore
import NIOWebSocket
import ServiceLifecycle
import Synchronization

/// Why a session ended.
enum SessionEnd: Error, Hashable, Sendable {
    case refused(String)
    case closed(code: Int, reason: String)
    case silent
    case shutdown
}

/// One WebSocket from register to close. Everything it starts ends with `run`.
final class WorkerSession: Sendable {
    let backend: any Backend
    let models: ModelWatch
    let report: WorkerReport
    let registration: WorkerRegistration
    let timings: WorkerTimings
    let logger: Logger
    private let requests = RequestTable()
    private let clock = SessionClock()
    private let farewell = Farewell()
    private let registers = Atomic<Int>(0)
    /// Bytes of a binary answer that the broker takes before it gives credit; 0 when it takes no binary frames.
    private let window = Atomic<Int>(0)

    init(
        backend: any Backend, models: ModelWatch, report: WorkerReport, timings: WorkerTimings, logger: Logger,
        registration: WorkerRegistration
    ) {
        self.backend = backend
        self.models = models
        self.report = report
        self.registration = registration
        self.timings = timings
        self.logger = logger
    }

    /// Whether the broker accepted us, and since when, for the back-off.
    var registeredMs: Int64 { clock.registeredMs }

    typealias Writer = NIOAsyncChannelOutboundWriter<WebSocketFrame>

    func run(_ channel: BrokerChannel) async throws -> SessionEnd {
        let hardware = await registration.hardware.read()
        let changes = await models.changes()
        return try await channel.executeThenClose { inbound, outbound in
            try await withThrowingTaskGroup(of: SessionEnd.self) { group in
                group.addTask { [self] in try await read(inbound, outbound) }
                group.addTask { [self] in try await watch() }
                group.addTask { [self] in try await ping(outbound) }
                group.addTask { [self] in try await beat(outbound) }
                group.addTask { [self] in try await tellChanges(changes, hardware, outbound) }
                group.addTask { [self] in try await drainAtShutdown(hardware, outbound) }
                defer { group.cancelAll() }
                try await register(hardware, outbound)
                return try await group.next() ?? .closed(code: 1006, reason: "")
            }
        }
    }

    private func register(_ hardware: JSONValue, _ outbound: Writer) async throws {
        let number = registers.add(1, ordering: .relaxed).newValue
        try await outbound.write(Self.text(registration.register(number, hardware: hardware)))
    }

    static func text(_ bytes: [UInt8]) -> WebSocketFrame { frame(.text, ByteBuffer(bytes: bytes)) }

    private static func frame(_ opcode: WebSocketOpcode, _ data: ByteBuffer) -> WebSocketFrame {
        WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: data)
    }

    private static func close(_ code: Int, _ reason: String) -> WebSocketFrame {
        var data = ByteBuffer()
        data.write(webSocketErrorCode: WebSocketErrorCode(codeNumber: code))
        data.writeString(reason)
        return frame(.connectionClose, data)
    }

    // MARK: Reading

    private func read(
        _ inbound: NIOAsyncChannelInboundStream<WebSocketFrame>, _ outbound: Writer
    ) async throws -> SessionEnd {
        try await withThrowingDiscardingTaskGroup { group in
            defer { group.cancelAll() }
            for try await frame in inbound {
                clock.heard()
                var data = frame.unmaskedData
                switch frame.opcode {
                case .ping: try await outbound.write(Self.frame(.pong, data))
                case .connectionClose:
                    let code = data.readWebSocketErrorCode().map { Int(UInt16(webSocketErrorCode: $0)) } ?? 1005
                    let reason = String(decoding: data.readableBytesView, as: UTF8.self)
                    try? await outbound.write(Self.close(code == 1005 ? 1000 : code, ""))
                    return clock.registeredMs < 0 ? .refused(reason) : .closed(code: code, reason: reason)
                case .binary where data.getInteger(at: data.readerIndex, as: UInt8.self) == 1:
                    uploadArrived(data)
                case .text, .binary:
                    guard let message = BrokerFrame(Array(data.readableBytesView)) else {
                        logger.warning("broker sent a frame that is no JSON object, ignored")
                        continue
                    }
                    if let end = accept(message, outbound, &group) { return end }
                default: continue
                }
            }
            return .closed(code: 1006, reason: "connection lost")
        }
    }

    private func accept(
        _ frame: BrokerFrame, _ outbound: Writer, _ group: inout ThrowingDiscardingTaskGroup<any Error>
    ) -> SessionEnd? {
        if clock.registeredMs < 0 {
            if frame.event == "registered", frame.status == "ok" {
                window.store(frame.answerWindow, ordering: .relaxed)
                clock.registered()
                logger.info("registered with the broker")
            } else if frame.status == "error" {
                return .refused(Self.errorText(of: frame))
            }
            return nil
        }
        guard let op = frame.op else { return nil }
        guard let id = frame.requestID, !id.isEmpty, id.utf8.count <= 256 else {
            logger.warning("broker sent a request without a usable request_id, ignored")
            return nil
        }
        if ["cancel", "pause", "resume", "credit", "upload_end"].contains(op) {
            steer(op, frame.payload)
            return nil
        }
        let window = window.load(ordering: .relaxed)
        switch requests.begin(id, window: window) {
        case .admitted(let cancelled, let gate, let credit):
            let job = Job(
                operation: op, requestID: id, payload: frame.payload, gate: gate, credit: window > 0 ? credit : nil)
            group.addTask { [self] in await work(job, cancelled, outbound) }
        case .busy:
            refuse(
                id, "busy", "the worker has \(Limits.workerAgentRequestsAtOnce) requests under way", outbound, &group)
        case .draining: refuse(id, "draining", "the worker is shutting down", outbound, &group)
        case .duplicate: logger.warning("broker repeated a request_id that is under way, ignored")
        }
        return nil
    }

    /// What the broker says about a request that is under way.
    private func steer(_ op: String, _ payload: [UInt8]) {
        guard let document = try? JSONValue.parse(payload), let target = document["request_id"]?.text else { return }
        switch op {
        case "cancel": requests.cancel(target)
        case "upload_end": requests.uploadEnded(target)
        case "credit":
            if let bytes = document["bytes"]?.integer, bytes > 0 { requests.addCredit(target, Int(clamping: bytes)) }
        default: requests.setPaused(target, op == "pause")
        }
    }

    private func uploadArrived(_ frame: ByteBuffer) {
        guard let (id, bytes) = WorkerFrames.upload(frame) else { return }
        guard !requests.uploadArrived(id, bytes) else { return }
        logger.warning("broker sent more of an upload than it was given room for, request dropped")
        requests.cancel(id)
    }

    /// One request of the broker.
    private struct Job: Sendable {
        var operation: String
        var requestID: String
        var payload: [UInt8]
        var gate: FlowGate
        var credit: CreditGate?
    }

    private func refuse(
        _ id: String, _ code: String, _ message: String, _ outbound: Writer,
        _ group: inout ThrowingDiscardingTaskGroup<any Error>
    ) {
        group.addTask { try? await outbound.write(Self.text(WorkerFrames.error(id, code: code, message: message))) }
    }

    private static func errorText(of frame: BrokerFrame) -> String {
        let document = try? JSONValue.parse(frame.whole)
        return document?["error"]?.text ?? document?["error"]?["message"]?.text ?? "refused without a reason"
    }

    // MARK: Working

    /// Races the work against the broker's `cancel`; the loser is cancelled.
    private func work(_ job: Job, _ cancelled: AsyncStream<Void>, _ outbound: Writer) async {
        defer { requests.end(job.requestID) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in await perform(job, outbound) }
            group.addTask { for await _ in cancelled { return } }
            await group.next()
            group.cancelAll()
        }
    }

    private func perform(_ job: Job, _ outbound: Writer) async {
        let id = job.requestID
        let write: @Sendable (WorkerMessage) async throws -> Void = { message in
            try Task.checkCancellation()
            switch message {
            case .text(let bytes): try await outbound.write(Self.text(bytes))
            case .binary(let bytes): try await outbound.write(Self.frame(.binary, bytes))
            }
        }
        let send: @Sendable ([UInt8]) async throws -> Void = { try await write(.text($0)) }
        let runner = RequestRunner(
            backend: backend, models: models, report: report, timings: timings, gate: job.gate, credit: job.credit,
            send: write)
        let payload = job.payload
        do {
            switch job.operation {
            case "models.list":
                let isLast = farewell.isGiven
                let list = isLast ? ModelOffer().document.bytes : await models.list()
                try await send(
                    WorkerFrames.wrapped(
                        id, status: 200, headers: [], contentType: "application/json", body: list, elapsedMs: 0))
                if isLast { farewell.heard() }
            case "chat.completions":
                if backend.faults.silent { return try await Self.waitForCancellation() }
                let request = BackendRequest(
                    method: "POST", path: "/chat/completions", body: ByteBuffer(bytes: payload))
                try await runner.run(request, requestID: id, streams: Self.asksToStream(payload))
            case "proxy":
                let proxied = try ProxyRequest(payload: payload)
                var request = proxied.request
                if let announced = proxied.upload {
                    let upload = UploadStream(length: announced.length) { bytes in
                        try await send(WorkerFrames.credit(id, bytes: bytes))
                    }
                    requests.open(upload, of: id)
                    request.upload = upload
                }
                try await runner.run(request, requestID: id, streams: proxied.streams)
            case "capabilities":
                try await send(WorkerFrames.payload(id, registration.capabilities))
            case "heartbeat":
                try await send(WorkerFrames.heartbeatAnswer(id, seconds: WorkerRegistration.unixSeconds()))
            default:
                let message = "this worker does not know the operation"
                try await send(WorkerFrames.error(id, code: "unsupported_operation", message: message))
            }
        } catch let refused as ProxyRequest.Refused {
            try? await send(WorkerFrames.error(id, code: refused.code, message: refused.message))
        } catch is CancellationError {
            logger.debug("request cancelled", metadata: ["request.id": .string(id)])
        } catch {
            report.failed(id, path: job.operation, code: "worker_error", reason: "\(error)")
            // Whatever failed here, the broker must not wait for an answer that never comes.
            try? await send(WorkerFrames.error(id, code: "worker_error", message: "the worker failed"))
        }
    }

    private static func asksToStream(_ payload: [UInt8]) -> Bool {
        payload.withUnsafeBytes { buffer in
            (try? JSONScanner.fields(of: buffer))?.boolean("stream", in: buffer) ?? false
        }
    }

    private static func waitForCancellation() async throws {
        while true { try await Task.sleep(for: .seconds(3_600)) }
    }

    // MARK: Staying alive

    /// Ends the session when nothing at all has come for too long.
    private func watch() async throws -> SessionEnd {
        while true {
            try await Task.sleep(for: .milliseconds(max(1, timings.silenceMs / 20)))
            if clock.silentMs >= timings.silenceMs { return .silent }
            if clock.registeredMs < 0, clock.ageMs >= timings.handshakeMs {
                return .refused("the broker did not answer register within \(timings.handshakeMs / 1000) s")
            }
        }
    }

    /// A task of its own: its write may wait behind answers while `watch` goes on judging the silence.
    private func ping(_ outbound: Writer) async throws -> SessionEnd {
        while true {
            try await Task.sleep(for: .milliseconds(timings.pingMs))
            try await outbound.write(Self.frame(.ping, ByteBuffer()))
        }
    }

    private func beat(_ outbound: Writer) async throws -> SessionEnd {
        var number = 0
        while true {
            try await Task.sleep(for: .milliseconds(timings.heartbeatMs))
            guard clock.registeredMs >= 0 else { continue }
            number += 1
            try await outbound.write(Self.text(await registration.heartbeat(number: number, uptimeMs: clock.ageMs)))
        }
    }

    /// The node asks for the models after each `register`, and so hears of the change.
    private func tellChanges(
        _ changes: AsyncStream<Void>, _ hardware: JSONValue, _ outbound: Writer
    ) async throws -> SessionEnd {
        for await _ in changes where clock.registeredMs >= 0 && !farewell.isGiven {
            try await register(hardware, outbound)
        }
        try await Self.waitForCancellation()
        return .shutdown
    }

    /// Takes its models off the list, then takes nothing new, gives what runs its time, and says goodbye.
    private func drainAtShutdown(_ hardware: JSONValue, _ outbound: Writer) async throws -> SessionEnd {
        try await gracefulShutdown()
        logger.info("shutting down: finishing the requests under way")
        if clock.registeredMs >= 0 {
            farewell.give()
            try await register(hardware, outbound)
            let noticed = ContinuousClock.now + .milliseconds(timings.drainNoticeMs)
            while !farewell.isHeard, ContinuousClock.now < noticed {
                try await Task.sleep(for: .milliseconds(5))
            }
            // What the node sent before it heard is on its way.
            if farewell.isHeard { try await Task.sleep(for: .milliseconds(min(250, timings.drainNoticeMs))) }
        }
        requests.drain()
        let deadline = ContinuousClock.now + .milliseconds(timings.drainMs)
        while !requests.isEmpty, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(20))
        }
        try? await outbound.write(Self.close(1000, "worker shuts down"))
        return .shutdown
    }
}

/// Whether the node was told that nothing new is taken, and whether it has asked what is left.
private final class Farewell: Sendable {
    private let given = Atomic<Bool>(false)
    private let answered = Atomic<Bool>(false)

    func give() { given.store(true, ordering: .releasing) }
    func heard() { answered.store(true, ordering: .releasing) }
    var isGiven: Bool { given.load(ordering: .acquiring) }
    var isHeard: Bool { answered.load(ordering: .acquiring) }
}

/// When this session last heard the broker.
private final class SessionClock: Sendable {
    private struct State {
        var heard = ContinuousClock.now
        var registered: ContinuousClock.Instant?
    }
    private let started = ContinuousClock.now
    private let state = Mutex(State())

    func heard() { state.withLock { $0.heard = .now } }
    func registered() { state.withLock { $0.registered = .now } }

    var silentMs: Int64 { Self.milliseconds(since: state.withLock { $0.heard }) }
    var ageMs: Int64 { Self.milliseconds(since: started) }
    /// Milliseconds since the broker accepted us, -1 before.
    var registeredMs: Int64 { state.withLock { $0.registered }.map { Self.milliseconds(since: $0) } ?? -1 }

    private static func milliseconds(since instant: ContinuousClock.Instant) -> Int64 {
        Int64(instant.duration(to: .now) / .milliseconds(1))
    }
}
