internal import MeshModel
internal import MeshWire
internal import NIOCore

/// A stream the peer opened: the link stream, a forward, or something that is refused.
final class RequestStream: StreamReader {
    private enum Kind {
        case unknown
        case link(LinkStream)
        case forward(IncomingForward)
        case refused
    }

    private struct Collection {
        var limit: Int
        var prefix: Int?
        var deadline: Scheduled<Void>?
        var then: @Sendable (Result<ByteBuffer, ForwardFailure>) -> Void
    }

    private let connection: LinkConnection
    private var kind = Kind.unknown
    private var port: (any StreamPort)?
    private var body = ByteBuffer()
    private var hasWholeBody = false
    private var collection: Collection?
    private var rest: (any ForwardBodyReceiver)?
    private var hasResponded = false
    private var hasEnded = false
    private var isCancelled = false
    private var cancelCallback: (@Sendable () -> Void)?
    var writabilityCallback: (@Sendable (Bool) -> Void)?

    init(connection: LinkConnection) { self.connection = connection }

    func opened(_ port: any StreamPort) { self.port = port }

    func read(_ fields: StreamFields, isLast: Bool) {
        if case .link(let stream) = kind { return stream.read(fields, isLast: isLast) }
        if isLast { hasWholeBody = true }
        if case .unknown = kind {
            begin(fields)
        } else if isLast {
            bodyEnded(trailers: fields.fields)
        }
    }

    func read(_ bytes: ByteBuffer, isLast: Bool) {
        if case .link(let stream) = kind { return stream.read(bytes, isLast: isLast) }
        if isLast { hasWholeBody = true }
        if case .forward = kind {
            var bytes = bytes
            read(&bytes)
        }
        if isLast { bodyEnded(trailers: []) }
    }

    private func begin(_ head: StreamFields) {
        guard let port else { return }
        if head.path == LinkConnection.linkPath, connection.mayOpenLinkStream {
            let stream = LinkStream(connection: connection)
            kind = .link(stream)
            port.write(StreamFields(status: 200), isLast: false)
            return stream.opened(port)
        }
        guard let link = connection.link else { return connection.strangerStreamOpened() }
        guard LinkPath.isForward(head.path) else {
            return refuse(head.path == LinkConnection.linkPath ? 403 : 404)
        }
        let forward = IncomingForward(link: link, stream: self, path: head.path, headers: head.fields)
        kind = .forward(forward)
        connection.forwardOpened()
        // The body waits, in the peer's window, until somebody asks for it.
        if !hasWholeBody { port.setReading(false) }
        connection.endpoint.delegate.forwardArrived(forward)
    }

    private func refuse(_ status: Int) {
        kind = .refused
        respond(status: status, headers: [])
        end(trailers: [])
    }

    private func read(_ buffer: inout ByteBuffer) {
        if let rest { return rest.requestBody(buffer) }
        if body.readableBytes == 0 { body = buffer } else { body.writeBuffer(&buffer) }
        finishCollection()
    }

    private func bodyEnded(trailers: [HeaderField]) {
        let rest = rest
        self.rest = nil
        if let rest { rest.bodyEnded(trailers: trailers) } else { finishCollection() }
    }

    func writabilityChanged(_ isWritable: Bool) {
        switch kind {
        case .link(let stream): stream.writabilityChanged(isWritable)
        case .forward(let forward):
            forward.setWritable(isWritable)
            writabilityCallback?(isWritable)
        case .unknown, .refused: break
        }
    }

    func closed(_ failure: ForwardFailure?) {
        let kind = kind
        self.kind = .refused
        switch kind {
        case .link(let stream): stream.closed(failure)
        case .forward:
            cancelled(failure ?? .linkLost)
            connection.forwardClosed()
        case .unknown, .refused: break
        }
        port = nil
        cancelCallback = nil
        writabilityCallback = nil
        rest = nil
    }
}

// What `IncomingForward` does, on the loop.
extension RequestStream {
    func collectBody(
        limit: Int, prefix: Int?, deadlineMs: Int64,
        then: @escaping @Sendable (Result<ByteBuffer, ForwardFailure>) -> Void
    ) {
        guard let port, !isCancelled else { return then(.failure(.linkLost)) }
        var pending = Collection(limit: limit, prefix: prefix, then: then)
        if !hasWholeBody {
            let loop = connection.eventLoop
            let bound = NIOLoopBound(self, eventLoop: loop)
            pending.deadline = loop.scheduleTask(in: .milliseconds(deadlineMs)) {
                bound.value.failCollection(.timeout)
            }
        }
        collection = pending
        finishCollection()
        if collection != nil { port.setReading(true) }
    }

    private func finishCollection() {
        guard let collection else { return }
        if body.readableBytes > collection.limit { return failCollection(.bodyTooLarge) }
        if let prefix = collection.prefix {
            // Nothing may come behind it before this side has asked for it.
            if body.readableBytes > prefix || hasWholeBody { return failCollection(.malformed) }
            guard body.readableBytes == prefix else { return }
            setReading(false)
        } else if !hasWholeBody {
            return
        }
        self.collection = nil
        collection.deadline?.cancel()
        let whole = body
        body = ByteBuffer()
        collection.then(.success(whole))
    }

    func continueBody(_ receiver: any ForwardBodyReceiver) {
        guard let port, !hasResponded, !isCancelled, !hasWholeBody else { return }
        // A peer that did not wait to be asked.
        guard body.readableBytes == 0 else { return reset() }
        rest = receiver
        port.write(StreamFields(status: 100), isLast: false)
        setReading(true)
    }

    func setReading(_ isReading: Bool) {
        if !isCancelled { port?.setReading(isReading) }
    }

    private func failCollection(_ failure: ForwardFailure) {
        guard let collection else { return }
        self.collection = nil
        collection.deadline?.cancel()
        body = ByteBuffer()
        // Nobody will look at the rest: let the window hold it back.
        port?.setReading(false)
        collection.then(.failure(failure))
    }

    func respondLater() {
        guard !hasResponded, !isCancelled else { return }
        port?.write(StreamFields(status: 102), isLast: false)
    }

    func respond(status: Int, headers: [HeaderField]) {
        guard let port, !hasResponded, !isCancelled else { return }
        hasResponded = true
        port.write(StreamFields(status: status, headers), isLast: false)
    }

    func write(_ bytes: ByteBuffer) {
        guard let port, hasResponded, !hasEnded, !isCancelled, bytes.readableBytes > 0 else { return }
        port.write(bytes, isLast: false, sent: nil)
    }

    func end(trailers: [HeaderField]) {
        guard let port, hasResponded, !hasEnded, !isCancelled else { return }
        hasEnded = true
        cancelCallback = nil
        if trailers.isEmpty {
            port.write(ByteBuffer(), isLast: true, sent: nil)
        } else {
            port.write(StreamFields(trailers), isLast: true)
        }
    }

    func reset() {
        guard let port, !isCancelled else { return }
        isCancelled = true
        cancelCallback = nil
        port.close()
    }

    func onCancelled(_ body: @escaping @Sendable () -> Void) {
        if isCancelled { body() } else if !hasEnded { cancelCallback = body }
    }

    private func cancelled(_ failure: ForwardFailure) {
        guard !isCancelled, !hasEnded else { return }
        isCancelled = true
        failCollection(failure)
        let callback = cancelCallback
        cancelCallback = nil
        callback?()
    }
}
