package import MeshModel
package import MeshWire
package import NIOCore
package import NIOHTTP1

/// Takes the parts of requests past the pipeline: there each costs a box, a cast and a search for the next handler.
package protocol RequestPartReceiver: AnyObject {
    func received(_ part: HTTPServerRequestPart)
}

/// Takes the parts of answers past the pipeline, as long as it is open. On the connection's event loop.
package protocol AnswerPartWriter: AnyObject {
    var isOpen: Bool { get }
    func writeHead(status: HTTPResponseStatus, _ fields: [HeaderField])
    func write(_ part: HTTPServerResponsePart, promise: EventLoopPromise<Void>?)
    func flush()
}

/// What carries the requests of one handler.
package struct Carrier {
    package enum Kind: Hashable, Sendable {
        /// The connection itself, which speaks HTTP/1.1.
        case connection
        /// One stream of a connection that speaks HTTP/2.
        case stream
    }

    package let kind: Kind
    package let place: ConnectionPlace
    /// The way past the pipeline, where there is one.
    package let lane: (any AnswerPartWriter)?

    package init(kind: Kind, place: ConnectionPlace, lane: (any AnswerPartWriter)? = nil) {
        self.kind = kind
        self.place = place
        self.lane = lane
    }
}

extension Channel {
    /// Bytes that were written to this socket and not taken by the other side.
    ///
    /// Never ask the channel of an HTTP/2 stream: it ends the process when it is asked for an option it does not have,
    /// and `autoRead` is the only one it has.
    package var unsentSocketBytes: Int { (try? syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }
}
