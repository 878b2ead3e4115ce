import MeshModel
import MeshWire
import Testing

@Suite struct EventStreamTests {
    /// The plain reading of the rule, on the whole stream at once: what every split must come to.
    static func reference(_ stream: [UInt8]) -> [[UInt8]] {
        var lines: [(start: Int, end: Int)] = []
        var start = 0
        var index = 0
        while index < stream.count {
            guard stream[index] == 0x0A || stream[index] == 0x0D else {
                index += 1
                continue
            }
            lines.append((start, index))
            index += stream[index] == 0x0D && index + 1 < stream.count && stream[index + 1] == 0x0A ? 2 : 1
            start = index
        }
        if start < stream.count { lines.append((start, stream.count)) }
        var events: [[UInt8]] = []
        var open: (start: Int, end: Int)?
        for line in lines {
            if line.start < line.end {
                open = (open?.start ?? line.start, line.end)
            } else if let event = open {
                events.append(Array(stream[event.start..<event.end]))
                open = nil
            }
        }
        if let event = open { events.append(Array(stream[event.start..<event.end])) }
        return events
    }

    static func cut(_ reads: [[UInt8]]) throws -> [[UInt8]] {
        var reframer = EventStreamReframer()
        var events: [[UInt8]] = []
        for read in reads { events += try reframer.append(read) }
        if let last = reframer.finish() { events.append(last) }
        return events
    }

    static let samples = [
        "data: a\n\ndata: b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r",
        "data: a\n\r\ndata: b\r\n\n",
        "data: a\r\r\ndata: b\n\r", "\n\n\ndata: a\n\n\n\n\ndata: b", "\r\n\r\n\r\ndata: a\r\n\r\n\r\n\r\n\r\nb\r\n",
        ": comment\n\ndata: ä€😀\nid: 1\n\n", "event: x\r\ndata: a\rdata: b\n\n\r\r\n\nc", "\r\r\r\n\n\r", "", "x",
        "data: [DONE]\n\n", "a\n\n\r\nb\n\n", "a\n\n\rb\r\n\r",
    ]

    @Test(arguments: samples) func everySplitInTwoGivesTheSameEvents(sample: String) throws {
        let bytes = Array(sample.utf8)
        let expected = Self.reference(bytes)
        for position in 0...bytes.count {
            #expect(try Self.cut([Array(bytes[..<position]), Array(bytes[position...])]) == expected)
        }
        #expect(try Self.cut(bytes.map { [$0] }) == expected)
    }

    @Test func randomSplitsOfRandomStreamsGiveTheSameEvents() throws {
        var random = SeededGenerator(seed: 11)
        let parts = ["\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "data: x", ": c", "ä", "😀", "id", ""].map {
            Array($0.utf8)
        }
        for round in 0..<4_000 {
            var stream: [UInt8] = []
            for _ in 0..<Int(random.next() % 24) { stream += parts[Int(random.next() % UInt64(parts.count))] }
            var reads: [[UInt8]] = [[]]
            for byte in stream {
                if random.next() % 3 == 0 { reads.append([]) }
                reads[reads.count - 1].append(byte)
            }
            let events = try Self.cut(reads)
            #expect(events == Self.reference(stream), "round \(round)")
        }
    }

    /// A quadratic search would take minutes here.
    @Test(.timeLimit(.minutes(1))) func aMegabyteByteByByteIsLinear() throws {
        let event = Array("data: \(String(repeating: "x", count: Limits.eventBytes - 100))\n\n".utf8)
        var reframer = EventStreamReframer()
        var count = 0
        for byte in event { count += try reframer.append([byte]).count }
        for _ in 0..<50_000 {
            for byte in Array("data: y\r\n\r\n".utf8) { count += try reframer.append([byte]).count }
        }
        #expect(count == 50_001)
    }

    @Test func whatIsHeldIsBounded() throws {
        var reframer = EventStreamReframer()
        #expect(try reframer.append([UInt8](repeating: 0x78, count: Limits.eventBytes)).isEmpty)
        #expect(throws: EventStreamReframer.Overflow.eventTooLarge) { try reframer.append([0x78]) }
    }

    @Test func whoHoldsAWholeStreamMayTakeLongerEvents() throws {
        var reframer = EventStreamReframer(eventBytes: Limits.eventBytes + 2)
        #expect(reframer.isEmpty)
        let events = try reframer.append([UInt8](repeating: 0x78, count: Limits.eventBytes + 2) + [0x0A, 0x0A, 0x79])
        #expect(events.map(\.count) == [Limits.eventBytes + 2])
        #expect(!reframer.isEmpty)
    }

    @Test func aFloodOfTinyEventsIsRefusedBeforeItIsCut() throws {
        var reframer = EventStreamReframer()
        let event = Array("x\n\n".utf8)
        let most = Array([[UInt8]](repeating: event, count: Limits.eventsPerRead).joined())
        #expect(try reframer.append(most).count == Limits.eventsPerRead)
        #expect(throws: EventStreamReframer.Overflow.tooManyEvents) { try reframer.append(most + event) }
    }

    @Test func aFinishedReframerStartsAnew() throws {
        var reframer = EventStreamReframer()
        _ = try reframer.append(Array("data: a long event without an end".utf8))
        _ = reframer.finish()
        #expect(try reframer.append(Array("a\n\nb\n\n".utf8)).count == 2)
        #expect(reframer.finish() == nil)
    }
}
