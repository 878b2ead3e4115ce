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
        if let last = reframer.finish() { events.append(last.event) }
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
        let event = Array("data: \(String(repeating: "x", count: 1 << 20))\n\n".utf8)
        var reframer = EventStreamReframer()
        var count = 0
        for byte in event { count += try reframer.append([byte]).count }
        for _ in 0..<50_000 {
            for byte in Array("data: y\r\n\r\n".utf8) { count += try reframer.append([byte]).count }
        }
        #expect(count == 50_001)
    }

    @Test func whatIsHeldIsBounded() throws {
        var reframer = EventStreamReframer(eventBytes: 1_000)
        #expect(try reframer.append([UInt8](repeating: 0x78, count: 1_000)).isEmpty)
        var whole = reframer
        #expect(try whole.append([0x0D]).isEmpty)
        #expect(try whole.append([0x0A, 0x0A]).map(\.count) == [1_000])
        #expect(throws: EventStreamReframer.Overflow.eventTooLarge) { try reframer.append([0x78]) }
    }

    @Test func aMessageHasRoomForTheLongestEvent() { #expect(Limits.eventBytes == Limits.workerFrameBytes) }

    /// Nothing that follows can change that an event is over.
    @Test(arguments: ["data: a\n\n", "data: a\r\r", "data: a\r\n\r\n", "data: a\r\n\r", "data: a\n\r", "data: a\r\n\n"])
    func anEventIsThereWithItsBlankLine(text: String) throws {
        for next in ["", "\n", "\r\n", "\n\n"] {
            var reframer = EventStreamReframer()
            #expect(try reframer.append(Array(text.utf8)) == [Array("data: a".utf8)])
            #expect(reframer.isEmpty)
            #expect(try reframer.append(Array("\(next)data: b\n\n".utf8)) == [Array("data: b".utf8)])
        }
    }

    @Test func aByteOrderMarkIsDropped() throws {
        let stream = Array("\u{FEFF}data: a\n\n\u{FEFF}b\n\n".utf8)
        for position in 0...stream.count {
            let events = try Self.cut([Array(stream[..<position]), Array(stream[position...])])
            #expect(events == [Array("data: a".utf8), Array("\u{FEFF}b".utf8)])
        }
        var reframer = EventStreamReframer()
        #expect(try reframer.append([0xEF, 0xBB]).isEmpty && reframer.finish() == nil)
    }

    @Test func theRestSaysWhetherItsLineIsWhole() throws {
        for (text, event, endsLine) in [
            ("data: a", "data: a", false), ("data: a\n", "data: a", true), ("data: a\r", "data: a", true),
            ("id: 1\r\ndata: a\r\n", "id: 1\r\ndata: a", true), ("id: 1\nda", "id: 1\nda", false),
        ] {
            var reframer = EventStreamReframer()
            #expect(try reframer.append(Array("data: x\n\n\(text)".utf8)).count == 1)
            let rest = reframer.finish()
            #expect(rest?.event == Array(event.utf8) && rest?.endsLine == endsLine)
        }
    }

    @Test func whoHoldsAWholeStreamMayTakeLongerEvents() throws {
        var reframer = EventStreamReframer(eventBytes: 1_002)
        #expect(reframer.isEmpty)
        let events = try reframer.append([UInt8](repeating: 0x78, count: 1_002) + [0x0A, 0x0A, 0x79])
        #expect(events.map(\.count) == [1_002])
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
