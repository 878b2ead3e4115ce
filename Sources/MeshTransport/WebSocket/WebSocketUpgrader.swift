import NIOCore
import NIOHTTP1
import NIOWebSocket

/// The library's handshake (RFC 6455, section 4.2). Behind it the connection carries bytes: whoever takes it adds what cuts
/// them into frames.
final class WebSocketUpgrader: HTTPServerProtocolUpgrader {
    typealias Judge = @Sendable (any Channel, HTTPRequestHead) -> EventLoopFuture<HTTPHeaders?>

    let supportedProtocol = "websocket"
    /// Looked at by the handshake.
    let requiredUpgradeHeaders: [String] = []
    private let handshake: NIOWebSocketServerUpgrader
    private let upgraded: @Sendable (any Channel) throws -> Void

    /// - Parameters:
    ///   - judge: the headers of the answer; nil where there is no WebSocket.
    ///   - upgraded: adds the handlers of the socket.
    init(judge: @escaping Judge, upgraded: @escaping @Sendable (any Channel) throws -> Void) {
        handshake = NIOWebSocketServerUpgrader(
            shouldUpgrade: judge,
            upgradePipelineHandler: { channel, _ in channel.eventLoop.makeSucceededVoidFuture() })
        self.upgraded = upgraded
    }

    func buildUpgradeResponse(
        channel: any Channel, upgradeRequest: HTTPRequestHead, initialResponseHeaders: HTTPHeaders
    ) -> EventLoopFuture<HTTPHeaders> {
        handshake.buildUpgradeResponse(
            channel: channel, upgradeRequest: upgradeRequest, initialResponseHeaders: initialResponseHeaders)
    }

    func upgrade(context: ChannelHandlerContext, upgradeRequest: HTTPRequestHead) -> EventLoopFuture<Void> {
        let channel = context.channel
        return context.eventLoop.makeCompletedFuture { try upgraded(channel) }
    }
}
