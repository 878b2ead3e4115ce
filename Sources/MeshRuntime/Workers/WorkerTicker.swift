import MeshModel
import NIOCore
import Synchronization

/// Looks after the worker connections of one event loop, a few at a time. A timer for each of thousands would wake the
/// loop thousands of times a second, and all of them at once would hold up the chunks of everybody's streams.
final class WorkerTicker: Sendable {
    private struct State {
        var buckets = [[ObjectIdentifier: WorkerConnection]](repeating: [:], count: WorkerTicker.buckets)
        var bucketOf: [ObjectIdentifier: Int] = [:]
        var turn = 0
        var nextBucket = 0
        var isRunning = false
    }

    /// Each connection is looked after twice a second.
    private static let buckets = 10
    private static let interval = TimeAmount.milliseconds(50)

    private let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State?>

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        state = .makeEmptyBox(valueType: State.self, eventLoop: eventLoop)
    }

    /// On the event loop, as everything here.
    func add(_ connection: WorkerConnection) {
        var state = self.state.value ?? State()
        // Taken out so that it is unique and changes in place.
        self.state.value = nil
        let id = ObjectIdentifier(connection)
        state.bucketOf[id] = state.nextBucket
        state.buckets[state.nextBucket][id] = connection
        state.nextBucket = (state.nextBucket + 1) % Self.buckets
        let starts = !state.isRunning
        state.isRunning = true
        self.state.value = state
        if starts { schedule() }
    }

    func remove(_ connection: WorkerConnection) {
        let id = ObjectIdentifier(connection)
        guard let bucket = state.value?.bucketOf.removeValue(forKey: id) else { return }
        state.value?.buckets[bucket].removeValue(forKey: id)
    }

    private func schedule() { eventLoop.scheduleTask(in: Self.interval) { [self] in tick() } }

    private func tick() {
        guard let turn = state.value?.turn, let due = state.value?.buckets[turn].values.map({ $0 }) else { return }
        state.value?.turn = (turn + 1) % Self.buckets
        // Connections come and go while they are looked after.
        for connection in due { connection.tick() }
        if state.value?.bucketOf.isEmpty ?? true { state.value = nil } else { schedule() }
    }
}

/// One ticker for each event loop that has workers.
final class WorkerTickers: Sendable {
    private let tickers = Mutex<[ObjectIdentifier: WorkerTicker]>([:])

    func ticker(of eventLoop: any EventLoop) -> WorkerTicker {
        tickers.withLock { tickers in
            let id = ObjectIdentifier(eventLoop)
            if let ticker = tickers[id] { return ticker }
            let ticker = WorkerTicker(eventLoop: eventLoop)
            tickers[id] = ticker
            return ticker
        }
    }
}
