package import NIOCore

/// What carries the requests of one handler.
package struct Carrier: Sendable {
    package enum Kind: Hashable, Sendable {
        /// The connection itself, which speaks HTTP/1.1.
        case connection
        /// One stream of a connection that speaks HTTP/2.
        case stream
    }

    package let kind: Kind
    package let place: ConnectionPlace

    package init(kind: Kind, place: ConnectionPlace) {
        self.kind = kind
        self.place = place
    }
}

extension Channel {
    /// Bytes that were written to this socket and not taken by the other side.
    ///
    /// Never ask the channel of an HTTP/2 stream: it ends the process when it is asked for an option it does not have,
    /// and `autoRead` is the only one it has.
    package var unsentSocketBytes: Int { (try? syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }
}
