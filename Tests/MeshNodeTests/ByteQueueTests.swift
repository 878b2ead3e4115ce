import MeshModel
import MeshRuntime
import NIOCore
import Testing

@Suite struct ByteQueueTests {
    private static let alphabet = (0..<40_000).map { UInt8(truncatingIfNeeded: $0) }

    /// `count` bytes of a stream that goes on like this for ever, from `start`.
    private static func bytes(_ count: Int, from start: Int) -> ByteBuffer {
        ByteBuffer(bytes: alphabet[(start & 255)..<((start & 255) + count)])
    }

    /// Whatever is put in and taken out, in pieces of any size, comes out in order, and what went through is not kept.
    @Test(arguments: 0..<20) func whatGoesInComesOut(seed: Int) {
        var dice = SeededGenerator(seed: UInt64(seed))
        var queue = ByteQueue()
        var (written, read) = (0, 0)
        var largest = 0
        for _ in 0..<2_000 {
            // Never empty, so that nothing starts over by itself.
            if queue.count < 40_000 || Bool.random(using: &dice), queue.count < 80_000 {
                let count = Int.random(in: 0...[10, 9_000].randomElement(using: &dice)!, using: &dice)
                queue.append(Self.bytes(count, from: written))
                written += count
            } else if let piece = queue.take(Int.random(in: 1...20_000, using: &dice)) {
                #expect(piece == Self.bytes(piece.readableBytes, from: read))
                read += piece.readableBytes
                largest = max(largest, piece.storageCapacity)
            }
            #expect(queue.count == written - read)
        }
        #expect(written > 1_000_000 && largest <= 65_536)
        while let piece = queue.take(7_000) { read += piece.readableBytes }
        #expect(read == written && queue.isEmpty)
        #expect(queue.take(1) == nil)
    }
}
