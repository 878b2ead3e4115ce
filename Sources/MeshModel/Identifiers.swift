/// An Ed25519 public key (RFC 8032). Who it belongs to (node, operator, owner, attach key, API key) is said by
/// the place where it stands, and by the prefix of its text form (`KeyText`).
package struct PublicKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let raw: Bytes32

    package init(_ raw: Bytes32) { self.raw = raw }

    package init?(_ bytes: [UInt8]) {
        guard let raw = Bytes32(bytes) else { return nil }
        self.raw = raw
    }

    package init?(_ bytes: some Collection<UInt8>) {
        guard let raw = Bytes32(bytes) else { return nil }
        self.raw = raw
    }

    package var bytes: [UInt8] { raw.bytes }
    package var description: String { raw.description }

    package static func < (left: Self, right: Self) -> Bool { left.raw < right.raw }
}

/// BLAKE2b-128 of (type, signer, name): which fact a record is about.
package struct RecordKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let raw: Bytes16

    package init(_ raw: Bytes16) { self.raw = raw }

    package init?(_ bytes: [UInt8]) {
        guard let raw = Bytes16(bytes) else { return nil }
        self.raw = raw
    }

    package init?(_ bytes: some Collection<UInt8>) {
        guard let raw = Bytes16(bytes) else { return nil }
        self.raw = raw
    }

    package var bytes: [UInt8] { raw.bytes }
    package var description: String { raw.description }

    package static func < (left: Self, right: Self) -> Bool { left.raw < right.raw }
}

/// BLAKE2b-128 of the network's policy document: records of another network are refused.
package struct NetworkID: Hashable, Sendable, CustomStringConvertible {
    package let raw: Bytes16

    package init(_ raw: Bytes16) { self.raw = raw }

    package init?(_ bytes: [UInt8]) {
        guard let raw = Bytes16(bytes) else { return nil }
        self.raw = raw
    }

    package init?(_ bytes: some Collection<UInt8>) {
        guard let raw = Bytes16(bytes) else { return nil }
        self.raw = raw
    }

    package var bytes: [UInt8] { raw.bytes }
    package var description: String { raw.description }
}

/// Which owner a provider belongs to at its home node.
package enum OwnerScope: Hashable, Sendable, CustomStringConvertible {
    /// The operator's own capacity.
    case global
    /// A user of this node.
    case user(String)

    /// The username a worker presents for this scope: `global` for the operator's own.
    package var username: String {
        switch self {
        case .global: "global"
        case .user(let name): name
        }
    }

    package var description: String {
        switch self {
        case .global: "global"
        case .user(let name): "user:\(name)"
        }
    }

    /// `global` is reserved, so a username names exactly one scope.
    package init(username: String) {
        self = username == "global" ? .global : .user(username)
    }
}

/// Names that people choose (users, providers, nodes, clients) and where they end up: in paths, headers and
/// file names. One rule for all keeps them safe in each.
package enum NameRule {
    /// 1 to 64 characters of `a-z 0-9 . _ -`, first one a letter or digit.
    package static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard let first = bytes.first, bytes.count <= 64, isLetterOrDigit(first) else { return false }
        return bytes.allSatisfy { isLetterOrDigit($0) || $0 == 0x2E || $0 == 0x5F || $0 == 0x2D }
    }

    /// The rule in words, for error messages.
    package static let text =
        "1 to 64 characters: lower-case letters, digits, '.', '_', '-', starting with a letter or digit"

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
    }
}
