import MeshModel
import MeshWire
package import NIOCore

/// What one answer of a backend is, told from its head and its first bytes, and so how it goes on: as a stream of
/// events, as bytes that pass while they are made, or as one whole answer.
package struct AnswerReading: Sendable {
    package struct Head: Sendable {
        package var status = 502
        /// Names in lower case.
        package var headers: [(name: String, value: String)] = []
        package var contentType = "application/json"
        package var length: Int?
    }

    package enum Part: Sendable {
        /// An answer that is small, or is nothing before it is whole. It is all.
        case whole(Head, [UInt8])
        /// The head of an answer whose bytes follow.
        case start(Head)
        case bytes(ByteBuffer)
        /// Text of a stream of events, cut where no character is.
        case events([UInt8])
        /// The answer is complete, or as much of it as there is.
        case end
    }

    private enum Way {
        /// Too little has come to tell what it is.
        case unknown
        /// Held until the end.
        case whole
        case events
        case bytes
        /// The stream has said that it is complete, and that was told.
        case over
    }

    private let streams: Bool
    /// Whether the buyer gets the bytes as they are, and not a document made of them.
    private let passesBytes: Bool
    /// Whether whoever takes the answer takes it in parts.
    private let takesParts: Bool
    private var way = Way.whole
    private var head = Head()
    private var body: [UInt8] = []
    private var carry = UTF8Carry()
    private var marker = EndMarker()
    private var hasStarted = false

    /// - Parameters:
    ///   - streams: whether a stream of events was asked for.
    ///   - passesBytes: whether the answer may be anything, and not a document only.
    ///   - takesParts: whether what is large may go on in parts.
    package init(streams: Bool, passesBytes: Bool, takesParts: Bool) {
        self.streams = streams
        self.passesBytes = passesBytes
        self.takesParts = takesParts
    }

    /// Whether the answer is complete, whatever the backend still does.
    package var isOver: Bool { way == .over }

    package mutating func take(_ part: BackendPart) throws(BackendFailure) -> [Part] {
        switch part {
        case .words: return []
        case .head(let status, let headers, let contentType, let length):
            head = Head(status: status, headers: headers, contentType: contentType, length: length)
            way = beginning
            return []
        case .body(let bytes):
            switch way {
            case .unknown: return try judge(bytes)
            case .events: return relay(bytes.readableBytesView)
            case .bytes: return pass(bytes)
            case .whole: return try hold(bytes)
            case .over: return []
            }
        }
    }

    /// The backend has said all it says.
    package mutating func finish() -> [Part] {
        switch way {
        case .unknown, .whole: return [.whole(head, body)]
        case .events:
            let rest = carry.finish()
            return rest.isEmpty ? [.end] : [.events(rest), .end]
        case .bytes: return [.end]
        case .over: return []
        }
    }

    // MARK: What it is

    private var isAnswer: Bool { (200..<300).contains(head.status) }

    private func isType(_ names: String...) -> Bool {
        let type = head.contentType.prefix { $0 != ";" && $0 != " " }.lowercased()
        return names.contains { type.hasPrefix($0) }
    }

    /// What the head tells. A stream that was asked for is told by its first bytes where the type is another one:
    /// servers leave it out, or give a wrong one.
    private var beginning: Way {
        guard isAnswer else { return .whole }
        guard streams else { return unasked }
        if isType("text/event-stream") { return .events }
        return isType("image/", "audio/", "video/") ? unasked : .unknown
    }

    /// How an answer goes that is no stream of events: at once where it is made while it is sent. What has a length is
    /// there already, and a document or a page is nothing before it is whole.
    private var unasked: Way {
        let isMadeNow = head.length == nil && !isType("application/json", "text/html", "application/xhtml+xml")
        return takesParts && passesBytes && isMadeNow ? .bytes : .whole
    }

    private mutating func judge(_ bytes: ByteBuffer) throws(BackendFailure) -> [Part] {
        body += bytes.readableBytesView
        switch AnswerStart.judge(body) {
        case .unknown where body.count <= 1_024: return []
        case .events:
            way = .events
            let text = body
            body = []
            return relay(text)
        case .document, .page: way = .whole
        case .unknown, .other:
            way = unasked
            if way == .bytes { return passHeld() }
        }
        return way == .whole ? try hold(ByteBuffer()) : []
    }

    // MARK: How it goes

    private mutating func hold(_ bytes: ByteBuffer) throws(BackendFailure) -> [Part] {
        body += bytes.readableBytesView
        if takesParts, body.count > Limits.workerAgentWholeBytes {
            way = .bytes
            return passHeld()
        }
        // Escaping may double it; the frame must stay within what a broker takes.
        guard body.count <= Limits.workerAgentAnswerBytes else {
            let most = Limits.workerAgentAnswerBytes >> 20
            throw BackendFailure(
                code: "answer_too_large", message: "its backend's answer is larger than \(most) MiB",
                detail: "the answer is larger than \(most) MiB")
        }
        return []
    }

    private mutating func passHeld() -> [Part] {
        let held = ByteBuffer(bytes: body)
        body = []
        return pass(held)
    }

    private mutating func pass(_ bytes: ByteBuffer) -> [Part] {
        guard !hasStarted else { return [.bytes(bytes)] }
        hasStarted = true
        return [.start(head), .bytes(bytes)]
    }

    private mutating func relay(_ bytes: some Collection<UInt8>) -> [Part] {
        let isEnd = marker.isFound(in: bytes)
        let text = carry.take(bytes)
        var parts: [Part] = text.isEmpty ? [] : [.events(text)]
        // Whoever serves the stream may keep it open, or break it off: it is complete.
        if isEnd {
            way = .over
            parts.append(.end)
        }
        return parts
    }
}
