import MeshModel

/// What may still come and go on one stream, and how much of it: the rules of `aisbf-link/2` for one stream, seen from one
/// side. It holds no bytes.
package struct StreamLedger: Hashable, Sendable {
    package enum Role: Hashable, Sendable {
        /// The link's own stream: bytes both ways for as long as it lives.
        case link
        /// This side asked.
        case opener
        /// The peer asked.
        case answerer
    }

    private enum Part: Hashable, Sendable {
        case head
        case body
        case over
    }

    package let role: Role
    private var incoming: Part
    private var outgoing: Part
    /// Bytes that the peer will still take.
    package private(set) var credit = Limits.linkStreamWindowBytes
    /// Bytes that the peer may still send.
    private var window = Limits.linkStreamWindowBytes
    /// Bytes dealt with here for which the peer has no new credit yet.
    private var owed = 0

    /// - Parameter isWhole: the request came with its last byte.
    package init(_ role: Role, isWhole: Bool = false) {
        self.role = role
        incoming = role == .opener ? .head : isWhole ? .over : .body
        outgoing = role == .link ? .body : .head
    }

    /// The peer has said everything.
    package var isRead: Bool { incoming == .over }
    package var isWritten: Bool { outgoing == .over }
    /// Nothing more comes or goes. An answer that is whole ends its stream, whatever is left of the request.
    package var isOver: Bool {
        switch role {
        case .link: false
        case .opener: isRead
        case .answerer: isWritten
        }
    }

    package mutating func read(fieldsOf status: Int, isLast: Bool) throws(StreamFault) {
        switch (role, incoming) {
        case (.opener, .head) where status >= 200: incoming = isLast ? .over : .body
        case (.opener, .head) where status >= 100 && !isLast: break
        case (.opener, .body) where status == 0 && isLast, (.answerer, .body) where status == 0 && isLast:
            incoming = .over
        default: throw .order
        }
    }

    package mutating func read(bytes count: Int, isLast: Bool) throws(StreamFault) {
        // Frames that say nothing are work for nothing.
        guard incoming == .body, role != .link || !isLast, count > 0 || isLast else { throw .order }
        guard count <= window else { throw .credit }
        window -= count
        if isLast { incoming = .over }
    }

    package mutating func read(credit count: Int) throws(StreamFault) {
        guard count > 0, credit + count <= Limits.linkStreamWindowBytes else { throw .credit }
        credit += count
    }

    /// - Returns: what the peer has to be told it may send now; nil while that is not worth a frame.
    package mutating func dealt(with count: Int) -> Int? {
        owed += count
        guard incoming != .over, owed >= Limits.linkStreamWindowBytes / 2 else { return nil }
        defer { owed = 0 }
        window += owed
        return owed
    }

    /// - Returns: false when these fields cannot be sent now.
    package mutating func write(fieldsOf status: Int, isLast: Bool) -> Bool {
        switch (role, outgoing) {
        case (.opener, .head): outgoing = isLast ? .over : .body
        case (.answerer, .head) where status >= 200: outgoing = isLast ? .over : .body
        case (.answerer, .head) where status >= 100 && !isLast: break
        case (.opener, .body) where isLast, (.answerer, .body) where status == 0 && isLast: outgoing = .over
        default: return false
        }
        return true
    }

    /// - Returns: false when no bytes can be sent now, or not so many.
    package mutating func write(bytes count: Int, isLast: Bool) -> Bool {
        guard outgoing == .body, role != .link || !isLast, count <= credit else { return false }
        credit -= count
        if isLast { outgoing = .over }
        return true
    }
}
