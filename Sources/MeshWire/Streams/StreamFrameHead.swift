import MeshModel

/// Why bytes on a link are none of its frames; the link is closed.
package enum StreamFault: String, Error, CaseIterable, Sendable {
    /// A kind this version does not know, or a mark that this kind cannot have.
    case unknown
    /// A payload that this kind cannot have.
    case length
    /// A stream that nobody opened, or one that was opened out of turn.
    case stream
    /// A frame that cannot come now.
    case order
    /// More than was asked for.
    case credit
    /// Fields that are none.
    case fields
}

/// The eight bytes before each payload on a link that speaks `aisbf-link/2`, big-endian: 16 bits of length, the mark of a
/// sender's last frame on its stream, 7 bits of kind, 40 bits of stream number (Docs/Protocol/links.md).
package struct StreamFrameHead: Hashable, Sendable {
    package enum Kind: UInt8, CaseIterable, Sendable {
        /// A request's path and fields. Opens its stream.
        case open = 1
        /// A status and fields, or the fields behind a body.
        case fields
        case data
        /// So many bytes more may be sent on this stream.
        case credit
        /// The stream is over, at once, for this reason.
        case cancel
        case ping
        case pong
        /// No further stream is taken.
        case leave
    }

    package static let bytes = 8
    package static let lastStream: UInt64 = 1 << 40 - 1
    private static let lastMark: UInt64 = 0x80

    package var kind: Kind
    package var isLast: Bool
    package var stream: UInt64
    /// Of the payload, bytes.
    package var length: Int

    package init(_ kind: Kind, stream: UInt64 = 0, length: Int, isLast: Bool = false) {
        self.kind = kind
        self.isLast = isLast
        self.stream = stream
        self.length = length
    }

    /// - Parameter raw: the eight bytes as one number.
    package init(raw: UInt64) throws(StreamFault) {
        let mark = UInt8(truncatingIfNeeded: raw >> 40)
        guard let kind = Kind(rawValue: mark & 0x7F) else { throw .unknown }
        self.kind = kind
        isLast = mark & 0x80 != 0
        stream = raw & Self.lastStream
        length = Int(raw >> 48)
        switch kind {
        case .open, .fields, .data:
            guard length <= Limits.linkFramePayloadBytes else { throw .length }
        case .credit, .cancel:
            guard !isLast else { throw .unknown }
            guard length == 4 else { throw .length }
        case .ping, .pong, .leave:
            guard !isLast else { throw .unknown }
            guard stream == 0 else { throw .stream }
            guard length == (kind == .leave ? 0 : 8) else { throw .length }
        }
    }

    package var raw: UInt64 {
        let mark = UInt64(kind.rawValue) | (isLast ? Self.lastMark : 0)
        return UInt64(length) << 48 | mark << 40 | stream & Self.lastStream
    }
}
