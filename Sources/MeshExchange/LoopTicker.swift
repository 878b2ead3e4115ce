import MeshModel
package import NIOCore
import Synchronization

/// Whoever is to be looked after twice a second, on its event loop.
package protocol Ticking: AnyObject, SendableMetatype {
    func tick()
}

/// Looks after the worker connections, or the requests, of one event loop, a few at a time. A timer for each of
/// thousands would wake the loop thousands of times a second, and all of them at once would hold up the chunks of
/// everybody's streams.
package final class LoopTicker<Member: Ticking>: Sendable {
    private struct State {
        var members: [Member?] = []
        /// Places in it that nobody has.
        var free: [Int] = []
        var turn = 0
        var isRunning = false

        var isEmpty: Bool { free.count == members.count }
    }

    /// Each member is looked after at every tenth tick, twice a second.
    private static var interval: TimeAmount { .milliseconds(50) }
    private static var turns: Int { 10 }

    private let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State>

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        state = .makeBoxSendingValue(State(), eventLoop: eventLoop)
    }

    /// On the event loop, as everything here.
    /// - Returns: the member's place, to give back with `remove`, once.
    package func add(_ member: Member) -> Int {
        let (place, starts) = state.withValue { state in
            let starts = !state.isRunning
            state.isRunning = true
            guard let place = state.free.popLast() else {
                state.members.append(member)
                return (state.members.count - 1, starts)
            }
            state.members[place] = member
            return (place, starts)
        }
        if starts { schedule() }
        return place
    }

    package func remove(_ place: Int) {
        state.withValue { state in
            state.members[place] = nil
            state.free.append(place)
        }
    }

    private func schedule() { eventLoop.scheduleTask(in: Self.interval) { [self] in tick() } }

    private func tick() {
        let due = state.withValue { state in
            defer { state.turn = (state.turn + 1) % Self.turns }
            return stride(from: state.turn, to: state.members.count, by: Self.turns).compactMap { state.members[$0] }
        }
        // They come and go while they are looked after.
        for member in due { member.tick() }
        let isEmpty = state.withValue { state in
            if state.isEmpty { state = State() }
            return !state.isRunning
        }
        if !isEmpty { schedule() }
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
