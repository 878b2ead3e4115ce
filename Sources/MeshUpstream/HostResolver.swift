import Dispatch
import Glibc
package import MeshModel

/// Finds the addresses that a name has at this moment. Called where waiting blocks nobody.
package protocol HostResolver: Sendable {
    /// - Returns: those that are usable first, first.
    /// - Throws: `HostResolverFailure` when the name has none.
    func addresses(of host: String) throws -> [IPAddress]
}

package struct HostResolverFailure: Error, Hashable, Sendable {
    /// For the operator.
    package var words: String

    package init(words: String) { self.words = words }
}

/// The machine's own: its files, its name servers.
package struct SystemHostResolver: HostResolver {
    package init() {}

    package func addresses(of host: String) throws -> [IPAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &found)
        defer { if let found { freeaddrinfo(found) } }
        guard code == 0 else { throw HostResolverFailure(words: String(cString: gai_strerror(code))) }
        var addresses: [IPAddress] = []
        var next = found
        while let entry = next {
            if let address = Self.address(of: entry.pointee), !addresses.contains(address) {
                addresses.append(address)
            }
            next = entry.pointee.ai_next
        }
        guard !addresses.isEmpty else { throw HostResolverFailure(words: "it has no address") }
        return addresses
    }

    private static func address(of entry: addrinfo) -> IPAddress? {
        guard let place = entry.ai_addr else { return nil }
        switch entry.ai_family {
        case AF_INET:
            return place.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { place in
                withUnsafeBytes(of: place.pointee.sin_addr) { IPAddress($0) }
            }
        case AF_INET6:
            return place.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { place in
                withUnsafeBytes(of: place.pointee.sin6_addr) { IPAddress($0) }
            }
        default: return nil
        }
    }
}
