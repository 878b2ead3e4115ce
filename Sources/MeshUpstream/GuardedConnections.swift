package import AsyncHTTPClient
import MeshExchange
package import MeshModel
package import NIOCore
import NIOPosix
package import NIOSSL
import Synchronization

/// The connections to one upstream. A name is resolved here and its address judged before anybody dials it; the client
/// is given that address to dial, with the name for TLS and for the upstream, so nothing is resolved a second time. What
/// is connected is judged once more by where it really leads.
package final class GuardedConnections: BackendConnections {
    private struct Entry {
        var client: BackendClient
        var users = 0
        /// The name does not lead there any more.
        var isRetired = false
    }

    private struct State {
        var entries: [IPAddress: Entry] = [:]
        /// Which of several addresses answered last.
        var preferred: IPAddress?
        var isClosed = false
    }

    private let addresses: HostAddresses
    private let group: any EventLoopGroup
    private let tls: TLSConfiguration?
    private let state = Mutex(State())

    /// - Parameters:
    ///   - host: of every request's URL: a name, or an address.
    ///   - nameLifeMs: how long a name is taken to lead where it led.
    ///   - tls: whom to trust; nil: whom this machine trusts.
    package init(
        host: String, rule: AddressRule, resolver: any HostResolver = SystemHostResolver(),
        nameLifeMs: Int64 = Limits.upstreamNameMs, tls: TLSConfiguration? = nil, group: any EventLoopGroup
    ) {
        self.tls = tls
        addresses = HostAddresses(host: host, rule: rule, resolver: resolver, lifeMs: nameLifeMs)
        self.group = group
    }

    package func answer<Value: Sendable>(
        to request: HTTPClientRequest, isOnce: Bool, _ read: (HTTPClientResponse) async -> Value
    ) async throws -> Value {
        var left = try await places()[...]
        while true {
            guard let address = left.popFirst() else { throw CancellationError() }
            let client = try take(address)
            do {
                let response = try await client.execute(request, isOnce: isOnce)
                state.withLock { $0.preferred = address }
                let value = await read(response)
                await release(address)
                return value
            } catch {
                await release(address)
                // Of an upload nothing was read before there was a connection.
                guard !left.isEmpty, !Task.isCancelled, Self.isUnconnected(error) else { throw error }
            }
        }
    }

    /// The addresses to try, and an end for the connections to those that are none any more.
    private func places() async throws -> [IPAddress] {
        let found = try await addresses.admitted(now: SystemClock.instant)
        let (order, idle) = state.withLock { state -> ([IPAddress], [BackendClient]) in
            var idle: [BackendClient] = []
            for (address, entry) in state.entries {
                state.entries[address]?.isRetired = !found.contains(address)
                guard !found.contains(address), entry.users == 0 else { continue }
                state.entries[address] = nil
                idle.append(entry.client)
            }
            let preferred = found.filter { $0 == state.preferred }
            return (preferred + found.filter { $0 != state.preferred }, idle)
        }
        for client in idle { try? await client.shutdown() }
        return Array(order.prefix(Limits.upstreamAddressesTried))
    }

    private func take(_ address: IPAddress) throws -> BackendClient {
        try state.withLock { state in
            guard !state.isClosed else { throw CancellationError() }
            var entry = state.entries[address] ?? Entry(client: client(of: address))
            entry.users += 1
            state.entries[address] = entry
            return entry.client
        }
    }

    private func client(of address: IPAddress) -> BackendClient {
        let addresses = addresses
        return BackendClient(group: group, tls: tls, dialling: [addresses.host: "\(address)"]) { peer in
            addresses.refusal(of: peer)
        }
    }

    private func release(_ address: IPAddress) async {
        let idle = state.withLock { state -> BackendClient? in
            guard var entry = state.entries[address] else { return nil }
            entry.users -= 1
            state.entries[address] = entry
            guard entry.isRetired, entry.users == 0 else { return nil }
            state.entries[address] = nil
            return entry.client
        }
        try? await idle?.shutdown()
    }

    /// Nobody was there, so nothing was sent.
    private static func isUnconnected(_ error: any Error) -> Bool {
        if error is NIOConnectionError || error is ForbiddenAddress { return true }
        if case .connectTimeout? = error as? ChannelError { return true }
        if let error = error as? IOError { return [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].contains(error.errnoCode) }
        return (error as? HTTPClientError) == .connectTimeout
    }

    /// Ends what is under way; nothing is taken any more.
    package func shutdown() async {
        let clients = state.withLock { state in
            state.isClosed = true
            defer { state.entries = [:] }
            return state.entries.values.map(\.client)
        }
        for client in clients { try? await client.shutdown() }
    }
}
