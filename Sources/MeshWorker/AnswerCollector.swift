import MeshModel
import MeshWire
import NIOCore

/// One message to the broker.
enum WorkerMessage: Sendable {
    case text([UInt8])
    case binary(ByteBuffer)
}

/// Turns the parts of one backend answer into messages: chunks for an event stream, one wrapped answer for what is
/// small, and binary frames by credit for what is large or made while it is sent, when the broker takes them.
actor AnswerCollector {
    private enum Way {
        /// Too little has come to tell what it is.
        case unknown
        /// Held until the end, then one message.
        case whole
        case events
        case binary
        /// The stream has said that it is complete, and the broker knows.
        case over
    }

    private let requestID: String
    private let streams: Bool
    /// Whether the buyer gets the bytes as they are, and not a document made of them.
    private let passesBytes: Bool
    /// Nil when the broker takes no binary frames.
    private let credit: CreditGate?
    private let send: @Sendable (WorkerMessage) async throws -> Void
    private let started = ContinuousClock.now
    private let (end, ending) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
    private var way = Way.whole
    private var status = 502
    private var headers: [(name: String, value: String)] = []
    private var contentType = "application/json"
    private var length: Int?
    private var body: [UInt8] = []
    private var carry = UTF8Carry()
    private var marker = EndMarker()
    private var sequence = 0
    private var hasStarted = false

    init(
        requestID: String, streams: Bool, passesBytes: Bool, credit: CreditGate?,
        send: @escaping @Sendable (WorkerMessage) async throws -> Void
    ) {
        self.requestID = requestID
        self.streams = streams
        self.passesBytes = passesBytes
        self.credit = credit
        self.send = send
    }

    /// Whether the answer is complete, whatever the backend still does.
    var isOver: Bool { way == .over }

    /// Returns when the stream has said that it is complete.
    nonisolated func saidEnd() async throws {
        for await _ in end { return }
        throw CancellationError()
    }

    func take(_ part: BackendPart) async throws {
        try Task.checkCancellation()
        switch part {
        case .words: break
        case .head(let status, let headers, let contentType, let length):
            (self.status, self.headers, self.contentType, self.length) = (status, headers, contentType, length)
            way = beginning()
        case .body(let bytes):
            switch way {
            case .unknown: try await judge(bytes)
            case .events: try await relay(bytes.readableBytesView)
            case .binary: try await pass(bytes)
            case .whole: try await hold(bytes)
            case .over: break
            }
        }
    }

    func finish() async throws {
        try Task.checkCancellation()
        switch way {
        case .unknown, .whole:
            try await send(
                .text(
                    WorkerFrames.wrapped(
                        requestID, status: status, headers: headers, contentType: contentType, body: body,
                        elapsedMs: elapsedMs)))
        case .events:
            try await chunk(carry.finish())
            try await send(.text(WorkerFrames.done(requestID, elapsedMs: elapsedMs)))
        case .binary: try await send(.text(WorkerFrames.done(requestID, elapsedMs: elapsedMs)))
        case .over: break
        }
    }

    private var elapsedMs: Int64 { Int64(started.duration(to: .now) / .milliseconds(1)) }

    // MARK: What it is

    private var isAnswer: Bool { (200..<300).contains(status) }

    private func isType(_ names: String...) -> Bool {
        let type = contentType.prefix { $0 != ";" && $0 != " " }.lowercased()
        return names.contains { type.hasPrefix($0) }
    }

    /// What the head tells. A stream that was asked for is told by its first bytes where the type is another one:
    /// servers leave it out, or give a wrong one.
    private func beginning() -> Way {
        guard isAnswer else { return .whole }
        guard streams else { return unasked }
        if isType("text/event-stream") { return .events }
        return isType("image/", "audio/", "video/") ? unasked : .unknown
    }

    /// How an answer goes that is no stream of events: at once where it is made while it is sent. What has a length is
    /// there already, and a document or a page is nothing before it is whole.
    private var unasked: Way {
        let isMadeNow = length == nil && !isType("application/json", "text/html", "application/xhtml+xml")
        return credit != nil && passesBytes && isMadeNow ? .binary : .whole
    }

    private func judge(_ bytes: ByteBuffer) async throws {
        body += bytes.readableBytesView
        switch AnswerStart.judge(body) {
        case .unknown where body.count <= 1_024: return
        case .events:
            way = .events
            let text = body
            body = []
            try await relay(text)
        case .document, .page: way = .whole
        case .unknown, .other:
            way = unasked
            if way == .binary { try await passHeld() }
        }
        if way == .whole { try await hold(ByteBuffer()) }
    }

    // MARK: How it goes

    private func hold(_ bytes: ByteBuffer) async throws {
        body += bytes.readableBytesView
        if credit != nil, body.count > Limits.workerAgentWholeBytes {
            way = .binary
            return try await passHeld()
        }
        // Escaping may double it; the frame must stay within what the broker takes.
        guard body.count <= Limits.workerFrameBytes / 2 else {
            throw BackendFailure(
                code: "answer_too_large",
                message: "its backend's answer is larger than \(Limits.workerFrameBytes / 2 >> 20) MiB",
                detail: "the answer is larger than \(Limits.workerFrameBytes / 2 >> 20) MiB")
        }
    }

    private func passHeld() async throws {
        let held = ByteBuffer(bytes: body)
        body = []
        try await pass(held)
    }

    /// In frames small enough that other requests' answers get their turn between them.
    private func pass(_ bytes: ByteBuffer) async throws {
        guard let credit else { return }
        if !hasStarted {
            hasStarted = true
            let start = WorkerFrames.start(
                requestID, status: status, headers: headers, contentType: contentType, length: length)
            try await send(.text(start))
        }
        var rest = bytes
        while rest.readableBytes > 0 {
            let room = try await credit.take(upTo: min(rest.readableBytes, Limits.answerFrameBytes))
            guard let slice = rest.readSlice(length: room) else { return }
            try await send(.binary(WorkerFrames.binary(requestID, slice)))
        }
    }

    private func relay(_ bytes: some Collection<UInt8>) async throws {
        let isEnd = marker.isFound(in: bytes)
        try await chunk(carry.take(bytes))
        guard isEnd else { return }
        // Whoever serves the stream may keep it open, or break it off: it is complete.
        way = .over
        try await send(.text(WorkerFrames.done(requestID, elapsedMs: elapsedMs)))
        ending.yield()
    }

    private func chunk(_ text: [UInt8]) async throws {
        guard !text.isEmpty else { return }
        sequence += 1
        try await send(.text(WorkerFrames.chunk(requestID, sequence: sequence, text: text)))
    }
}
