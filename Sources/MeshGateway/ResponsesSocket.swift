import MeshDialects
import MeshModel
import MeshRuntime
package import MeshTransport
import MeshWire
package import NIOCore
package import NIOHTTP1
import NIOWebSocket
import Synchronization

/// A WebSocket of the Responses API, in front of the handler that takes requests: frames become requests and answers become
/// frames, so that keys, limits, routes, usage and time limits are those of HTTP. Lives on its event loop.
final class ResponsesSocket: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = WebSocketFrame

    /// What becomes of the answer under way.
    private enum Answer {
        case none
        case events(EventStreamReframer)
        /// An error, or an answer that is no stream.
        case document(HTTPResponseHead, [UInt8])
    }

    private let shared: GatewayContext
    private let head: HTTPRequestHead
    private var talk: ResponsesTalk
    private var answer = Answer.none
    /// What of the talk stands in the node's count of bodies that it holds.
    private var counted = 0
    private var isClosing = false

    /// - Parameter head: of the request that became the socket.
    init(_ head: HTTPRequestHead, shared: GatewayContext) {
        self.shared = shared
        self.head = Self.plain(head)
        var dice = SystemRandomNumberGenerator()
        talk = ResponsesTalk(mark: "ws" + String(dice.next() as UInt64, radix: 16))
    }

    /// As each request over HTTP would begin.
    private static func plain(_ head: HTTPRequestHead) -> HTTPRequestHead {
        let dropped = ["connection", "upgrade", "expect", "transfer-encoding", "idempotency-key"]
        var headers = HTTPHeaders()
        for (name, value) in head.headers {
            let name = name.lowercased()
            if !dropped.contains(name), !name.hasPrefix("sec-websocket-"), !name.hasPrefix("content-") {
                headers.add(name: name, value: value)
            }
        }
        headers.add(name: "content-type", value: "application/json")
        return HTTPRequestHead(version: .http1_1, method: .POST, uri: head.uri, headers: headers)
    }

    func handlerRemoved(context: ChannelHandlerContext) { release() }

    func channelInactive(context: ChannelHandlerContext) {
        release()
        context.fireChannelInactive()
    }

    private func release() {
        talk.forget()
        shared.heldBodyBytes.subtract(counted, ordering: .relaxed)
        counted = 0
    }

    /// Counts what is remembered; where the node holds as much as it can, it is forgotten.
    private func count() {
        let now = talk.heldBytes
        let total = shared.heldBodyBytes.add(now - counted, ordering: .relaxed).newValue
        counted = now
        guard total > Limits.heldBodiesBytes, now > 0 else { return }
        talk.forget()
        shared.heldBodyBytes.add(talk.heldBytes - counted, ordering: .relaxed)
        counted = talk.heldBytes
    }

    // MARK: Frames of the buyer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        guard !isClosing else {
            if frame.opcode == .connectionClose { context.close(promise: nil) }
            return
        }
        switch frame.opcode {
        case .text: textArrived(Array(frame.plainData.readableBytesView), context)
        case .ping:
            // Who pings and does not read must not fill this node with pongs.
            if context.channel.isWritable { write(.pong, frame.plainData, context) }
        case .connectionClose:
            isClosing = true
            write(.connectionClose, frame.plainData, context)
            context.close(promise: nil)
        case .binary: end(.unacceptableData, context)
        case .pong: break
        default: end(.protocolError, context)
        }
    }

    private func textArrived(_ text: [UInt8], _ context: ChannelHandlerContext) {
        let move: ResponsesTalk.Move
        do throws(MeshError) { move = try talk.took(text) } catch {
            shared.metrics.failed(error.code)
            let said = Dialect.responses.answer(error, requestID: nil)
            return tell([ResponsesTalk.error(said.body, status: said.status, headers: [])], context)
        }
        count()
        switch move {
        case .nothing: break
        case .tell(let documents): tell(documents, context)
        case .ask(let body):
            var head = head
            head.headers.add(name: "content-length", value: String(body.count))
            context.fireChannelRead(wrapInboundOut(.head(head)))
            context.fireChannelRead(wrapInboundOut(.body(ByteBuffer(bytes: body))))
            context.fireChannelRead(wrapInboundOut(.end(nil)))
            context.fireChannelReadComplete()
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end((error as? NIOWebSocketError) == .invalidFrameLength ? .messageTooLarge : .protocolError, context)
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            let type = head.headers.first(name: "content-type") ?? ""
            answer =
                head.status.code < 300 && type.hasPrefix("text/event-stream")
                ? .events(EventStreamReframer(eventBytes: Limits.workerFrameBytes)) : .document(head, [])
        case .body(let part): if case .byteBuffer(let bytes) = part { pass(Array(bytes.readableBytesView), context) }
        case .end: endAnswer(context)
        }
        promise?.succeed()
    }

    private func pass(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        let passed = answer
        answer = .none
        switch passed {
        case .none: break
        case .document(let head, let body):
            let room = max(Limits.refusalBytes - body.count, 0)
            answer = .document(head, body + bytes.prefix(room))
        case .events(var reframer):
            do throws(EventStreamReframer.Overflow) {
                let events = try reframer.append(bytes)
                answer = .events(reframer)
                for event in events { pass(event: event, context) }
            } catch { end(.unexpectedServerError, context) }
        }
    }

    private func pass(event: [UInt8], _ context: ChannelHandlerContext) {
        var data: [UInt8] = []
        for line in event.split(separator: 0x0A) where line.starts(with: "data:".utf8) {
            data += line.dropFirst(5).drop { $0 == 0x20 }
        }
        guard data.first == UInt8(ascii: "{") else { return }
        talk.told(data)
        write(.text, ByteBuffer(bytes: data), context)
    }

    private func endAnswer(_ context: ChannelHandlerContext) {
        if case .document(let head, let body) = answer {
            let names = ["retry-after", "retry-after-ms", "x-should-retry", "x-request-id"]
            let headers = names.compactMap { name in head.headers.first(name: name).map { (name: name, value: $0) } }
            write(
                .text,
                ByteBuffer(bytes: ResponsesTalk.error(body, status: Int(head.status.code), headers: headers)), context)
        }
        answer = .none
        talk.ended()
        count()
    }

    // MARK: Writing

    private func tell(_ documents: [[UInt8]], _ context: ChannelHandlerContext) {
        // Who sends and does not read must not fill this node with answers.
        guard context.channel.isWritable else { return end(.policyViolation, context) }
        for document in documents { write(.text, ByteBuffer(bytes: document), context) }
        context.flush()
    }

    private func write(_ opcode: WebSocketOpcode, _ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: bytes)), promise: nil)
        if opcode != .text { context.flush() }
    }

    /// This node ends it.
    private func end(_ code: WebSocketErrorCode, _ context: ChannelHandlerContext) {
        guard !isClosing else { return }
        tellEnd(code, context)
        context.close(promise: nil)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if !isClosing { tellEnd(.goingAway, context) }
        context.close(mode: mode, promise: promise)
    }

    /// The frame that says why.
    private func tellEnd(_ code: WebSocketErrorCode, _ context: ChannelHandlerContext) {
        isClosing = true
        var reason = ByteBuffer()
        reason.write(webSocketErrorCode: code)
        write(.connectionClose, reason, context)
    }
}

