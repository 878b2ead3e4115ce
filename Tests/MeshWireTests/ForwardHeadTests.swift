import MeshModel
import MeshWire
import Testing

/// The head of a forwarded request, as it stands on the wire.
@Suite struct ForwardHeadTests {
    private static let own = AnswerDeadlines(firstContentMs: 120_000, idleMs: 60_000, totalMs: 1_800_000)

    private static func read(_ fields: HeaderField...) -> ForwardHead? { ForwardHead.read(fields, own: own) }

    @Test func aRequestKeepsItsGoldenFields() {
        let head = ForwardHead(deadlines: .init(firstContentMs: 9_000, idleMs: 8_000, totalMs: 70_000))
        #expect(
            head.fields.map { "\($0.name): \($0.value)" } == [
                "content-type: application/json", "te: trailers", "aisbf-deadline-first: 9000",
                "aisbf-deadline-idle: 8000", "aisbf-deadline-total: 70000",
            ])
        let upload = ForwardHead(deadlines: Self.own, payloadBytes: 300)
        #expect(upload.fields.last.map { "\($0.name): \($0.value)" } == "aisbf-payload-length: 300")
        #expect(ForwardHead.read(upload.fields, own: Self.own) == upload)
        // Asked for less than this node allows, which is then nobody's failure.
        var read = head
        read.deadlines.areShortened = true
        #expect(ForwardHead.read(head.fields, own: Self.own) == read)
    }

    @Test(arguments: [
        ("130000", 120_000), ("119999", 119_999), ("1", 1_000), ("0", 120_000), ("-5", 120_000), ("x", 120_000),
    ])
    func deadlinesAreShortenedAndNeverLengthened(asked: String, milliseconds: Int64) throws {
        let head = try #require(Self.read(HeaderField("aisbf-deadline-first", asked)))
        #expect(head.deadlines.firstContentMs == milliseconds)
        #expect(head.deadlines.areShortened == (milliseconds < Self.own.firstContentMs))
        #expect(head.deadlines.idleMs == Self.own.idleMs && head.deadlines.totalMs == Self.own.totalMs)
    }

    @Test func anOlderEntryNodeReadsNoTrailers() {
        #expect(Self.read()?.readsTrailers == false)
        #expect(Self.read(HeaderField("te", "trailers"))?.readsTrailers == true)
        #expect(!ForwardHead(deadlines: Self.own, readsTrailers: false).fields.contains { $0.name == "te" })
    }

    @Test func theBeginningOfAnUploadIsBounded() {
        #expect(Self.read(HeaderField("aisbf-payload-length", "1"))?.payloadBytes == 1)
        #expect(
            Self.read(HeaderField("aisbf-payload-length", "\(Limits.uploadHeadBytes)"))?.payloadBytes
                == Limits.uploadHeadBytes)
        for text in ["0", "-1", "\(Limits.uploadHeadBytes + 1)", "", "1.5", "99999999999999999999"] {
            #expect(Self.read(HeaderField("aisbf-payload-length", text)) == nil)
        }
        #expect(Self.read() != nil && Self.read()?.payloadBytes == nil)
    }

    @Test func whoseIDMayStandInALog() {
        func id(_ text: String) -> String? { ForwardHead.requestID(of: [HeaderField("aisbf-request-id", text)]) }
        #expect(id("req_00ff") == "req_00ff")
        let longest = "req_" + String(repeating: "a", count: 60)
        #expect(id(longest) == longest && id(longest + "a") == nil)
        for text in ["", "00ff", "req_00FF", "req_0 f", "req_\n"] { #expect(id(text) == nil) }
        #expect(ForwardHead.requestID(of: []) == nil)
    }

    @Test func thePathNamesProviderAndOperation() throws {
        let path = ForwardPath(provider: RecordKey(Bytes16(high: 1, low: 2)), operation: .proxy)
        #expect(path.text == "/mesh/v1/forward/00000000000000010000000000000002/proxy")
        #expect(ForwardPath(path.text) == path)
        for text in [
            "", "/mesh/v1/forward", path.text + "/", "x" + path.text, path.text.replacing("v1", with: "v2"),
            path.text.replacing("proxy", with: "register"), path.text.replacing("2/", with: "/"),
        ] {
            #expect(ForwardPath(text) == nil)
        }
    }

    /// Golden: what is signed beside a request.
    @Test func whatKeepsItFromBeingDoneTwice() {
        let once = Bytes16(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210)
        #expect(ForwardSpend.text(once: nil) == "none")
        #expect(ForwardSpend.text(once: once) == "none; once=0123456789abcdeffedcba9876543210")
        #expect(ForwardSpend.once(in: ForwardSpend.text(once: once)) == once)
        for text in ["none", "", "none; once=", "none; once=01", "once=0123456789abcdeffedcba9876543210"] {
            #expect(ForwardSpend.once(in: text) == nil, "\(text)")
        }
    }
}
