internal import DequeModule
package import MeshGossip
package import MeshModel
package import MeshWire
package import NIOCore
internal import Synchronization

/// One established link. Usable from any thread; work hops to the connection's event loop.
package final class Link: Sendable {
    package let id: LinkID
    package let peer: PublicKey
    /// The same as people know it: `aisbf_node_…`.
    package let peerID: String
    /// This side opened the connection.
    package let dialled: Bool
    /// How its streams are carried.
    package let way: LinkProtocol
    /// This side may open forwards on it.
    package var opensForwards: Bool { dialled || way == .frames }
    /// The peer takes forwards that share a signature.
    package var sharesSignatures: Bool { way == .frames }
    /// The address that was dialled; nil on the accepting side.
    package let address: String?
    package let eventLoop: any EventLoop
    private let connection: NIOLoopBound<LinkConnection>
    private let outbox = Mutex(Outbox())
    private let inbox = Mutex(Inbox())

    private struct Outbox {
        var frames: Deque<[UInt8]> = []
        var bytes = 0
        var isDraining = false
        var isClosed = false
    }

    /// The peer's frames that were handed on and are not dealt with yet.
    private struct Inbox {
        var frames = 0
        var bytes = 0
        var isFull = false
    }

    /// On the connection's event loop.
    init(id: LinkID, peer: PublicKey, connection: LinkConnection) {
        self.id = id
        self.peer = peer
        peerID = KeyText.node.text(peer.bytes)
        dialled = connection.dialled
        way = connection.way
        address = connection.dialledAddress
        eventLoop = connection.eventLoop
        self.connection = NIOLoopBound(connection, eventLoop: connection.eventLoop)
    }

    /// Queues a frame behind those sent before; a peer that reads so slowly that more than
    /// `Limits.linkOutboxBytes` wait loses the link with `outbox_full`.
    package func send(_ frame: Aisbf_Mesh_V1_LinkFrame) {
        guard let bytes = LinkFrameCodec.bytes(of: frame) else { return }
        let (overflow, schedule) = outbox.withLock { box in
            if box.isClosed { return (false, false) }
            if box.bytes + bytes.count > Limits.linkOutboxBytes {
                box.isClosed = true
                return (true, false)
            }
            box.frames.append(bytes)
            box.bytes += bytes.count
            defer { box.isDraining = true }
            return (false, !box.isDraining)
        }
        if overflow { return close(code: .outboxFull) }
        if schedule { eventLoop.execute { self.connection.value.drainOutbox() } }
    }

    /// Says goodbye with `code` and closes; the delegate hears `linkClosed` with it.
    package func close(code: LinkFailure) {
        onLoop { $0.close(code, sayGoodbye: true) }
    }

    /// Opens one forward stream. Its outcome, a refusal too, comes to `receiver`.
    /// - Parameters:
    ///   - path: starts with `/mesh/v1/forward`.
    ///   - headers: regular fields in lower case, without pseudo-headers.
    ///   - hasUpload: whether more of the body follows through the call, once the peer wants it.
    package func openForward(
        path: String = LinkPath.forward, headers: [HeaderField], body: ByteBuffer,
        hasUpload: Bool = false, receiver: any ForwardReceiver
    ) -> ForwardCall {
        let call = ForwardCall(eventLoop: eventLoop)
        onLoop {
            $0.openForward(call, path: path, headers: headers, body: body, hasUpload: hasUpload, receiver: receiver)
        }
        return call
    }

    /// Refuses new streams and closes when the open ones are done.
    func drain() { onLoop { $0.drain() } }

    private func onLoop(_ body: @escaping @Sendable (LinkConnection) -> Void) {
        if eventLoop.inEventLoop { return body(connection.value) }
        eventLoop.execute { body(self.connection.value) }
    }

    // MARK: Frames of the peer that wait here

    /// Memory of the peer's frames that wait, and their number.
    package var waiting: (frames: Int, bytes: Int) { inbox.withLock { ($0.frames, $0.bytes) } }

    /// Charges a frame that is handed on. With `isFull` no more of the peer's frames are read until some are dealt with;
    /// what it sends meanwhile waits in its own window.
    func charge(_ bytes: Int) -> (ticket: FrameTicket, isFull: Bool) {
        let isFull = inbox.withLock { inbox in
            inbox.frames += 1
            inbox.bytes += bytes
            if inbox.frames >= Limits.linkInboxFrames || inbox.bytes >= Limits.linkInboxBytes { inbox.isFull = true }
            return inbox.isFull
        }
        return (FrameTicket(link: self, bytes: bytes), isFull)
    }

    fileprivate func dealtWith(_ bytes: Int) {
        let hasRoom = inbox.withLock { inbox in
            inbox.frames -= 1
            inbox.bytes -= bytes
            guard inbox.isFull, inbox.frames <= Limits.linkInboxFrames / 2, inbox.bytes <= Limits.linkInboxBytes / 2
            else { return false }
            inbox.isFull = false
            return true
        }
        if hasRoom { eventLoop.execute { self.connection.value.readOn() } }
    }

    /// The next waiting frame; nil lets the next `send` schedule again.
    func nextFrame() -> [UInt8]? {
        outbox.withLock { box in
            guard let frame = box.frames.popFirst() else {
                box.isDraining = false
                return nil
            }
            box.bytes -= frame.count
            return frame
        }
    }

    func closeOutbox() {
        outbox.withLock { box in
            box.isClosed = true
            box.frames.removeAll()
            box.bytes = 0
        }
    }
}

/// What one frame of a peer costs while it waits: kept with the frame, and given back by letting go of it.
package final class FrameTicket: Sendable {
    private let link: Link
    private let bytes: Int

    fileprivate init(link: Link, bytes: Int) {
        self.link = link
        self.bytes = bytes
    }

    deinit { link.dealtWith(bytes) }
}
