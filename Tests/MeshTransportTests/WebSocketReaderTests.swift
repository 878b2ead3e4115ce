import MeshModel
import MeshWire
import NIOCore
import NIOEmbedded
import NIOWebSocket
import Testing

@testable import MeshTransport

/// The reader against the library's decoder: the same bytes, cut the same way.
@Suite struct WebSocketReaderTests {
    private struct Said: Hashable {
        var opcode: UInt8
        var data: [UInt8]
    }

    private func client(_ opcode: UInt8, _ payload: [UInt8], isLast: Bool = true, isMasked: Bool = true) -> [UInt8] {
        var bytes: [UInt8] = [opcode | (isLast ? 0x80 : 0)]
        let mark: UInt8 = isMasked ? 0x80 : 0
        switch payload.count {
        case ..<126: bytes.append(mark | UInt8(payload.count))
        case ...0xFFFF: bytes += [mark | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default: bytes += [mark | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        guard isMasked else { return bytes + payload }
        let key: [UInt8] = [0x11, 0x22, 0x83, 0xF4]
        return bytes + key + payload.enumerated().map { $1 ^ key[$0 & 3] }
    }

    private func ours(_ pieces: [[UInt8]], limit: Int = 1 << 20) -> (said: [Said], fault: WebSocketFault?) {
        var reader = WebSocketReader(limit: limit, fragments: 64)
        var said: [Said] = []
        for piece in pieces {
            reader.append(ByteBuffer(bytes: piece))
            do throws(WebSocketFault) {
                while let message = try reader.next() {
                    said.append(Said(opcode: message.opcode.rawValue, data: Array(message.data.readableBytesView)))
                }
            } catch { return (said, error) }
        }
        return (said, nil)
    }

    private func library(_ pieces: [[UInt8]], limit: Int = 1 << 20) throws -> (said: [Said], failed: Bool) {
        let channel = EmbeddedChannel()
        try channel.pipeline.syncOperations.addWebSocketFrames(limit: limit, fragments: 64)
        var said: [Said] = []
        var failed = false
        for piece in pieces {
            do { try channel.writeInbound(ByteBuffer(bytes: piece)) } catch { failed = true }
            while let frame = try channel.readInbound(as: WebSocketFrame.self) {
                said.append(
                    Said(opcode: UInt8(webSocketOpcode: frame.opcode), data: Array(frame.plainData.readableBytesView)))
            }
            if failed { break }
        }
        return (said, failed)
    }

    private func cut(_ bytes: [UInt8], every size: Int) -> [[UInt8]] {
        stride(from: 0, to: bytes.count, by: size).map { Array(bytes[$0..<min($0 + size, bytes.count)]) }
    }

    @Test(arguments: [1, 2, 3, 7, 13, 64, 1_000, 70_000])
    func theSameMessagesWhereverTheBytesAreCut(_ size: Int) throws {
        let text = Array("{\"v\":1,\"request_id\":\"q1000000\"}".utf8)
        let long = (0..<66_000).map { UInt8(truncatingIfNeeded: $0) }
        var bytes: [UInt8] = client(1, text) + client(2, []) + client(9, [1, 2, 3]) + client(1, text, isMasked: false)
        bytes += client(2, Array(long.prefix(200)), isLast: false) + client(9, []) + client(0, [], isLast: false)
        bytes += client(0, Array(long.prefix(131))) + client(2, long) + client(8, [0x03, 0xE8])
        let pieces = cut(bytes, every: size)
        let (said, fault) = ours(pieces)
        #expect(fault == nil)
        #expect(said.map(\.opcode) == [1, 2, 9, 1, 9, 2, 2, 8])
        #expect(try said == library(pieces).said)
    }

    /// Frames that were made at random, and damaged: where the library takes them, this reader says the same or refuses
    /// what the library leaves to extensions.
    @Test func nothingIsReadOtherwiseThanTheLibraryDoes() throws {
        var dice = SeededGenerator(seed: 77)
        var (agreed, refused) = (0, 0)
        for _ in 0..<3_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...6, using: &dice) {
                let opcode = ([0, 1, 2, 8, 9, 10] as [UInt8]).randomElement(using: &dice) ?? 1
                let count = [0, 1, 5, 125, 126, 300].randomElement(using: &dice) ?? 0
                bytes += client(
                    opcode, (0..<count).map { _ in .random(in: 0...255, using: &dice) },
                    isLast: opcode > 7 || .random(using: &dice), isMasked: Int.random(in: 0..<4, using: &dice) > 0)
            }
            if Int.random(in: 0..<3, using: &dice) == 0 {
                bytes[Int.random(in: 0..<bytes.count, using: &dice)] ^= 1 << UInt8.random(in: 0...7, using: &dice)
            }
            let pieces = cut(bytes, every: Int.random(in: 1...bytes.count, using: &dice))
            let (said, fault) = ours(pieces, limit: 512)
            let other = try library(pieces, limit: 512)
            if fault == nil {
                #expect(!other.failed && said == other.said)
                agreed += 1
            } else {
                #expect(said == Array(other.said.prefix(said.count)))
                refused += 1
            }
        }
        #expect(agreed > 300 && refused > 300)
    }

    @Test func nothingOfWhatWasReadIsHeld() throws {
        var reader = WebSocketReader(limit: 1 << 20, fragments: 4)
        let message = client(2, [UInt8](repeating: 7, count: 100_000))
        for piece in cut(message, every: 4_096).dropLast() {
            reader.append(ByteBuffer(bytes: piece))
            #expect(try reader.next() == nil)
            #expect(reader.heldBytes == 0, "what came is part of the message")
        }
        reader.append(ByteBuffer(bytes: cut(message, every: 4_096).last ?? []))
        #expect(try reader.next()?.data.readableBytes == 100_000)
        #expect(try reader.next() == nil)
        #expect(reader.heldBytes == 0)
    }

    @Test(arguments: [0, 125, 126, 65_535, 65_536])
    func theLibraryReadsTheHeadsThatAreWritten(_ length: Int) throws {
        let channel = EmbeddedChannel(
            handler: ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: 1 << 20)))
        var bytes = ByteBuffer()
        bytes.writeWebSocketHead(.text, length: length)
        bytes.writeRepeatingByte(0x61, count: length)
        try channel.writeInbound(bytes)
        let frame = try #require(try channel.readInbound(as: WebSocketFrame.self))
        #expect(frame.fin && frame.opcode == .text && frame.maskKey == nil)
        #expect(frame.data.readableBytes == length)
    }
}
