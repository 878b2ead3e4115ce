import NIOCore
import NIOWebSocket
import Testing

@testable import MeshTransport

/// Every length and every place in a buffer, against the rule of RFC 6455, section 5.3, byte by byte.
@Suite struct UnmaskingTests {
    @Test func asTheRuleSays() {
        let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
        for length in 0...70 {
            for offset in 0..<9 {
                let plain = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ offset) }
                let masked = plain.enumerated().map { $1 ^ key[$0 & 3] }
                var buffer = ByteBuffer(bytes: [UInt8](repeating: 0xEE, count: offset) + masked + [0xEE])
                buffer.moveReaderIndex(forwardBy: offset)
                buffer.moveWriterIndex(to: buffer.writerIndex - 1)
                let before = buffer
                let frame = WebSocketFrame(
                    fin: true, opcode: .binary, maskKey: WebSocketMaskingKey(key), data: buffer)
                #expect(Array(frame.plainData.readableBytesView) == plain)
                #expect(frame.data == before, "the frame stays as it is")
            }
        }
        let open = WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: "open"))
        #expect(open.plainData == ByteBuffer(string: "open"))
    }
}
