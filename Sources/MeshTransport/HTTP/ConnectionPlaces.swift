internal import DequeModule
import MeshModel
package import NIOCore
internal import Synchronization

/// The places of one listener: bounds the number of its connections, keeps those that have proven nothing from pushing
/// out the others, and lets a stopping node tell each of them.
///
/// A connection begins as a newcomer and is one until it proves itself (a key, a token, a handshake that was good).
/// Newcomers have places of their own, of which one address may hold a part. Where they are used up the oldest
/// newcomer leaves, of this address or of the one that holds the most: whoever fills a node with connections pushes out
/// its own, and an honest client has to be quicker than that and no more. Those that have proven themselves are never
/// pushed out, and are not counted per address: a farm of workers may well sit behind one.
package final class ConnectionPlaces: Sendable {
    /// How many of each kind there may be.
    package struct Bounds: Hashable, Sendable {
        package var connections: Int
        package var newcomers: Int
        package var newcomersPerAddress: Int

        package init(connections: Int, newcomers: Int, newcomersPerAddress: Int) {
            self.connections = connections
            self.newcomers = min(newcomers, connections)
            self.newcomersPerAddress = min(newcomersPerAddress, self.newcomers)
        }

        /// Those of the public listener.
        /// - Parameter limit: fewer than `Limits.connections` where the process may not open as many files.
        package static func buyersAndWorkers(atMost limit: Int = Limits.connections) -> Bounds {
            Bounds(
                connections: min(limit, Limits.connections), newcomers: Limits.connectionNewcomers,
                newcomersPerAddress: Limits.connectionNewcomersPerAddress)
        }
    }

    /// The newcomers of one address, in the order they came.
    private struct Line {
        var count = 0
        /// Some of them may have left or proven themselves since.
        var waiting: Deque<UInt64> = []
    }

    private struct Entry {
        var channel: any Channel
        var address: String
        var isNewcomer = true
    }

    private struct State {
        var entries: [UInt64: Entry] = [:]
        var lines: [String: Line] = [:]
        var newcomers = 0
        var nextID: UInt64 = 0
    }

    private let bounds: Bounds
    private let state = Mutex(State())

    package init(_ bounds: Bounds) { self.bounds = bounds }

    package var count: Int { state.withLock { $0.entries.count } }
    package var newcomers: Int { state.withLock { $0.newcomers } }

    /// A place for `channel`, until it is closed; nil when there is none, and the caller closes it.
    package func admit(_ channel: any Channel) -> ConnectionPlace? {
        let address = ClientAddress.text(channel.remoteAddress)
        let (id, leaving) = state.withLock { state -> (UInt64?, (any Channel)?) in
            let leaving = makeRoom(for: address, &state)
            guard state.entries.count < bounds.connections else { return (nil, leaving) }
            let id = state.nextID
            state.nextID += 1
            state.entries[id] = Entry(channel: channel, address: address)
            state.newcomers += 1
            state.lines[address, default: Line()].count += 1
            state.lines[address]?.waiting.append(id)
            return (id, leaving)
        }
        leaving?.close(promise: nil)
        guard let id else { return nil }
        channel.closeFuture.whenComplete { [self] _ in forget(id) }
        return ConnectionPlace(places: self, id: id, address: address, remote: channel.remoteAddress?.ipAddress)
    }

    /// The newcomer that has to leave, taken out already.
    private func makeRoom(for address: String, _ state: inout State) -> (any Channel)? {
        let line: String?
        if state.lines[address]?.count ?? 0 >= bounds.newcomersPerAddress {
            line = address
        } else if state.newcomers >= bounds.newcomers || state.entries.count >= bounds.connections {
            line = state.lines.max { $0.value.count < $1.value.count }?.key
        } else {
            line = nil
        }
        guard let line else { return nil }
        while let oldest = state.lines[line]?.waiting.popFirst() {
            guard let entry = state.entries[oldest], entry.isNewcomer else { continue }
            remove(oldest, entry, &state)
            return entry.channel
        }
        return nil
    }

    fileprivate func prove(_ id: UInt64) {
        state.withLock { state in
            guard let entry = state.entries[id], entry.isNewcomer else { return }
            state.entries[id]?.isNewcomer = false
            leaveLine(entry.address, &state)
        }
    }

    private func forget(_ id: UInt64) {
        state.withLock { state in
            if let entry = state.entries[id] { remove(id, entry, &state) }
        }
    }

    private func remove(_ id: UInt64, _ entry: Entry, _ state: inout State) {
        state.entries[id] = nil
        if entry.isNewcomer { leaveLine(entry.address, &state) }
    }

    private func leaveLine(_ address: String, _ state: inout State) {
        state.newcomers -= 1
        guard var line = state.lines.removeValue(forKey: address), line.count > 1 else { return }
        line.count -= 1
        // Those who left keep their turn until they are many.
        if line.waiting.count > 2 * line.count + 64 {
            line.waiting = line.waiting.filter { state.entries[$0]?.isNewcomer ?? false }
        }
        state.lines[address] = line
    }

    /// Asks every connection to finish what it does and close.
    package func quiesce() {
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    }

    package func closeAll() {
        for channel in channels { channel.close(promise: nil) }
    }

    private var channels: [any Channel] { state.withLock { $0.entries.values.map(\.channel) } }
}

/// The place of one connection.
package final class ConnectionPlace: Sendable {
    /// Where it comes from, as one who is counted: an IPv4 address, the first half of an IPv6 address, or `local`.
    package let address: String
    /// The whole address; nil for a socket that has none.
    package let remote: String?
    private let places: ConnectionPlaces?
    private let id: UInt64
    private let isProven: Atomic<Bool>

    fileprivate init(places: ConnectionPlaces, id: UInt64, address: String, remote: String?) {
        self.places = places
        self.remote = remote
        self.id = id
        self.address = address
        isProven = Atomic(false)
    }

    /// A place that is in nobody's count.
    package init(address: String, remote: String? = nil) {
        places = nil
        self.remote = remote
        id = 0
        self.address = address
        isProven = Atomic(true)
    }

    /// Whoever is behind this connection has shown a credential that is good. Cheap to call again.
    package func prove() {
        guard !isProven.load(ordering: .relaxed) else { return }
        isProven.store(true, ordering: .relaxed)
        places?.prove(id)
    }
}

/// An address as it is counted.
package enum ClientAddress {
    /// One customer of a network has 2^64 IPv6 addresses or more, so they count as one.
    package static func text(_ address: SocketAddress?) -> String {
        switch address {
        case .v6:
            // Behind family, port and flow of a `sockaddr_in6`.
            let bytes = address?.withSockAddr {
                Array(UnsafeRawBufferPointer(start: $0, count: $1).dropFirst(8).prefix(16))
            }
            guard let bytes, bytes.count == 16 else { return "local" }
            // An IPv4 address in the clothes of the other.
            if bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF {
                return bytes.suffix(4).map { String($0) }.joined(separator: ".")
            }
            let groups = stride(from: 0, to: 8, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
            return groups.map { String($0, radix: 16) }.joined(separator: ":") + "::/64"
        case .v4: return address?.ipAddress ?? "local"
        case .unixDomainSocket, nil: return "local"
        }
    }
}
