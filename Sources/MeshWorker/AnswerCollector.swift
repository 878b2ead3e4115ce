import MeshModel
import MeshUpstream
import NIOCore

/// One message to the broker.
enum WorkerMessage: Sendable {
    case text([UInt8])
    case binary(ByteBuffer)
}

/// Turns the parts of one backend answer into messages: chunks for an event stream, one wrapped answer for what is
/// small, and binary frames by credit for what is large or made while it is sent, when the broker takes them.
actor AnswerCollector {
    private let requestID: String
    /// Nil when the broker takes no binary frames.
    private let credit: CreditGate?
    private let send: @Sendable (WorkerMessage) async throws -> Void
    private let started = ContinuousClock.now
    private let (end, ending) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
    private var reading: AnswerReading
    private var sequence = 0

    /// - Parameter passesBytes: whether the buyer gets the bytes as they are, and not a document made of them.
    init(
        requestID: String, streams: Bool, passesBytes: Bool, credit: CreditGate?,
        send: @escaping @Sendable (WorkerMessage) async throws -> Void
    ) {
        self.requestID = requestID
        self.credit = credit
        self.send = send
        reading = AnswerReading(streams: streams, passesBytes: passesBytes, takesParts: credit != nil)
    }

    /// Whether the answer is complete, whatever the backend still does.
    var isOver: Bool { reading.isOver }

    /// Returns when the stream has said that it is complete.
    nonisolated func saidEnd() async throws {
        for await _ in end { return }
        throw CancellationError()
    }

    func take(_ part: BackendPart) async throws {
        try Task.checkCancellation()
        for part in try reading.take(part) { try await pass(part) }
        if reading.isOver { ending.yield() }
    }

    func finish() async throws {
        try Task.checkCancellation()
        for part in reading.finish() { try await pass(part) }
    }

    private var elapsedMs: Int64 { Int64(started.duration(to: .now) / .milliseconds(1)) }

    private func pass(_ part: AnswerReading.Part) async throws {
        switch part {
        case .whole(let head, let body):
            try await send(
                .text(
                    WorkerFrames.wrapped(
                        requestID, status: head.status, headers: head.headers, contentType: head.contentType,
                        body: body, elapsedMs: elapsedMs)))
        case .start(let head):
            try await send(
                .text(
                    WorkerFrames.start(
                        requestID, status: head.status, headers: head.headers, contentType: head.contentType,
                        length: head.length)))
        case .bytes(let bytes): try await pass(bytes)
        case .events(let text):
            sequence += 1
            try await send(.text(WorkerFrames.chunk(requestID, sequence: sequence, text: text)))
        case .end: try await send(.text(WorkerFrames.done(requestID, elapsedMs: elapsedMs)))
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
}
