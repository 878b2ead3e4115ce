package import MeshGossip
package import MeshModel
package import MeshWire
package import NIOCore

/// What happens on a node's links. Calls come on the connection's event loop and must not block.
package protocol LinkDelegate: Sendable {
    func linkEstablished(_ link: Link, descriptor: VerifiedRecord, clockOffsetMs: Int64)
    /// - Parameter ticket: to be kept for as long as the frame is: the peer may have only so much waiting.
    func linkFrame(_ link: Link, _ frame: Aisbf_Mesh_V1_LinkFrame, _ ticket: FrameTicket)
    /// After the last frame, once per established link.
    func linkClosed(_ link: Link, reason: LinkFailure)
    /// A dial that did not become a link, once per dial.
    /// - Parameter byPeer: the peer said so.
    func dialFailed(address: String, expected: PublicKey?, reason: LinkFailure, byPeer: Bool)
    /// An accepted connection that did not become a link.
    /// - Parameter knock: who it was, if that is certain.
    func acceptFailed(remote: String, reason: LinkFailure, knock: LinkKnock?)
    /// A forward stream is open and its head was read; `collectBody` starts its body.
    func forwardArrived(_ forward: IncomingForward)
}

extension LinkDelegate {
    package func acceptFailed(remote: String, reason: LinkFailure, knock: LinkKnock?) {}
}

/// Receives the answer to one forward, on the link's event loop.
package protocol ForwardReceiver: AnyObject, Sendable {
    /// The peer wants the rest of the request (status 100): only for a forward that has an upload.
    func forwardContinues()
    /// The peer is at work and has nothing to show yet (status 102).
    func forwardWaits()
    func forwardHead(status: Int, headers: [HeaderField])
    func forwardBody(_ bytes: ByteBuffer)
    /// Exactly once, last; nil: the answer is whole.
    func forwardEnded(_ failure: ForwardFailure?, trailers: [HeaderField])
}

extension ForwardReceiver {
    package func forwardContinues() {}
    package func forwardWaits() {}
}

/// Receives the rest of a forwarded request's body behind the part that was collected, on the link's event loop.
package protocol ForwardBodyReceiver: AnyObject, Sendable {
    func requestBody(_ bytes: ByteBuffer)
    /// Once, last: the body is whole.
    func bodyEnded(trailers: [HeaderField])
}

/// Why a forward stream ended before its end.
package enum ForwardFailure: Error, Hashable, Sendable {
    /// The peer did not start the request: another candidate may be tried.
    case refusedStream
    /// The peer drains: another candidate may be tried.
    case goaway
    /// The peer ended the stream, with this code of HTTP/2.
    case reset(UInt32)
    case linkLost
    /// No established link in this direction.
    case notEstablished
    /// This side cancelled.
    case cancelled
    case bodyTooLarge
    /// Path and fields are more than a link carries.
    case headTooLarge
    case timeout
    /// Bytes that are no answer.
    case malformed
}
