internal import Synchronization

/// The places of connections that have not shown yet who they are. Anybody can open a socket, so nobody is trusted to
/// close one: when places run out, a new connection takes the place of an old one that has come no further, from the
/// same address first. Whoever fills the places only pushes himself out.
///
/// - An address has at most `perAddress` places.
/// - Some places are kept for addresses that are known.
/// - A connection that has come further than another is not pushed out by it.
package final class HandshakePlaces: Sendable {
    package struct Bounds: Sendable, Hashable {
        package var total: Int
        package var perAddress: Int
        /// Of `total`, for known addresses only.
        package var reserved: Int

        package init(total: Int, perAddress: Int, reserved: Int) {
            self.total = total
            self.perAddress = perAddress
            self.reserved = reserved
        }
    }

    /// How far a connection has come.
    package enum Stage: Int, Comparable, Sendable {
        case connected
        /// TLS is up, which costs the other side something too.
        case secured

        package static func < (left: Stage, right: Stage) -> Bool { left.rawValue < right.rawValue }
    }

    private struct Entry {
        var number: UInt64
        var address: String
        var isKnown: Bool
        var stage: Stage
        var evict: @Sendable () -> Void
    }

    private struct State {
        var entries: [Entry] = []
        var last: UInt64 = 0

        func count(of address: String) -> Int { entries.count { $0.address == address } }
    }

    private let bounds: Bounds
    private let state = Mutex(State())

    package init(bounds: Bounds) { self.bounds = bounds }

    package var count: Int { state.withLock { $0.entries.count } }

    /// A place for a new connection, or nil when it has to go.
    /// - Parameter evict: closes the connection; called, at most once, when another needs its place.
    package func take(address: String, isKnown: Bool, evict: @escaping @Sendable () -> Void) -> HandshakePlace? {
        let (number, victim) = state.withLock { state -> (UInt64?, Entry?) in
            var victim: Int?
            if state.count(of: address) >= bounds.perAddress {
                victim = Self.weakest(state.entries) { $0.address == address }
                guard victim != nil else { return (nil, nil) }
            } else if isFull(state, isKnown) {
                victim = victimElsewhere(state, isKnown)
                guard victim != nil else { return (nil, nil) }
            }
            state.last += 1
            let evicted = victim.map { state.entries.remove(at: $0) }
            state.entries.append(
                Entry(number: state.last, address: address, isKnown: isKnown, stage: .connected, evict: evict))
            return (state.last, evicted)
        }
        victim?.evict()
        return number.map { HandshakePlace(places: self, number: $0) }
    }

    private func isFull(_ state: State, _ isKnown: Bool) -> Bool {
        if state.entries.count >= bounds.total { return true }
        return !isKnown && state.entries.count(where: { !$0.isKnown }) >= bounds.total - bounds.reserved
    }

    /// From the address with most places; known ones give way to known ones only, and after all strangers.
    private func victimElsewhere(_ state: State, _ isKnown: Bool) -> Int? {
        func fromHeaviest(_ isEligible: (Entry) -> Bool) -> Int? {
            var counts: [String: Int] = [:]
            for entry in state.entries where isEligible(entry) { counts[entry.address, default: 0] += 1 }
            let most = counts.values.max() ?? 0
            return Self.weakest(state.entries) { isEligible($0) && counts[$0.address] == most }
        }
        return fromHeaviest { !$0.isKnown } ?? (isKnown ? fromHeaviest { $0.isKnown } : nil)
    }

    /// The oldest of those that have come nowhere.
    private static func weakest(_ entries: [Entry], where isEligible: (Entry) -> Bool) -> Int? {
        entries.firstIndex { $0.stage == .connected && isEligible($0) }
    }

    fileprivate func reached(_ stage: Stage, _ number: UInt64) {
        state.withLock { state in
            guard let index = state.entries.firstIndex(where: { $0.number == number }) else { return }
            state.entries[index].stage = max(state.entries[index].stage, stage)
        }
    }

    fileprivate func release(_ number: UInt64) {
        state.withLock { $0.entries.removeAll { $0.number == number } }
    }
}

/// The place of one connection.
package struct HandshakePlace: Sendable {
    fileprivate let places: HandshakePlaces
    fileprivate let number: UInt64

    package func reached(_ stage: HandshakePlaces.Stage) { places.reached(stage, number) }

    /// It is closed, or known and counted elsewhere.
    package func release() { places.release(number) }
}
