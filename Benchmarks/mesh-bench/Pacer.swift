import NIOCore

/// A stream of chunks at 20 ms intervals. `emit` sends one chunk; `finish` ends the stream.
final class PacedStream {
    var remaining: Int
    let emit: () -> Void
    let finish: () -> Void

    init(chunks: Int, emit: @escaping () -> Void, finish: @escaping () -> Void) {
        remaining = chunks
        self.emit = emit
        self.finish = finish
    }

    /// Sends the next chunk; false when that was the end.
    func step() -> Bool {
        guard remaining > 0 else { return false }
        remaining -= 1
        emit()
        if remaining == 0 { finish() }
        return remaining > 0
    }
}

/// Steps all streams of one event loop, each every 20 ms from when it began. Confined to that loop.
final class Pacer {
    private static let slots = 10
    private static let slotNanoseconds: UInt64 = 2_000_000
    private var wheel = [[PacedStream]](repeating: [], count: slots)
    private var last = Clock.now() / slotNanoseconds
    /// Called after every tick that stepped something.
    var flushes: [() -> Void] = []

    /// Sends the first chunk at once.
    func add(_ stream: PacedStream) {
        if stream.step() { wheel[Int(Clock.now() / Self.slotNanoseconds) % Self.slots].append(stream) }
    }

    func tick() {
        let current = Clock.now() / Self.slotNanoseconds
        var stepped = false
        while last < current {
            last += 1
            let slot = Int(last) % Self.slots
            guard !wheel[slot].isEmpty else { continue }
            stepped = true
            wheel[slot] = wheel[slot].filter { $0.step() }
        }
        if stepped { for flush in flushes { flush() } }
    }

    static func start(on loop: any EventLoop) async throws -> NIOLoopBound<Pacer> {
        try await loop.submit {
            let bound = NIOLoopBound(Pacer(), eventLoop: loop)
            loop.scheduleRepeatedTask(initialDelay: .milliseconds(2), delay: .milliseconds(2)) { _ in bound.value.tick()
            }
            return bound
        }.get()
    }
}
