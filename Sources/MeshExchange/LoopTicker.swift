import MeshModel
package import NIOCore
import Synchronization

/// Whoever is to be looked after twice a second, on its event loop.
package protocol Ticking: AnyObject {
    func tick()
}

/// Looks after the worker connections, or the requests, of one event loop, a few at a time. A timer for each of
/// thousands would wake the loop thousands of times a second, and all of them at once would hold up the chunks of
/// everybody's streams.
package final class LoopTicker<Member: Ticking>: Sendable {
    private struct State {
        var buckets = [[ObjectIdentifier: Member]](repeating: [:], count: 10)
        var bucketOf: [ObjectIdentifier: Int] = [:]
        var turn = 0
        var nextBucket = 0
        var isRunning = false
    }

    /// Ten buckets: each member is looked after twice a second.
    private static var interval: TimeAmount { .milliseconds(50) }

    private let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State?>

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        state = .makeEmptyBox(valueType: State.self, eventLoop: eventLoop)
    }

    /// On the event loop, as everything here.
    package func add(_ member: Member) {
        var state = self.state.value ?? State()
        // Taken out so that it is unique and changes in place.
        self.state.value = nil
        let id = ObjectIdentifier(member)
        state.bucketOf[id] = state.nextBucket
        state.buckets[state.nextBucket][id] = member
        state.nextBucket = (state.nextBucket + 1) % state.buckets.count
        let starts = !state.isRunning
        state.isRunning = true
        self.state.value = state
        if starts { schedule() }
    }

    package func remove(_ member: Member) {
        let id = ObjectIdentifier(member)
        guard let bucket = state.value?.bucketOf.removeValue(forKey: id) else { return }
        state.value?.buckets[bucket].removeValue(forKey: id)
    }

    private func schedule() { eventLoop.scheduleTask(in: Self.interval) { [self] in tick() } }

    private func tick() {
        guard let turn = state.value?.turn, let due = state.value?.buckets[turn].values.map({ $0 }) else { return }
        state.value?.turn = (turn + 1) % 10
        // They come and go while they are looked after.
        for member in due { member.tick() }
        if state.value?.bucketOf.isEmpty ?? true { state.value = nil } else { schedule() }
    }
}

/// One ticker for each event loop that has any.
package final class LoopTickers<Member: Ticking>: Sendable {
    package init() {}

    private let tickers = Mutex<[ObjectIdentifier: LoopTicker<Member>]>([:])

    package func ticker(of eventLoop: any EventLoop) -> LoopTicker<Member> {
        tickers.withLock { tickers in
            let id = ObjectIdentifier(eventLoop)
            if let ticker = tickers[id] { return ticker }
            let ticker = LoopTicker<Member>(eventLoop: eventLoop)
            tickers[id] = ticker
            return ticker
        }
    }
}
