package import MeshModel
package import NIOCore
package import NIOHTTP1
import NIOHTTP2
import NIOPosix
package import NIOSSL

/// The public listener: HTTP/1.1 with WebSocket upgrades, optional TLS, HTTP/2 by ALPN. One handler per connection
/// (or HTTP/2 stream) speaks `HTTPServerRequestPart`, whichever version carries it.
package struct HTTPListener: Sendable {
    /// Whether a request may become a WebSocket; may take its time, for the connection waits. One that may not goes to
    /// the request handler, which is told of the refusal first (`UpgradeRefused`) and answers it.
    package typealias Upgrade = @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<UpgradeVerdict>

    /// How long a connection may take for what comes before a request.
    package struct Timing: Hashable, Sendable {
        package var tls: TimeAmount
        /// From the first byte of a request's head to its last; for the first request from the connection's beginning.
        package var head: TimeAmount
        /// An HTTP/2 connection without an open stream.
        package var idle: TimeAmount

        package init(
            tls: TimeAmount = .milliseconds(Limits.tlsHandshakeMs),
            head: TimeAmount = .milliseconds(Limits.requestHeadMs),
            idle: TimeAmount = .milliseconds(Limits.connectionIdleMs)
        ) {
            self.tls = tls
            self.head = head
            self.idle = idle
        }
    }

    package typealias MakeHandler = @Sendable (Carrier) -> any ChannelHandler & RemovableChannelHandler

    package let channel: any Channel
    package let connections: ConnectionPlaces

    package var port: Int { channel.localAddress?.port ?? 0 }

    /// - Parameters:
    ///   - tls: the context of the moment, asked for by every connection, that offers `h2` and `http/1.1`; nil for plain
    ///     HTTP/1.1.
    ///   - places: how many connections there may be.
    ///   - makeHandler: the request handler of one connection or stream.
    /// - Throws: `MeshError` with a message that names the address when it cannot be bound.
    package static func bind(
        group: any EventLoopGroup, host: String, port: Int, tls: (@Sendable () -> NIOSSLContext)?,
        upgrade: @escaping Upgrade,
        places: ConnectionPlaces.Bounds = .buyersAndWorkers(), timing: Timing = Timing(),
        makeHandler: @escaping MakeHandler
    ) async throws -> HTTPListener {
        let connections = ConnectionPlaces(places)
        let channel = try await bootstrap(group, connections, tls: tls, upgrade, timing, makeHandler)
            .bind(host: host, port: port).get()
        return HTTPListener(channel: channel, connections: connections)
    }

    /// The same routes on a Unix socket that only this user can open. Its places are its own: whatever happens at the
    /// other listener, the operator gets in.
    package static func bind(
        group: any EventLoopGroup, unixSocketPath: String, makeHandler: @escaping MakeHandler
    ) async throws -> HTTPListener {
        let places = Limits.operatorConnections
        let connections = ConnectionPlaces(
            .init(connections: places, newcomers: places, newcomersPerAddress: places))
        let none: Upgrade = { channel, _ in channel.eventLoop.makeSucceededFuture(.notOffered) }
        let channel = try await bootstrap(group, connections, tls: nil, none, Timing(), makeHandler)
            .bind(unixDomainSocketPath: unixSocketPath, cleanupExistingSocketFile: true).get()
        return HTTPListener(channel: channel, connections: connections)
    }

    private static func bootstrap(
        _ group: any EventLoopGroup, _ connections: ConnectionPlaces, tls: (@Sendable () -> NIOSSLContext)?,
        _ upgrade: @escaping Upgrade, _ timing: Timing, _ makeHandler: @escaping MakeHandler
    ) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4_096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            // A connection keeps its first buffer: thousands of idle workers need none of 2 KiB. Others' grow by themselves.
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 128, initial: 512, maximum: Limits.readBytes)
            )
            .childChannelOption(
                .writeBufferWaterMark,
                value: .init(low: Limits.streamBufferBytes / 8, high: Limits.streamBufferBytes / 4)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let place = connections.admit(channel) else { throw ChannelError.ioOnClosedChannel }
                    guard let tls else {
                        return try configureHTTP1(channel, place, upgrade, timing, makeHandler)
                    }
                    try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls()))
                    // Until the handshake is over, nobody else watches this connection.
                    let deadline = channel.eventLoop.scheduleTask(in: timing.tls) {
                        channel.close(promise: nil)
                    }
                    let negotiation = channel.configureHTTP2SecureUpgrade(
                        h2ChannelConfigurator: { channel in
                            deadline.cancel()
                            return configureHTTP2(channel, place, timing, makeHandler)
                        },
                        http1ChannelConfigurator: { channel in
                            deadline.cancel()
                            return channel.eventLoop.makeCompletedFuture {
                                try configureHTTP1(channel, place, upgrade, timing, makeHandler)
                            }
                        })
                    negotiation.whenFailure { _ in channel.close(promise: nil) }
                }
            }
    }

    /// What an HTTP/1.1 connection is read and written with.
    /// - Parameter hasLane: false: by the library alone.
    package static func configureHTTP1(
        _ channel: any Channel, _ place: ConnectionPlace, _ upgrade: @escaping Upgrade, _ timing: Timing,
        hasLane: Bool = true, _ makeHandler: MakeHandler
    ) throws {
        let watch = HeadWatch(deadline: timing.head)
        let lane = PlainLane(watch, isOpen: hasLane)
        let handler = makeHandler(Carrier(kind: .connection, place: place, lane: lane))
        lane.receiver = handler as? any RequestPartReceiver
        let watchers = (bytes: HeadWatchBytes(watch, lane), parts: HeadWatchParts(watch, lane))
        let boundWatch = NIOLoopBound(watch, eventLoop: channel.eventLoop)
        // Who was admitted is not asked for again behind the upgrade.
        let admitted = NIOLoopBoundBox<UpgradeVerdict.Accept?>(nil, eventLoop: channel.eventLoop)
        let webSocket = WebSocketUpgrader(
            judge: { channel, head in
                // The head is whole; what its judgement takes is no fault of the client's.
                boundWatch.value.disarm()
                return upgrade(channel, head).map { verdict in
                    switch verdict {
                    case .admitted(let accept):
                        admitted.value = accept
                        return HTTPHeaders()
                    case .notOffered: return nil
                    case .refused(let error):
                        channel.pipeline.fireUserInboundEventTriggered(UpgradeRefused(error: error))
                        return nil
                    }
                }
            },
            upgraded: { channel in
                defer { admitted.value = nil }
                try admitted.value?(channel)
                place.prove()
            })
        let removed = NIOLoopBound(
            [handler, watchers.bytes, watchers.parts] as [any RemovableChannelHandler], eventLoop: channel.eventLoop)
        try channel.pipeline.syncOperations.addHandler(watchers.bytes)
        try channel.pipeline.syncOperations.configureHTTPServerPipeline(
            withPipeliningAssistance: true,
            withServerUpgrade: (
                upgraders: [webSocket],
                completionHandler: { context in
                    for handler in removed.value {
                        context.pipeline.syncOperations.removeHandler(handler, promise: nil)
                    }
                }
            ),
            withErrorHandling: true,
            // The few values that are not this program's own (content types, names) are checked where they come in.
            withOutboundHeaderValidation: false)
        try channel.pipeline.syncOperations.addHandlers(watchers.parts, handler)
    }

    private static func configureHTTP2(
        _ channel: any Channel, _ place: ConnectionPlace, _ timing: Timing, _ makeHandler: @escaping MakeHandler
    ) -> EventLoopFuture<Void> {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: 256),
            HTTP2Setting(parameter: .maxHeaderListSize, value: Limits.requestHeaderBytes),
        ]
        let settings = connection
        let watch = HTTP2Watch(channel.eventLoop, timing: timing)
        return channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandlers(HTTP2WatchBytes(watch), ReadSplitter())
            _ = try pipeline.configureHTTP2Pipeline(
                mode: .server, connectionConfiguration: settings, streamConfiguration: .init()
            ) { stream in
                watch.opened(stream)
                return stream.eventLoop.makeCompletedFuture {
                    try stream.pipeline.syncOperations.addHandlers(
                        HTTP2FramePayloadToHTTP1ServerCodec(), makeHandler(Carrier(kind: .stream, place: place)))
                }
            }
            try pipeline.addHandler(HTTP2WatchFrames(watch))
        }
    }
}

/// What becomes of a request for a WebSocket.
package enum UpgradeVerdict: Sendable {
    /// Adds the session's handlers to the upgraded connection, which carries bytes.
    package typealias Accept = @Sendable (any Channel) throws -> Void

    case admitted(accept: Accept)
    /// There are no WebSockets at this path: a request like any other.
    case notOffered
    case refused(MeshError)
}

/// Told to the request handler in front of a request whose upgrade was refused: that request's answer.
package struct UpgradeRefused: Sendable {
    package let error: MeshError
}
