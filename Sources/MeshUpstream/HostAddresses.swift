import Dispatch
import MeshModel
import NIOCore
import Synchronization

/// An address that this node does not connect to.
struct ForbiddenAddress: Error, Hashable, Sendable {
    var host: String
    var address: IPAddress?
    var kind: AddressRule.Kind?

    /// For the operator.
    var words: String {
        let place = address.map { host == "\($0)" ? host : "\(host) (\($0))" } ?? host
        let what = kind?.rawValue ?? "no address of a network"
        return """
            \(place) is \(what), and this node does not connect there for an upstream; if it should, name it in \
            upstream.allow_private_addresses
            """
    }
}

/// The addresses of one host that this node may connect to. A name is asked for again and again, and each time what it
/// leads to is judged anew: whoever owns it may let it lead elsewhere at any moment.
final class HostAddresses: Sendable {
    private struct Known {
        var addresses: [IPAddress]
        var since: Instant
    }

    let host: String
    private let rule: AddressRule
    private let resolver: any HostResolver
    private let lifeMs: Int64
    private let known = Mutex<Known?>(nil)
    /// One question at a time; whoever comes meanwhile finds its answer.
    private let questions = DispatchQueue(label: "aisbf.upstream.names")

    /// - Parameter host: a name, or an address.
    init(host: String, rule: AddressRule, resolver: any HostResolver, lifeMs: Int64) {
        self.host = host
        self.rule = rule
        self.resolver = resolver
        self.lifeMs = lifeMs
    }

    /// Those that may be dialled now, the best first.
    /// - Throws: `ForbiddenAddress` when the host has no other, `HostResolverFailure` when it has none.
    func admitted(now: Instant) async throws -> [IPAddress] {
        if let address = IPAddress(host) {
            if let kind = rule.refusal(of: address) {
                throw ForbiddenAddress(host: host, address: address, kind: kind)
            }
            return [address]
        }
        if let fresh = fresh(now) { return fresh }
        return try await withCheckedThrowingContinuation { continuation in
            questions.async { [self] in continuation.resume(with: Result { try asked(now: now) }) }
        }
    }

    private func fresh(_ now: Instant) -> [IPAddress]? {
        known.withLock { known in
            known.flatMap { now.milliseconds(since: $0.since) < lifeMs ? $0.addresses : nil }
        }
    }

    private func asked(now: Instant) throws -> [IPAddress] {
        if let fresh = fresh(now) { return fresh }
        let found: [IPAddress]
        do { found = try resolver.addresses(of: host) } catch {
            // What was judged before is as good as it was while nobody can be asked.
            guard let last = known.withLock({ $0?.addresses }) else { throw error }
            return last
        }
        let admitted = found.filter { rule.refusal(of: $0) == nil }
        guard !admitted.isEmpty else {
            known.withLock { $0 = nil }
            throw ForbiddenAddress(host: host, address: found.first, kind: found.first.flatMap(rule.refusal))
        }
        known.withLock { $0 = Known(addresses: admitted, since: now) }
        return admitted
    }

    /// Why a connection that has come about is none to be used: whoever has chosen its other end, this is where it leads.
    func refusal(of peer: SocketAddress?) -> ForbiddenAddress? {
        guard let address = peer?.ipAddress.flatMap({ IPAddress($0) }) else {
            return ForbiddenAddress(host: host, address: nil, kind: nil)
        }
        return rule.refusal(of: address).map { ForbiddenAddress(host: host, address: address, kind: $0) }
    }
}
