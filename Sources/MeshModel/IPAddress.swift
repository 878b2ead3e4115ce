/// An address of IPv4, as 4 bytes, or of IPv6, as 16.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    package let bytes: [UInt8]

    /// Nil unless there are 4 or 16 of them.
    package init?(_ bytes: some Sequence<UInt8>) {
        let bytes = Array(bytes)
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// Four decimal numbers, or IPv6 as in RFC 4291, section 2.2. Forms that only some readers understand (`127.1`,
    /// `0x7f000001`, leading zeros) are none.
    package init?(_ text: some StringProtocol) {
        let units = Array(text.utf8)
        guard !units.isEmpty, units.count <= 45 else { return nil }
        if units.contains(UInt8(ascii: ":")) {
            guard let bytes = Self.version6(units) else { return nil }
            self.bytes = bytes
        } else {
            guard let bytes = Self.version4(units[...]) else { return nil }
            self.bytes = bytes
        }
    }

    private static func version4(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ (0x30...0x39).contains($0) }),
                part.count == 1 || part.first != 0x30,
                let number = UInt8(String(decoding: part, as: UTF8.self))
            else { return nil }
            bytes.append(number)
        }
        return bytes
    }

    private static func version6(_ text: [UInt8]) -> [UInt8]? {
        var halves: [[UInt8]] = [[]]
        var rest = text[...]
        if rest.starts(with: Array("::".utf8)) {
            halves.append([])
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            let group = rest.prefix { $0 != UInt8(ascii: ":") }
            rest = rest.dropFirst(group.count)
            if group.contains(UInt8(ascii: ".")) {
                // The last four bytes may be written as those of IPv4.
                guard rest.isEmpty, let bytes = version4(group) else { return nil }
                halves[halves.count - 1] += bytes
                break
            }
            guard (1...4).contains(group.count), let number = UInt16(String(decoding: group, as: UTF8.self), radix: 16),
                group.first != UInt8(ascii: "+")
            else { return nil }
            halves[halves.count - 1] += [UInt8(number >> 8), UInt8(number & 0xFF)]
            if rest.isEmpty { break }
            rest = rest.dropFirst()
            // A colon at the end is half of two.
            guard !rest.isEmpty else { return nil }
            if rest.first == UInt8(ascii: ":") {
                guard halves.count == 1 else { return nil }
                halves.append([])
                rest = rest.dropFirst()
            }
        }
        let length = halves.reduce(0) { $0 + $1.count }
        guard halves.count == 2 ? length <= 14 : length == 16 else { return nil }
        let zeros = [UInt8](repeating: 0, count: 16 - length)
        return halves.count == 2 ? halves[0] + zeros + halves[1] : halves[0]
    }

    package var description: String {
        if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
        let groups = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        // The longest run of zeros is left out (RFC 5952, section 4.2).
        var best = 0..<0
        var start = 0
        while start < 8 {
            let end = groups[start...].firstIndex { $0 != 0 } ?? 8
            if end - start > max(best.count, 1) { best = start..<end }
            start = max(end, start + 1)
        }
        let texts = groups.map { String($0, radix: 16) }
        guard !best.isEmpty else { return texts.joined(separator: ":") }
        return texts[..<best.lowerBound].joined(separator: ":") + "::"
            + texts[best.upperBound...].joined(separator: ":")
    }

    /// The address of IPv4 that this is in the clothes of IPv6 (RFC 4291, section 2.5.5.2); itself where it is another.
    package var unmapped: IPAddress { mapped ?? self }

    private var mapped: IPAddress? {
        let clothes: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
        return bytes.count == 16 && bytes.starts(with: clothes) ? IPAddress(bytes[12...]) : nil
    }

    /// The address of IPv4 that is meant by this one of IPv6: mapped, or behind a translator (RFC 6052).
    package var inner: IPAddress? {
        guard bytes.count == 16 else { return nil }
        if let mapped { return mapped }
        let translated: [UInt8] = [0x00, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]
        if bytes.starts(with: translated) { return IPAddress(bytes[12...]) }
        // RFC 3056: a tunnel to that address.
        if bytes.starts(with: [0x20, 0x02]) { return IPAddress(bytes[2..<6]) }
        return nil
    }
}

