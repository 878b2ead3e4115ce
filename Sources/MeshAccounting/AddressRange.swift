/// A range of IP addresses, such as `10.0.0.0/8`, `2001:db8::/32` or one address alone. An IPv4 address in IPv6 clothes
/// (`::ffff:10.0.0.1`) is the IPv4 address.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    private let base: Address
    private let bits: Int

    /// Nil for what is no range; bits behind the prefix have to be 0, because whoever writes `10.0.0.1/8` meant one of two
    /// things.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let address = Address(parts[0]) else { return nil }
        base = address
        guard parts.count == 2 else {
            bits = address.width
            return
        }
        guard !parts[1].isEmpty, parts[1].utf8.count <= 3, parts[1].utf8.allSatisfy({ $0 &- 0x30 < 10 }),
            let count = Int(parts[1]), count <= address.width, address.masked(count) == address
        else { return nil }
        bits = count
    }

    package func contains(_ address: Address) -> Bool { address.width == base.width && address.masked(bits) == base }

    package var description: String { bits == base.width ? base.description : "\(base)/\(bits)" }

    package struct Address: Hashable, Sendable, CustomStringConvertible {
        /// 32 or 128.
        let width: Int
        private let high: UInt64
        private let low: UInt64

        private init(width: Int, high: UInt64, low: UInt64) {
            self.width = width
            self.high = high
            self.low = low
        }

        package init?(_ text: some StringProtocol) {
            guard text.utf8.count <= 45 else { return nil }
            if let four = Self.four(text) {
                self.init(width: 32, high: 0, low: four)
                return
            }
            guard let groups = Self.groups(text) else { return nil }
            let high = groups.prefix(4).reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
            let low = groups.suffix(4).reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
            if high == 0, low >> 32 == 0xFFFF {
                self.init(width: 32, high: 0, low: low & 0xFFFF_FFFF)
            } else {
                self.init(width: 128, high: high, low: low)
            }
        }

        func masked(_ bits: Int) -> Address {
            /// The first `kept` of 64 bits.
            func mask(_ word: UInt64, _ kept: Int) -> UInt64 {
                kept <= 0 ? 0 : kept >= 64 ? word : word & (.max << UInt64(64 - kept))
            }
            guard width == 128 else { return Address(width: 32, high: 0, low: mask(low, bits + 32)) }
            return Address(width: 128, high: mask(high, bits), low: mask(low, bits - 64))
        }

        private static func four(_ text: some StringProtocol) -> UInt64? {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4 else { return nil }
            var value: UInt64 = 0
            for part in parts {
                // Some programs read a number that begins with 0 as octal: nobody can tell which is meant.
                guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ $0 &- 0x30 < 10 }),
                    part.utf8.count == 1 || part.utf8.first != 0x30, let byte = UInt64(part), byte < 256
                else { return nil }
                value = value << 8 | byte
            }
            return value
        }

        /// The eight groups of an IPv6 address (RFC 4291, section 2.2).
        private static func groups(_ text: some StringProtocol) -> [UInt16]? {
            let colons = UInt8(ascii: ":")
            let bytes = Array(text.utf8)
            guard let gap = bytes.indices.dropLast().first(where: { bytes[$0] == colons && bytes[$0 + 1] == colons })
            else {
                guard let groups = list(bytes[...], isLast: true), groups.count == 8 else { return nil }
                return groups
            }
            guard let before = list(bytes[..<gap]), let after = list(bytes[(gap + 2)...], isLast: true),
                before.count + after.count <= 7
            else { return nil }
            return before + [UInt16](repeating: 0, count: 8 - before.count - after.count) + after
        }

        /// - Parameter isLast: whether the address ends with it, where an IPv4 address may stand.
        private static func list(_ bytes: ArraySlice<UInt8>, isLast: Bool = false) -> [UInt16]? {
            if bytes.isEmpty { return [] }
            let parts = bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            var groups: [UInt16] = []
            for (place, part) in parts.enumerated() {
                let text = String(decoding: part, as: UTF8.self)
                if isLast, place == parts.count - 1, let four = four(text) {
                    groups += [UInt16(four >> 16), UInt16(four & 0xFFFF)]
                } else {
                    guard (1...4).contains(part.count), part.first != UInt8(ascii: "+"),
                        let group = UInt16(text, radix: 16)
                    else { return nil }
                    groups.append(group)
                }
            }
            return groups
        }

        package var description: String {
            guard width == 128 else {
                return [24, 16, 8, 0].map { String(low >> $0 & 0xFF) }.joined(separator: ".")
            }
            let groups = [high, low].flatMap { word in [48, 32, 16, 0].map { String(word >> $0 & 0xFFFF, radix: 16) } }
            // The longest run of zeros, of two or more, is written as two colons (RFC 5952).
            var (best, length) = (0, 1)
            for start in groups.indices {
                let run = groups[start...].prefix { $0 == "0" }.count
                if run > length { (best, length) = (start, run) }
            }
            guard length > 1 else { return groups.joined(separator: ":") }
            return groups[..<best].joined(separator: ":") + "::" + groups[(best + length)...].joined(separator: ":")
        }
    }
}
