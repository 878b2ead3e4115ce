import MeshModel
import NIOCore

/// One message to the broker.
enum WorkerMessage: Sendable {
    case text([UInt8])
    case binary(ByteBuffer)
}

/// Turns the parts of one backend answer into messages: chunks for an event stream, one wrapped answer for what is
/// small, and binary frames by credit for what is large, when the broker takes them.
actor AnswerCollector {
    private enum Way {
        /// Held until the end, then one message.
        case whole
        case events
        case binary
    }

    private let requestID: String
    private let streams: Bool
    /// Nil when the broker takes no binary frames.
    private let credit: CreditGate?
    private let send: @Sendable (WorkerMessage) async throws -> Void
    private let started = ContinuousClock.now
    private var way = Way.whole
    private var status = 502
    private var headers: [(name: String, value: String)] = []
    private var contentType = "application/json"
    private var length: Int?
    private var body: [UInt8] = []
    private var carry = UTF8Carry()
    private var sequence = 0

    init(
        requestID: String, streams: Bool, credit: CreditGate?,
        send: @escaping @Sendable (WorkerMessage) async throws -> Void
    ) {
        self.requestID = requestID
        self.streams = streams
        self.credit = credit
        self.send = send
    }

    func take(_ part: BackendPart) async throws {
        try Task.checkCancellation()
        switch part {
        case .words: break
        case .head(let status, let headers, let contentType, let length):
            (self.status, self.headers, self.contentType, self.length) = (status, headers, contentType, length)
            if streams, status == 200, contentType.lowercased().hasPrefix("text/event-stream") { way = .events }
        case .body(let bytes):
            switch way {
            case .events: try await relay(carry.take(bytes.readableBytesView))
            case .binary: try await pass(bytes)
            case .whole: try await hold(bytes)
            }
        }
    }

    func finish() async throws {
        try Task.checkCancellation()
        let elapsed = Int64(started.duration(to: .now) / .milliseconds(1))
        switch way {
        case .whole:
            try await send(
                .text(
                    WorkerFrames.wrapped(
                        requestID, status: status, headers: headers, contentType: contentType, body: body,
                        elapsedMs: elapsed)))
        case .events:
            try await relay(carry.finish())
            try await send(.text(WorkerFrames.done(requestID, elapsedMs: elapsed)))
        case .binary: try await send(.text(WorkerFrames.done(requestID, elapsedMs: elapsed)))
        }
    }

    private func hold(_ bytes: ByteBuffer) async throws {
        body += bytes.readableBytesView
        if credit != nil, body.count > Limits.workerAgentWholeBytes {
            way = .binary
            let start = WorkerFrames.start(
                requestID, status: status, headers: headers, contentType: contentType, length: length)
            try await send(.text(start))
            let held = ByteBuffer(bytes: body)
            body = []
            return try await pass(held)
        }
        // Escaping may double it; the frame must stay within what the broker takes.
        guard body.count <= Limits.workerFrameBytes / 2 else {
            throw BackendFailure(
                code: "answer_too_large",
                message: "its backend's answer is larger than \(Limits.workerFrameBytes / 2 >> 20) MiB",
                detail: "the answer is larger than \(Limits.workerFrameBytes / 2 >> 20) MiB")
        }
    }

    /// In frames small enough that other requests' answers get their turn between them.
    private func pass(_ bytes: ByteBuffer) async throws {
        guard let credit else { return }
        var rest = bytes
        while rest.readableBytes > 0 {
            let room = try await credit.take(upTo: min(rest.readableBytes, Limits.answerFrameBytes))
            guard let slice = rest.readSlice(length: room) else { return }
            try await send(.binary(WorkerFrames.binary(requestID, slice)))
        }
    }

    private func relay(_ text: [UInt8]) async throws {
        guard !text.isEmpty else { return }
        sequence += 1
        try await send(.text(WorkerFrames.chunk(requestID, sequence: sequence, text: text)))
    }
}
