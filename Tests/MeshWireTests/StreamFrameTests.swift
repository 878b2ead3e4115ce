import MeshModel
import MeshWire
import Testing

/// The frames of `aisbf-link/2`, and what may come on one stream.
@Suite struct StreamFrameTests {
    private func head(_ raw: UInt64) -> Result<StreamFrameHead, StreamFault> {
        do throws(StreamFault) {
            return .success(try StreamFrameHead(raw: raw))
        } catch {
            return .failure(error)
        }
    }

    private func fields(_ bytes: [UInt8]) -> Result<StreamFields, StreamFault> {
        bytes.withUnsafeBytes { raw in
            do throws(StreamFault) {
                return .success(try StreamFields(raw))
            } catch {
                return .failure(error)
            }
        }
    }

    private func fault(_ body: () throws(StreamFault) -> Void) -> StreamFault? {
        do throws(StreamFault) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    /// The bytes that peers of other versions send and read.
    @Test func theBytesOfAHeadAreFixed() {
        let open = StreamFrameHead(.open, stream: 1, length: 0x0102, isLast: true)
        #expect(open.raw == 0x0102_8100_0000_0001)
        let data = StreamFrameHead(.data, stream: StreamFrameHead.lastStream, length: 16_384)
        #expect(data.raw == 0x4000_03FF_FFFF_FFFF)
        #expect(StreamFrameHead(.credit, stream: 2, length: 4).raw == 0x0004_0400_0000_0002)
        #expect(StreamFrameHead(.cancel, stream: 2, length: 4).raw == 0x0004_0500_0000_0002)
        #expect(StreamFrameHead(.ping, length: 8).raw == 0x0008_0600_0000_0000)
        #expect(StreamFrameHead(.pong, length: 8).raw == 0x0008_0700_0000_0000)
        #expect(StreamFrameHead(.leave, length: 0).raw == 0x0000_0800_0000_0000)
        for each in [open, data] { #expect(head(each.raw) == .success(each)) }
    }

    @Test(arguments: [
        (StreamFrameHead(.data, stream: 1, length: Limits.linkFramePayloadBytes + 1), StreamFault.length),
        (StreamFrameHead(.credit, stream: 1, length: 3), .length),
        (StreamFrameHead(.credit, stream: 1, length: 4, isLast: true), .unknown),
        (StreamFrameHead(.cancel, stream: 1, length: 5), .length),
        (StreamFrameHead(.ping, stream: 1, length: 8), .stream),
        (StreamFrameHead(.pong, length: 7), .length),
        (StreamFrameHead(.leave, length: 1), .length),
    ])
    func whatNoPeerSendsIsRefused(_ sent: StreamFrameHead, _ fault: StreamFault) {
        #expect(head(sent.raw) == .failure(fault))
    }

    @Test func kindsOfALaterVersionAreRefused() {
        let known = Set(StreamFrameHead.Kind.allCases.map(\.rawValue))
        for kind in UInt8.min...0x7F where !known.contains(kind) {
            #expect(head(UInt64(kind) << 40) == .failure(.unknown))
        }
    }

    @Test func fieldsAreReadAsTheyWereWritten() throws {
        let sent = StreamFields(
            path: "/mesh/v1/forward",
            [HeaderField("x-a", "b"), HeaderField("x-empty", ""), HeaderField("x-text", "Grüße\t!")])
        let bytes = try #require(sent.bytes)
        #expect(bytes.prefix(6).elementsEqual([0, 0, 0, 16, 0x2F, 0x6D]))
        let read = try fields(bytes).get()
        #expect(read.status == 0 && read.path == sent.path)
        #expect(read.fields.map(\.name) == ["x-a", "x-empty", "x-text"])
        #expect(read.fields.map(\.value) == ["b", "", "Grüße\t!"])
        let answer = try fields(#require(StreamFields(status: 599).bytes)).get()
        #expect(answer.status == 599 && answer.fields.isEmpty)
    }

    /// Names that every forward has are found again without being read; one letter off they are read as any other.
    @Test func knownNamesAreReadAsAnyOther() throws {
        let head = ForwardHead(
            deadlines: AnswerDeadlines(firstContentMs: 9_000, idleMs: 8_000, totalMs: 70_000), payloadBytes: 3)
        for name in head.fields.map(\.name) + ["signature-input", "aisbf-request-id", "aisbf-payload-digest", "te"] {
            for other in [name, name + "x", String(name.dropLast()) + "~", String(name.dropLast())] {
                let read = try fields(#require(StreamFields([HeaderField(other, "v")]).bytes)).get()
                #expect(read.fields == [HeaderField(other, "v")])
            }
            let capital = try fields(#require(StreamFields([HeaderField(name.uppercased(), "v")]).bytes))
            #expect(throws: StreamFault.fields) { try capital.get() }
        }
    }

    /// Values of every byte, at every place of the first words: bytes of control are refused, and a tab passes.
    @Test func valuesHoldNoControlBytes() throws {
        for byte in UInt8.min...UInt8.max {
            for (length, place) in [(1, 0), (8, 0), (8, 7), (9, 8), (20, 0), (20, 12), (20, 19)] {
                var value = [UInt8](repeating: 0x62, count: length)
                value[place] = byte
                let read = fields([0, 0, 0, 0, 1, 0, UInt8(length), 0x61] + value)
                let isGood = byte == 0x09 || (0x20...0x7E).contains(byte)
                #expect(
                    (try? read.get())?.fields.first.map { Array($0.value.utf8) } == (isGood ? value : nil), "\(byte)")
            }
        }
        for text in ["ä", "a long value with an ä", "👍 at its beginning", "at its end, much later: 👍"] {
            let bytes = try #require(StreamFields([HeaderField("a", text)]).bytes)
            #expect(try fields(bytes).get().fields == [HeaderField("a", text)])
            // Cut in the middle of a character it is none.
            var cut = Array(bytes.dropLast())
            cut[6] -= 1
            #expect(((try? fields(cut).get()) == nil) == (text.utf8.last ?? 0 >= 0x80), "\(text)")
        }
    }

    @Test func fieldsHaveTheirBounds() throws {
        let many = StreamFields(Array(repeating: HeaderField("a", "b"), count: Limits.linkFields))
        #expect(try fields(#require(many.bytes)).get().fields.count == Limits.linkFields)
        #expect(StreamFields(many.fields + [HeaderField("a", "b")]).bytes == nil)
        // Status, path and the lengths of one field are seven bytes, its name one.
        let longest = String(repeating: "v", count: Limits.linkHeaderBytes - 8)
        #expect(StreamFields([HeaderField("n", longest)]).bytes?.count == Limits.linkHeaderBytes)
        #expect(StreamFields([HeaderField("n", longest + "v")]).bytes == nil)
        #expect(StreamFields([HeaderField(String(repeating: "n", count: 256), "")]).bytes == nil)
    }

    @Test(
        arguments: [
            [0], [0, 0, 0], [0, 99, 0, 0], [2, 88, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1, 0x20], [0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0x41], [0, 0, 0, 0, 1, 0, 0, 0x3A],
            [0, 0, 0, 0, 1, 0, 1, 0x61],
            [0, 0, 0, 0, 1, 0, 1, 0x61, 0x0A], [0, 0, 0, 0, 1, 0, 1, 0x61, 0x0D], [0, 0, 0, 0, 1, 0, 1, 0x61, 0],
            [0, 0, 0, 0, 1, 0, 1, 0x61, 0x7F], [0, 0, 0, 0, 1, 0, 1, 0x61, 0xFF], [0, 0, 0, 0, 1, 0, 0, 0x61, 1],
        ] as [[UInt8]])
    func fieldsThatAreNoneAreRefused(_ bytes: [UInt8]) {
        guard case .failure(.fields) = fields(bytes) else {
            Issue.record("\(bytes) was taken")
            return
        }
    }

    @Test func anAnswerComesInItsOrder() throws {
        var opener = StreamLedger(.opener)
        #expect(fault { () throws(StreamFault) in try opener.read(bytes: 1, isLast: false) } == .order)
        #expect(fault { () throws(StreamFault) in try opener.read(fieldsOf: 0, isLast: true) } == .order)
        #expect(fault { () throws(StreamFault) in try opener.read(fieldsOf: 100, isLast: true) } == .order)
        try opener.read(fieldsOf: 102, isLast: false)
        try opener.read(fieldsOf: 200, isLast: false)
        #expect(fault { () throws(StreamFault) in try opener.read(fieldsOf: 200, isLast: false) } == .order)
        #expect(fault { () throws(StreamFault) in try opener.read(bytes: 0, isLast: false) } == .order)
        try opener.read(bytes: 1, isLast: false)
        #expect(!opener.isOver)
        try opener.read(fieldsOf: 0, isLast: true)
        #expect(opener.isOver)
        #expect(fault { () throws(StreamFault) in try opener.read(bytes: 1, isLast: false) } == .order)
    }

    @Test func anAnswererSaysOneHeadAndEndsTheStream() {
        var answerer = StreamLedger(.answerer)
        let tooEarly = answerer.write(bytes: 1, isLast: false)
        #expect(!tooEarly)
        let steps: [(Int, Bool, Bool)] = [
            (0, true, false), (100, false, true), (200, false, true), (200, false, false), (0, false, false),
            (0, true, true), (0, true, false),
        ]
        for (status, isLast, isAllowed) in steps {
            let isDone = answerer.write(fieldsOf: status, isLast: isLast)
            #expect(isDone == isAllowed, "\(status) \(isLast)")
        }
        #expect(answerer.isOver && answerer.isWritten && !answerer.isRead)
    }

    @Test func nobodySendsMoreThanWasAskedFor() throws {
        let window = Limits.linkStreamWindowBytes
        var reader = StreamLedger(.answerer)
        try reader.read(bytes: window, isLast: false)
        #expect(fault { () throws(StreamFault) in try reader.read(bytes: 1, isLast: false) } == .credit)
        let early = reader.dealt(with: window / 2 - 1)
        #expect(early == nil, "a frame for a few bytes is not worth it")
        let due = reader.dealt(with: 1)
        #expect(due == window / 2)
        try reader.read(bytes: window / 2, isLast: false)
        #expect(fault { () throws(StreamFault) in try reader.read(bytes: 1, isLast: true) } == .credit)
        var writer = StreamLedger(.link)
        let all = writer.write(bytes: window, isLast: false)
        let more = writer.write(bytes: 1, isLast: false)
        #expect(all && !more)
        #expect(fault { () throws(StreamFault) in try writer.read(credit: 0) } == .credit)
        #expect(fault { () throws(StreamFault) in try writer.read(credit: window + 1) } == .credit)
        try writer.read(credit: 5)
        #expect(writer.credit == 5)
        let last = writer.write(bytes: 5, isLast: true)
        #expect(!last, "the link's own stream has no end")
    }
}
