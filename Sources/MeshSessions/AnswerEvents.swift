import MeshModel
import MeshWire

/// The events of one streamed answer on their way to the buyer: framed, without end markers, and told apart into
/// content, what only shows that the worker is at it, and errors.
struct AnswerEvents: Sendable {
    /// What some pieces of the stream come to, joined into one body so that one write carries them.
    struct Delivery {
        var body: [UInt8] = []
        /// Nothing may follow it.
        var failure: MeshError?
        /// Whether the buyer reads of the failure in `body` already: the worker told it in an event of its own.
        var isTold = false
    }

    private var reframer = EventStreamReframer()
    /// Events before the first content. Delivered at once they would commit this worker, and neither a real status nor
    /// another candidate would be possible any more.
    private var held: [UInt8] = []
    private var hasContent = false

    /// Whether half an event has come.
    var hasPartial: Bool { !reframer.isEmpty }

    /// Adds parts of the stream. JSON becomes an event of its own, however long; text may be cut anywhere.
    mutating func append(_ pieces: [AnswerPiece], usage: inout UsageReading) -> Delivery {
        var delivery = Delivery()
        for piece in pieces {
            switch piece {
            case .json(let document): take(WorkerAnswer.dataLine(document), &delivery, &usage)
            case .text(let text), .bytes(let text):
                do throws(EventStreamReframer.Overflow) {
                    let events = try reframer.append(text)
                    take(all: events, &delivery, &usage)
                } catch { delivery.failure = Self.tooLong }
            }
            if delivery.failure != nil { break }
        }
        return delivery
    }

    /// Adds pieces that stand for themselves, in whose texts every event is whole: nothing is put before or behind what
    /// the stream holds half of.
    mutating func append(wholes pieces: [AnswerPiece], usage: inout UsageReading) -> Delivery {
        var delivery = Delivery()
        for piece in pieces {
            switch piece {
            case .json(let document): take(WorkerAnswer.dataLine(document), &delivery, &usage)
            case .text(let text), .bytes(let text):
                var own = EventStreamReframer(eventBytes: Limits.workerFrameBytes)
                do throws(EventStreamReframer.Overflow) {
                    let events = try own.append(text)
                    take(all: events + (own.finish().map { [$0] } ?? []), &delivery, &usage)
                } catch { delivery.failure = Self.tooLong }
            }
            if delivery.failure != nil { break }
        }
        return delivery
    }

    /// The stream has ended: its last event may lack the blank line.
    mutating func finish(usage: inout UsageReading) -> Delivery {
        var delivery = Delivery()
        if let last = reframer.finish() { take(last, &delivery, &usage) }
        return delivery
    }

    /// What was held back, for in front of the first content.
    mutating func release() -> [UInt8] {
        defer { held = [] }
        return held
    }

    /// What a whole text of events tells of a failure before any content.
    static func failure(in text: [UInt8]) -> MeshError? {
        var events = AnswerEvents()
        var usage = UsageReading()
        let delivery = events.append(wholes: [.text(text)], usage: &usage)
        return delivery.isTold ? nil : delivery.failure
    }

    private static let tooLong = MeshError(
        .workerBadAnswer,
        "the worker sent an event longer than \(Limits.eventBytes) bytes, or more than \(Limits.eventsPerRead) at once")

    private mutating func take(all events: [[UInt8]], _ delivery: inout Delivery, _ usage: inout UsageReading) {
        for event in events where delivery.failure == nil { take(event, &delivery, &usage) }
    }

    private mutating func take(_ event: [UInt8], _ delivery: inout Delivery, _ usage: inout UsageReading) {
        if AnswerEvent.isDoneMarker(event) { return }
        let event = AnswerEvent.withoutDoneLines(event)
        if event.isEmpty { return }
        if !hasContent {
            switch AnswerEvent.meaning(event) {
            case .failure(let error):
                delivery.failure = error
                return
            case .preliminary: return hold(event)
            case .content:
                guard FirstContent.carriesContent(event) else {
                    if let start = AnswerEvent.usage(in: event) { Self.read(event, start, &usage) }
                    return hold(event)
                }
                hasContent = true
            }
        } else if AnswerEvent.mayBeFailure(event), case .failure(let error) = AnswerEvent.meaning(event) {
            delivery.failure = error
            delivery.isTold = true
        }
        if let start = AnswerEvent.usage(in: event) { Self.read(event, start, &usage) }
        delivery.body.append(contentsOf: event)
        delivery.body += [0x0A, 0x0A]
    }

    /// Reads the usage object that starts at `start`: the last event of a stream may have one.
    private static func read(_ event: [UInt8], _ start: Int, _ usage: inout UsageReading) {
        event.withUnsafeBytes { bytes in
            let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
            guard let end = AnswerEvent.objectEnd(rest),
                let fields = try? JSONScanner.fields(of: rest, in: 0..<end)
            else { return }
            usage.read(fields, in: rest)
        }
    }

    /// Old news goes first when there is too much of it.
    private mutating func hold(_ event: [UInt8]) {
        if held.count + event.count > Limits.streamBufferBytes { held = [] }
        guard event.count < Limits.streamBufferBytes else { return }
        held += event
        held += [0x0A, 0x0A]
    }
}
