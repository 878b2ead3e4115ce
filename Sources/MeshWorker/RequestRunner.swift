import MeshModel
import MeshWire
import NIOCore

/// Answers one request of the broker with a backend's answer. Sends through `send`, which suspends while the
/// WebSocket is not writable, so that a slow broker slows the backend down and not this process' memory up.
struct RequestRunner: Sendable {
    let backend: any Backend
    let timings: WorkerTimings
    let gate: FlowGate
    let send: @Sendable ([UInt8]) async throws -> Void

    /// Runs until the request is answered or the task is cancelled; then nothing more is sent.
    func run(_ request: BackendRequest, requestID: String, streams: Bool) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while true {
                    try await send(WorkerFrames.pending(requestID))
                    try await Task.sleep(for: .milliseconds(timings.pendingMs))
                }
            }
            group.addTask { try await answer(request, requestID: requestID, streams: streams) }
            defer { group.cancelAll() }
            // The answer ends the group; the keep-alive ends only by failing.
            try await group.next()
        }
    }

    private func answer(_ request: BackendRequest, requestID: String, streams: Bool) async throws {
        let collector = AnswerCollector(requestID: requestID, streams: streams) { [gate, send] bytes in
            try await gate.pass()
            try await send(bytes)
        }
        do {
            try await backend.perform(request) { part in try await collector.take(part) }
            try await collector.finish()
        } catch let failure as BackendFailure {
            try Task.checkCancellation()
            try await send(WorkerFrames.error(requestID, code: failure.code, message: failure.message))
        }
    }
}

/// Turns the parts of one backend answer into frames: chunks for an event stream, else one wrapped answer.
private actor AnswerCollector {
    private let requestID: String
    private let streams: Bool
    private let send: @Sendable ([UInt8]) async throws -> Void
    private let started = ContinuousClock.now
    private var status = 502
    private var headers: [(name: String, value: String)] = []
    private var contentType = "application/json"
    private var relays = false
    private var body: [UInt8] = []
    private var carry = UTF8Carry()
    private var sequence = 0

    init(requestID: String, streams: Bool, send: @escaping @Sendable ([UInt8]) async throws -> Void) {
        self.requestID = requestID
        self.streams = streams
        self.send = send
    }

    func take(_ part: BackendPart) async throws {
        try Task.checkCancellation()
        switch part {
        case .head(let status, let headers, let contentType):
            (self.status, self.headers, self.contentType) = (status, headers, contentType)
            relays = streams && status == 200 && contentType.lowercased().hasPrefix("text/event-stream")
        case .body(let bytes):
            guard !relays else { return try await relay(carry.take(bytes.readableBytesView)) }
            // Escaping may double it; the frame must stay within what the broker takes.
            guard body.count + bytes.readableBytes <= Limits.workerFrameBytes / 2 else {
                throw BackendFailure(
                    code: "answer_too_large",
                    message: "the backend's answer is larger than \(Limits.workerFrameBytes / 2 >> 20) MiB")
            }
            body += bytes.readableBytesView
        }
    }

    func finish() async throws {
        try Task.checkCancellation()
        let elapsed = started.duration(to: .now) / .milliseconds(1)
        guard relays else {
            return try await send(
                WorkerFrames.wrapped(
                    requestID, status: status, headers: headers, contentType: contentType, body: body,
                    elapsedMs: Int64(elapsed)))
        }
        try await relay(carry.finish())
        try await send(WorkerFrames.done(requestID, elapsedMs: Int64(elapsed)))
    }

    private func relay(_ text: [UInt8]) async throws {
        guard !text.isEmpty else { return }
        sequence += 1
        try await send(WorkerFrames.chunk(requestID, sequence: sequence, text: text))
    }
}
