package import MeshModel

/// A range of IP addresses that a limit names, such as `10.0.0.0/8`, `2001:db8::/32` or one address alone. An IPv4 address
/// in IPv6 clothes (`::ffff:10.0.0.1`) is the IPv4 address, on either side.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    private let range: IPRange

    /// Nil for what is no range; bits behind the prefix have to be 0, because whoever writes `10.0.0.1/8` meant one of two
    /// things.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let address = IPAddress(parts[0])?.unmapped else { return nil }
        let bits = parts.count == 2 ? "/\(parts[1])" : ""
        guard let range = IPRange("\(address)\(bits)"), range.first == address else { return nil }
        self.range = range
    }

    package func contains(_ address: IPAddress) -> Bool { range.contains(address.unmapped) }

    package var description: String {
        range.bits == range.first.bytes.count * 8 ? range.first.description : range.description
    }
}
