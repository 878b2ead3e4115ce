package import NIOCore

#if canImport(Glibc)
    internal import Glibc
#endif

/// What counts as one address where places are given out.
package enum NetworkAddress {
    /// An IPv4 address, or the 64 bits of an IPv6 address that one customer has: within them he chooses freely.
    package static func group(of address: SocketAddress?) -> String {
        guard let text = address?.ipAddress else { return "local" }
        var bytes = [UInt8](repeating: 0, count: 16)
        guard inet_pton(AF_INET6, text, &bytes) == 1 else { return text }
        // An IPv4 address in IPv6 clothes.
        if bytes.prefix(10).allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF {
            return bytes.suffix(4).map(String.init).joined(separator: ".")
        }
        let words = stride(from: 0, to: 8, by: 2).map {
            String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
        }
        return words.joined(separator: ":") + "::/64"
    }

    /// For logs: `192.0.2.7:4711`, `[2001:db8::7]:4711`.
    package static func text(of address: SocketAddress?) -> String {
        guard let address, let host = address.ipAddress, let port = address.port else { return "unknown" }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
