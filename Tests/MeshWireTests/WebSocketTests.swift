import MeshModel
import Testing

@testable import MeshWire

/// Heads, masks and the order of frames (RFC 6455, section 5).
@Suite struct WebSocketTests {
    /// The same rule byte by byte, for every length, every place in a payload and every cut of it.
    @Test func aMaskIsAsTheRuleSays() {
        let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
        let mask = WebSocketMask(key: 0x3D21_FA37)
        for length in 0...70 {
            let plain = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) }
            let masked = plain.enumerated().map { $1 ^ key[$0 & 3] }
            for cut in 0...length {
                var found = [UInt8](repeating: 0, count: length)
                found.withUnsafeMutableBytes { found in
                    masked.withUnsafeBytes { masked in
                        mask.unmask(
                            UnsafeRawBufferPointer(rebasing: masked[..<cut]),
                            into: UnsafeMutableRawBufferPointer(rebasing: found[..<cut]))
                        mask.behind(cut).unmask(
                            UnsafeRawBufferPointer(rebasing: masked[cut...]),
                            into: UnsafeMutableRawBufferPointer(rebasing: found[cut...]))
                    }
                }
                #expect(found == plain)
            }
        }
        // RFC 6455, section 5.7: "Hello", masked.
        var hello = [UInt8](repeating: 0, count: 5)
        let sent: [UInt8] = [0x7F, 0x9F, 0x4D, 0x51, 0x58]
        hello.withUnsafeMutableBytes { hello in sent.withUnsafeBytes { mask.unmask($0, into: hello) } }
        #expect(hello == Array("Hello".utf8))
    }

    @Test(arguments: [0, 1, 125, 126, 127, 65_535, 65_536, 16 << 20])
    func aHeadIsReadAsItIsWritten(_ length: Int) throws {
        for opcode in WebSocketFrameHead.Opcode.allCases where !opcode.isControl || length <= 125 {
            for isLast in [true, false] where isLast || !opcode.isControl {
                var bytes = [UInt8](repeating: 0xEE, count: WebSocketFrameHead.maximumBytes)
                let count = bytes.withUnsafeMutableBytes {
                    WebSocketFrameHead.write(opcode, isLast: isLast, length: length, into: $0)
                }
                #expect(count == WebSocketFrameHead.bytes(before: length))
                let head = try bytes.withUnsafeBytes { try WebSocketFrameHead.read($0, limit: 16 << 20) }
                #expect(head?.opcode == opcode && head?.isLast == isLast && head?.length == length)
                #expect(head?.bytes == count && head?.mask == WebSocketMask.none)
                for cut in 0..<count {
                    let part = try bytes[..<cut].withUnsafeBytes { try WebSocketFrameHead.read($0, limit: 16 << 20) }
                    #expect(part == nil, "\(cut) bytes are no head")
                }
            }
        }
        var short = [UInt8](repeating: 0xEE, count: 1)
        let written = short.withUnsafeMutableBytes { WebSocketFrameHead.write(.text, length: 1, into: $0) }
        #expect(written == 0 && short == [0xEE])
    }

    @Test(
        arguments: [
            ([0xC1, 0x00], WebSocketFault.protocolError), ([0xA1, 0x00], .protocolError),
            ([0x91, 0x00], .protocolError),
            ([0x83, 0x00], .protocolError), ([0x8B, 0x00], .protocolError), ([0x8F, 0x00], .protocolError),
            ([0x09, 0x00], .protocolError), ([0x89, 0x7E], .protocolError), ([0x88, 0x7F], .protocolError),
            ([0x82, 0x7E, 0x01, 0x01], .tooLarge), ([0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0], .tooLarge),
            ([0x82, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], .tooLarge),
        ] as [([UInt8], WebSocketFault)])
    func whatIsNoHeadIsSaidAtOnce(_ bytes: [UInt8], _ fault: WebSocketFault) {
        #expect(throws: fault) { try bytes.withUnsafeBytes { try WebSocketFrameHead.read($0, limit: 256) } }
    }

    // MARK: Order

    private func frame(_ first: UInt8, _ count: Int) -> [UInt8] {
        [first] + (count < 126 ? [UInt8(count)] : [126, UInt8(count >> 8), UInt8(count & 0xFF)])
            + [UInt8](repeating: 0x61, count: count)
    }

    /// What the frames say, each message as its kind and length.
    private func messages(_ frames: [[UInt8]], limit: Int = 1_000, fragments: Int = 4) throws(WebSocketFault)
        -> [String]
    {
        var cutter = WebSocketCutter(limit: limit, fragments: fragments)
        var (said, length) = ([String](), 0)
        var rest = frames.flatMap { $0 }
        while true {
            let cut = rest.withUnsafeBytes { bytes in
                Result { () throws(WebSocketFault) in try cutter.next(in: bytes) }
            }
            guard let (piece, used) = try cut.get() else { return said }
            rest.removeFirst(used)
            guard !piece.opcode.isControl else {
                said.append("\(piece.opcode)")
                continue
            }
            length += piece.payload.count
            if piece.endsMessage {
                said.append("\(piece.opcode) \(length)")
                length = 0
            }
        }
    }

    @Test func piecesBecomeMessages() throws {
        #expect(try messages([frame(0x81, 3), frame(0x82, 0), frame(0x8A, 0)]) == ["text 3", "binary 0", "pong"])
        let parts = [frame(0x01, 300), frame(0x89, 5), frame(0x00, 0), frame(0x88, 2), frame(0x80, 7), frame(0x82, 1)]
        #expect(try messages(parts) == ["ping", "close", "text 307", "binary 1"])
    }

    @Test func oneByteUnderAndOverEachBound() throws {
        #expect(try messages([frame(0x81, 1_000)]) == ["text 1000"])
        #expect(throws: WebSocketFault.tooLarge) { try messages([frame(0x81, 1_001)]) }
        #expect(try messages([frame(0x01, 600), frame(0x80, 400)]) == ["text 1000"])
        #expect(throws: WebSocketFault.tooLarge) { try messages([frame(0x01, 600), frame(0x80, 401)]) }
        let three = [frame(0x01, 1), frame(0x00, 1), frame(0x00, 1)]
        #expect(try messages(three + [frame(0x80, 1)]) == ["text 4"])
        #expect(throws: WebSocketFault.tooLarge) { try messages(three + [frame(0x00, 1)]) }
        // What came before does not count.
        #expect(try messages([frame(0x81, 900), frame(0x81, 900)]) == ["text 900", "text 900"])
    }

    @Test(arguments: [[0x80], [0x00], [0x01, 0x81], [0x01, 0x02], [0x01, 0x80, 0x80]] as [[UInt8]])
    func framesOutOfOrderAreNone(_ firsts: [UInt8]) {
        #expect(throws: WebSocketFault.protocolError) { try messages(firsts.map { frame($0, 1) }) }
    }
}
