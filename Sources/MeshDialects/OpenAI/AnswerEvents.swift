package import MeshModel
import MeshWire

/// The events of one streamed answer on their way to the buyer: framed, without end markers, and told apart into
/// content, what only shows that the worker is at it, and errors. Knows when the stream has said that it is complete.
package struct AnswerEvents: Sendable {
    /// - Parameter answerer: whose failure it is where there is one.
    package init(by answerer: Answerer = .worker) { self.answerer = answerer }

    /// What some pieces of the stream come to, joined into one body so that one write carries them.
    package struct Delivery {
        package var body: [UInt8] = []
        /// Nothing may follow it.
        package var failure: MeshError?
        /// The beginning of a stream that turned out to be none.
        package var other: [UInt8]?
    }

    /// What the text of the stream is, told from its first bytes.
    private enum Text: Sendable {
        case unknown([UInt8])
        case events
        /// One JSON document, which servers send with the type of a stream, mostly to tell of a failure.
        case document([UInt8])
    }

    /// Whose failure it is where there is one.
    private let answerer: Answerer
    /// Whether the worker left open what its answer is: then it need not be events.
    private var mayBeOther = false
    /// Whether the end marker has come. What follows is nothing any more.
    package private(set) var hasEnded = false
    private var text = Text.unknown([])
    private var reframer = EventStreamReframer()
    /// Events before the first content. Delivered at once they would commit this worker, and neither a real status nor
    /// another candidate would be possible any more.
    private var held: [UInt8] = []
    private var hasContent = false
    private var kind: StreamMarks.Kind?
    /// Whether the stream has said that the answer is complete, without an end marker.
    private var isFinished = false
    /// The last reason to finish that stood in it.
    package private(set) var finishReason: String?
    /// Whether the stream ended in the middle of an event.
    private var isCut = false

    /// Bytes that wait here.
    package var heldBytes: Int {
        switch text {
        case .unknown(let bytes), .document(let bytes): bytes.count + held.count
        case .events: reframer.held + held.count
        }
    }

    /// Whether half an event, or half a document, has come.
    package var hasPartial: Bool {
        switch text {
        case .unknown(let bytes), .document(let bytes): !bytes.isEmpty
        case .events: !reframer.isEmpty
        }
    }

    /// Adds parts of the stream. JSON becomes an event of its own, however long; text may be cut anywhere.
    package mutating func append(_ pieces: [AnswerPiece], usage: inout UsageReading) -> Delivery {
        var delivery = Delivery()
        for piece in pieces where delivery.failure == nil && delivery.other == nil {
            switch piece {
            case .json(let document): take(StreamEvent(document: document), &delivery, &usage)
            case .text(let text), .bytes(let text): feed(text, &delivery, &usage)
            }
        }
        return delivery
    }

    /// Adds pieces that stand for themselves, in whose texts every event is whole: nothing is put before or behind what
    /// the stream holds half of.
    package mutating func append(wholes pieces: [AnswerPiece], usage: inout UsageReading) -> Delivery {
        var delivery = Delivery()
        for piece in pieces where delivery.failure == nil {
            switch piece {
            case .json(let document): take(StreamEvent(document: document), &delivery, &usage)
            case .text(let text), .bytes(let text):
                if let rest = takeAll(of: text, &delivery, &usage) {
                    take(StreamEvent(rest.event), &delivery, &usage)
                }
            }
        }
        return delivery
    }

    /// Adds a stream that came in one piece, from its first byte to its last.
    package mutating func append(stream: [UInt8], usage: inout UsageReading) -> Delivery {
        var delivery = Delivery()
        if let rest = takeAll(of: stream, &delivery, &usage) { takeLast(rest, &delivery, &usage) }
        return delivery
    }

    /// A whole document was the answer, or the worker says in other words that it is complete.
    package mutating func markFinished() { isFinished = true }

    /// The stream has ended. Fails when it was not complete: an end alone is no mark of completeness, because a
    /// connection that breaks off ends like one that is closed.
    package mutating func finish(usage: inout UsageReading) -> Delivery {
        var delivery = Delivery()
        switch text {
        case .unknown(let bytes):
            text = .events
            feed(bytes, &delivery, &usage)
        case .document(let document):
            text = .events
            take(document: document, &delivery, &usage)
        case .events: break
        }
        if delivery.failure == nil, !hasEnded, let rest = reframer.finish() { takeLast(rest, &delivery, &usage) }
        guard delivery.failure == nil, !hasEnded else { return delivery }
        if isCut || (kind != nil && !isFinished) {
            delivery.failure = hasContent ? Self.interrupted : Self.endedEarly
        } else if !hasContent, !isFinished {
            delivery.failure = Self.endedEarly
        }
        return delivery
    }

    /// What was held back, for in front of the first content.
    package mutating func release() -> [UInt8] {
        defer { held = [] }
        return held
    }

    /// The answer begins here, and may be anything.
    package mutating func expectAnything() {
        mayBeOther = true
        text = .unknown([])
        reframer = EventStreamReframer()
    }

    /// What a whole text of events tells of a failure before any content.
    package static func failure(in text: [UInt8], by answerer: Answerer = .worker) -> MeshError? {
        var events = AnswerEvents(by: answerer)
        var usage = UsageReading()
        let delivery = events.append(wholes: [.text(text)], usage: &usage)
        return delivery.failure
    }

    private static let tooLong = MeshError(
        .workerBadAnswer,
        "the worker sent an event longer than \(Limits.eventBytes) bytes, or more than \(Limits.eventsPerRead) at once")
    private static let interrupted = MeshError(
        .streamInterrupted, "the worker's stream broke off before it said that the answer is complete")
    private static let endedEarly = MeshError(
        .workerError, "the worker's stream ended before the answer had begun")

    // MARK: Text

    private mutating func feed(_ bytes: [UInt8], _ delivery: inout Delivery, _ usage: inout UsageReading) {
        guard !hasEnded, !bytes.isEmpty else { return }
        switch text {
        case .events: reframe(bytes, &delivery, &usage)
        case .document(var document):
            guard document.count + bytes.count <= Limits.eventBytes else {
                delivery.failure = Self.tooLong
                return
            }
            // Taken out first, so that it grows in its place.
            text = .events
            document += bytes
            text = .document(document)
        case .unknown(let before):
            let whole = before + bytes
            switch AnswerStart.judge(whole) {
            case .unknown where whole.count <= 1_024: text = .unknown(whole)
            case .document: text = .document(whole)
            case .page: delivery.failure = AnswerFailure.page(by: answerer)
            case .other where mayBeOther: delivery.other = whole
            case .unknown, .events, .other:
                text = .events
                reframe(whole, &delivery, &usage)
            }
        }
    }

    private mutating func reframe(_ bytes: [UInt8], _ delivery: inout Delivery, _ usage: inout UsageReading) {
        do throws(EventStreamReframer.Overflow) {
            let events = try reframer.append(bytes)
            take(all: events, &delivery, &usage)
        } catch { delivery.failure = Self.tooLong }
        // The blank line behind an end marker may never come.
        guard delivery.failure == nil, !hasEnded, let open = reframer.held(upTo: 128) else { return }
        let event = StreamEvent(open)
        if event.isEnd { take(event, &delivery, &usage) }
    }

    private mutating func takeAll(
        of stream: [UInt8], _ delivery: inout Delivery, _ usage: inout UsageReading
    ) -> EventStreamReframer.Rest? {
        var own = EventStreamReframer(eventBytes: Limits.workerFrameBytes)
        do throws(EventStreamReframer.Overflow) {
            let events = try own.append(stream)
            take(all: events, &delivery, &usage)
            return delivery.failure == nil ? own.finish() : nil
        } catch {
            delivery.failure = Self.tooLong
            return nil
        }
    }

    /// What stands behind the last blank line of a stream. Some servers leave out the last one; others were cut there.
    private mutating func takeLast(
        _ rest: EventStreamReframer.Rest, _ delivery: inout Delivery, _ usage: inout UsageReading
    ) {
        guard !hasEnded else { return }
        let event = StreamEvent(rest.event)
        var isFailure = false
        if case .failure = event.meaning { isFailure = true }
        if event.isEnd || isFailure || Self.isWhole(event, rest) {
            take(event, &delivery, &usage)
        } else {
            isCut = true
        }
    }

    private static func isWhole(_ event: StreamEvent, _ rest: EventStreamReframer.Rest) -> Bool {
        let first = event.data.first { $0 != 0x20 }
        guard first == UInt8(ascii: "{") || first == UInt8(ascii: "[") else { return rest.endsLine }
        return event.data.withUnsafeBytes { (try? JSONScanner.value(of: $0)) != nil }
    }

    /// A document in the place of a stream: the answer as a whole, or what became of it.
    private mutating func take(document: [UInt8], _ delivery: inout Delivery, _ usage: inout UsageReading) {
        guard document.withUnsafeBytes({ (try? JSONScanner.value(of: $0)) != nil }) else {
            delivery.failure = AnswerFailure.unreadable(by: answerer)
            return
        }
        take(StreamEvent(document: ChatCompletion.chunk(document) ?? document), &delivery, &usage)
        isFinished = true
    }

    // MARK: Events

    private mutating func take(all events: [[UInt8]], _ delivery: inout Delivery, _ usage: inout UsageReading) {
        for event in events where delivery.failure == nil && !hasEnded {
            take(StreamEvent(event), &delivery, &usage)
        }
    }

    private mutating func take(_ event: StreamEvent, _ delivery: inout Delivery, _ usage: inout UsageReading) {
        guard !hasEnded else { return }
        hasEnded = event.isEnd
        guard !event.isEmpty else { return }
        let marks = StreamMarks(event.data)
        if let start = marks.usage { Self.read(event.data, start, &usage) }
        if !hasContent || event.mayBeFailure(marks) {
            switch event.meaning {
            case .failure(let failure): return fail(failure, &delivery)
            case .preliminary where !hasContent: return hold(event)
            case .nothing: return
            case .preliminary, .content: break
            }
        }
        if !event.text.isEmpty { noteContent(marks) }
        Self.write(event, to: &delivery.body)
    }

    private mutating func noteContent(_ marks: StreamMarks) {
        hasContent = true
        kind = kind ?? marks.kind
        if let kind, marks.finishes(kind) { isFinished = true }
        finishReason = marks.finishReason ?? finishReason
    }

    private mutating func fail(_ failure: AnswerFailure, _ delivery: inout Delivery) {
        hasEnded = false
        delivery.failure = hasContent ? failure.lateError(by: answerer) : failure.error(by: answerer)
    }

    private static func write(_ event: StreamEvent, to body: inout [UInt8]) {
        // One line end behind a comment: with a blank line some programs take it for an event without data.
        body += event.comments
        guard !event.text.isEmpty else { return }
        body.append(contentsOf: event.text)
        body += [0x0A, 0x0A]
    }

    /// Reads the usage object that starts at `start`: the last event of a stream may have one.
    private static func read(_ data: ArraySlice<UInt8>, _ start: Int, _ usage: inout UsageReading) {
        data[start...].withUnsafeBytes { rest in
            guard let end = objectEnd(rest), let fields = try? JSONScanner.fields(of: rest, in: 0..<end) else { return }
            usage.read(fields, in: rest)
        }
    }

    /// Index after the object that begins at the start of `bytes`; nil when it does not end, or is too long for usage.
    private static func objectEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var depth = 0
        var isText = false
        var index = 0
        while index < min(bytes.count, 4_096) {
            switch bytes[index] {
            case UInt8(ascii: "\\") where isText: index += 1
            case UInt8(ascii: "\""): isText.toggle()
            case UInt8(ascii: "{") where !isText: depth += 1
            case UInt8(ascii: "}") where !isText:
                depth -= 1
                if depth == 0 { return index + 1 }
            default: break
            }
            index += 1
        }
        return nil
    }

    /// Old news goes first when there is too much of it.
    private mutating func hold(_ event: StreamEvent) {
        var news: [UInt8] = []
        Self.write(event, to: &news)
        if held.count + news.count > Limits.streamBufferBytes { held = [] }
        if news.count <= Limits.streamBufferBytes { held += news }
    }
}
