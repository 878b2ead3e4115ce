import MeshRuntime
import NIOCore
import NIOPosix
import Synchronization
import Testing

@Suite struct LoopBatchTests {
    /// Everything of one turn at once, in order and in bounds; what comes later comes with the next.
    @Test func whatComesInOneTurnIsDealtWithTogether() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop = group.next()
        let dealt = Mutex<[[Int]]>([])
        let batch = LoopBatch<Int>(most: 4)
        @Sendable func add(_ items: Range<Int>) {
            for item in items { batch.add(item, on: eventLoop) { items in dealt.withLock { $0.append(items) } } }
        }
        try await eventLoop.submit {
            add(0..<10)
            #expect(dealt.withLock { $0.isEmpty })
        }.get()
        try await eventLoop.submit { add(10..<11) }.get()
        try await eventLoop.submit {}.get()
        #expect(dealt.withLock { $0 } == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10]])
        try await group.shutdownGracefully()
    }

    @Test func eachEventLoopHasItsOwn() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let dealt = Mutex<[[Int]]>([])
        let batch = LoopBatch<Int>(most: 100)
        for eventLoop in [group.next(), group.next()] {
            try await eventLoop.submit {
                for item in 0..<50 {
                    batch.add(item, on: eventLoop) { items in
                        #expect(eventLoop.inEventLoop)
                        dealt.withLock { $0.append(items) }
                    }
                }
            }.get()
            try await eventLoop.submit {}.get()
        }
        #expect(dealt.withLock { $0 } == [Array(0..<50), Array(0..<50)])
        try await group.shutdownGracefully()
    }
}