/// Addresses that begin with the same bits: `10.0.0.0/8`, `fd00::/8`; a plain address is a range of one.
package struct IPRange: Hashable, Sendable, CustomStringConvertible {
    package let first: IPAddress
    package let bits: Int

    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first.flatMap({ IPAddress($0) }) else { return nil }
        let most = address.bytes.count * 8
        var bits = most
        if parts.count == 2 {
            let digits = parts[1].utf8
            guard (1...3).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = Int(parts[1]), number <= most
            else { return nil }
            bits = number
        }
        self.init(address, bits: bits)
    }

    /// Bits behind the first `bits` are taken for zero.
    private init?(_ address: IPAddress, bits: Int) {
        var bytes = address.bytes
        for index in bytes.indices {
            let kept = min(max(bits - index * 8, 0), 8)
            bytes[index] &= kept == 0 ? 0 : 0xFF << UInt8(8 - kept)
        }
        guard let first = IPAddress(bytes) else { return nil }
        self.first = first
        self.bits = bits
    }

    package func contains(_ address: IPAddress) -> Bool {
        guard address.bytes.count == first.bytes.count else { return false }
        return IPRange(address, bits: bits)?.first == first
    }

    package var description: String { "\(first)/\(bits)" }
}

/// Which addresses this node connects to where somebody else's word leads it: what belongs to everybody, and what its
/// operator has named. A name that leads into the network around the node is refused as an address of it is.
package struct AddressRule: Hashable, Sendable {
    /// What belongs to nobody, or to whoever is near.
    package enum Kind: String, CaseIterable, Sendable {
        case unspecified = "no address"
        case loopback = "this machine itself"
        case personal = "a private address"
        case shared = "an address of a provider's own network"
        case linkLocal = "a link-local address"
        case metadata = "a cloud's metadata service"
        case multicast = "a multicast address"
        case reserved = "a reserved address"
    }

    private let allowed: [IPRange]

    /// - Parameter allowed: what the operator lets through whatever it is.
    package init(allowing allowed: [IPRange] = []) { self.allowed = allowed }

    /// Why the node does not connect to it; nil when it does. A form of IPv6 that leads to an address of IPv4 is judged
    /// by where it leads.
    package func refusal(of address: IPAddress) -> Kind? {
        let meant = address.inner ?? address
        guard let kind = Self.kind(of: address) ?? (meant == address ? nil : Self.kind(of: meant)) else { return nil }
        return allowed.contains { $0.contains(address) || $0.contains(meant) } ? nil : kind
    }

    /// IANA's registries of special addresses, and what clouds have put elsewhere. Of IPv6 everything outside of what
    /// is given out (2000::/3) is reserved.
    private static let kinds: [(range: IPRange, kind: Kind)] = {
        let table: [(String, Kind)] = [
            ("168.63.129.16", .metadata), ("169.254.169.254", .metadata), ("100.100.100.200", .metadata),
            ("192.0.0.192", .metadata), ("fd00:ec2::254", .metadata), ("fd20:ce::254", .metadata),
            ("0.0.0.0", .unspecified), ("::", .unspecified), ("127.0.0.0/8", .loopback), ("::1", .loopback),
            ("10.0.0.0/8", .personal), ("172.16.0.0/12", .personal), ("192.168.0.0/16", .personal),
            ("fc00::/7", .personal), ("fec0::/10", .personal), ("64:ff9b:1::/48", .personal),
            ("100.64.0.0/10", .shared), ("169.254.0.0/16", .linkLocal), ("fe80::/10", .linkLocal),
            ("224.0.0.0/4", .multicast), ("ff00::/8", .multicast), ("0.0.0.0/8", .reserved),
            ("192.0.0.0/24", .reserved), ("192.0.2.0/24", .reserved), ("192.88.99.0/24", .reserved),
            ("198.18.0.0/15", .reserved), ("198.51.100.0/24", .reserved), ("203.0.113.0/24", .reserved),
            ("240.0.0.0/4", .reserved), ("2001::/23", .reserved), ("2001:db8::/32", .reserved),
            ("3fff::/20", .reserved),
        ]
        return table.compactMap { text, kind in IPRange(text).map { ($0, kind) } }
    }()
    private static let givenOut = IPRange("2000::/3")

    private static func kind(of address: IPAddress) -> Kind? {
        if let found = kinds.first(where: { $0.range.contains(address) }) { return found.kind }
        guard address.bytes.count == 16, address.inner == nil else { return nil }
        return givenOut?.contains(address) == true ? nil : .reserved
    }
}