/// Which requests become a WebSocket of the Responses API.
package enum ResponsesUpgrade {
    /// Nil for every other path. The key is judged as for a request; so is each request that comes over the socket.
    package static func verdict(
        _ channel: any Channel, _ head: HTTPRequestHead, _ shared: GatewayContext
    ) -> UpgradeVerdict? {
        guard let (segments, _) = RequestPath.parse(RequestTarget.originForm(head.uri)),
            let (path, username) = BuyerPath.strip(segments), path == ["responses"],
            let handler = try? channel.pipeline.syncOperations.handler(type: GatewayHandler.self)
        else { return nil }
        let place = handler.carrier.place
        if let error = RequestBounds.problem(head, isUpgraded: true) { return .refused(error) }
        if shared.isDraining {
            return .refused(
                MeshError(.draining, "this node is shutting down; use another node", retryAfterSeconds: 5))
        }
        switch shared.inferenceCaller(head.headers, scope: username, route: "responses", from: place) {
        case .failure(let error): return .refused(error)
        case .success:
            return .admitted { channel in
                let pipeline = channel.pipeline.syncOperations
                try pipeline.addWebSocketFrames(
                    limit: Limits.workerFrameBytes, fragments: Limits.workerFragments)
                try pipeline.addHandlers(
                    ResponsesSocket(head, shared: shared),
                    GatewayHandler(shared: shared, carrier: Carrier(kind: .connection, place: place)))
            }
        }
    }
}
