import MeshModel
import NIOCore
import Testing

@testable import MeshExchange

/// The pieces of a stream from another node end anywhere; what goes on ends where an event does.
@Suite struct WholeEventsTests {
    private static func passed(_ pieces: [String]) -> (whole: [String], hasRest: Bool) {
        var events = WholeEvents()
        let whole = pieces.compactMap { events.take(ByteBuffer(string: $0)).map { String(buffer: $0) } }
        return (whole, events.hasRest)
    }

    @Test(
        arguments: [
            (["data: a\n\n"], ["data: a\n\n"], false), (["data: a\n\ndata: b"], ["data: a\n\n"], true),
            (["da", "ta: a\n", "\ndata: b\n\nda", "ta: c\n\n"], ["data: a\n\ndata: b\n\n", "data: c\n\n"], false),
            (["data: a\r\n\r", "\ndata: b\r\r"], ["data: a\r\n\r\ndata: b\r\r"], false),
            (["data: a\n", "data: b\n"], [], true), (["\n\n", "x"], ["\n\n"], true),
            (["", "data: a\n\n"], ["data: a\n\n"], false),
        ] as [([String], [String], Bool)])
    func onlyWholeEventsPass(pieces: [String], whole: [String], hasRest: Bool) {
        let outcome = Self.passed(pieces)
        #expect(outcome.whole == whole && outcome.hasRest == hasRest)
    }

    @Test func everySplitOfAStreamPassesWhole() {
        let stream = Array("data: {\"a\":1}\n\nid: 1\ndata: ä\n\ndata: [DONE]\n\n".utf8)
        for position in 0...stream.count {
            var events = WholeEvents()
            var passed: [UInt8] = []
            for piece in [stream[..<position], stream[position...]] {
                guard let whole = events.take(ByteBuffer(bytes: piece)) else { continue }
                passed += whole.readableBytesView
                #expect(passed.suffix(2) == [0x0A, 0x0A])
            }
            #expect(passed == stream && !events.hasRest)
        }
    }

    @Test func whatIsLongerThanAnyEventGoesOn() {
        var events = WholeEvents()
        let piece = ByteBuffer(repeating: 0x78, count: Limits.eventBytes + 65)
        #expect(events.take(piece)?.readableBytes == Limits.eventBytes + 65 && !events.hasRest)
        #expect(events.take(ByteBuffer(repeating: 0x78, count: 1_000)) == nil && events.hasRest)
    }
}
