import MeshModel
import MeshWire
import NIOCore
import NIOEmbedded
import Testing

@testable import MeshRuntime

@Suite struct FrameOutboxTests {
    private func bytes(_ count: Int, _ byte: UInt8 = 0x61) -> ByteBuffer { ByteBuffer(repeating: byte, count: count) }

    private func frames(_ outbox: inout FrameOutbox) -> [FrameOutbox.Frame] {
        var frames: [FrameOutbox.Frame] = []
        while let next = outbox.next() { frames.append(next) }
        return frames
    }

    @Test func whatIsShortNeedNotWaitUnlessSomethingDoes() {
        var outbox = FrameOutbox()
        #expect(outbox.passes(Limits.workerFragmentBytes))
        #expect(!outbox.passes(Limits.workerFragmentBytes + 1))
        outbox.add(.text, [bytes(1)])
        #expect(!outbox.passes(1), "messages keep their order")
        _ = outbox.next()
        #expect(outbox.passes(1))
    }

    @Test(arguments: [0, 1, 131_071, 131_072, 131_073, 262_144, 400_000])
    func aMessageIsTheSameInItsFragments(_ count: Int) {
        var outbox = FrameOutbox()
        outbox.add(.binary, [bytes(3, 0x7B), bytes(count), bytes(1, 0x7D)])
        #expect(outbox.bytes == count + 4)
        let sent = frames(&outbox)
        #expect(sent.map(\.isLast) == Array(repeating: false, count: sent.count - 1) + [true])
        #expect(sent.map(\.opcode) == [.binary] + Array(repeating: .continuation, count: sent.count - 1))
        #expect(sent.allSatisfy { $0.data.readableBytes <= Limits.workerFragmentBytes })
        var joined = ByteBuffer()
        for frame in sent { joined.writeImmutableBuffer(frame.data) }
        var expected = bytes(3, 0x7B)
        expected.writeImmutableBuffer(bytes(count))
        expected.writeImmutableBuffer(bytes(1, 0x7D))
        #expect(joined == expected)
        #expect(outbox.isEmpty && outbox.bytes == 0)
    }

    @Test func messagesFollowEachOtherWhole() {
        var outbox = FrameOutbox()
        outbox.add(.text, [bytes(200_000)])
        outbox.add(.binary, [bytes(5)])
        outbox.add(.text, [bytes(140_000)])
        let sent = frames(&outbox)
        #expect(sent.map(\.opcode) == [.text, .continuation, .binary, .text, .continuation])
        #expect(sent.map(\.isLast) == [false, true, true, false, true])
    }

    @Test func whoWaitsForAMessageHearsOfItsLastFragmentOnly() throws {
        let loop = EmbeddedEventLoop()
        var outbox = FrameOutbox()
        let (sent, lost) = (loop.makePromise(of: Void.self), loop.makePromise(of: Void.self))
        outbox.add(.binary, [bytes(140_000)], sent)
        outbox.add(.binary, [bytes(140_000)], lost)
        #expect(outbox.next()?.sent == nil)
        #expect(outbox.next()?.sent != nil)
        sent.succeed()
        #expect(outbox.next()?.sent == nil)
        outbox.drop()
        #expect(outbox.isEmpty && outbox.bytes == 0)
        #expect(throws: ChannelError.self) { try lost.futureResult.wait() }
    }
}
