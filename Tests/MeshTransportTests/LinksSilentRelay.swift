import NIOCore
import NIOPosix
import Synchronization

/// Passes bytes both ways until it is told to fall silent; its sockets stay open.
final class SilentRelay: Sendable {
    let port: Int
    private let channels: Channels

    private final class Channels: Sendable {
        let all = Mutex<[any Channel]>([])
    }

    private init(port: Int, channels: Channels) {
        self.port = port
        self.channels = channels
    }

    static func start(to target: Int) async throws -> SilentRelay {
        let channels = Channels()
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { inbound in
                ClientBootstrap(group: inbound.eventLoop).connect(host: "127.0.0.1", port: target).flatMap { outbound in
                    channels.all.withLock { $0 += [inbound, outbound] }
                    return inbound.pipeline.addHandler(Pipe(peer: outbound)).flatMap {
                        outbound.pipeline.addHandler(Pipe(peer: inbound))
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return SilentRelay(port: listener.localAddress?.port ?? 0, channels: channels)
    }

    func fallSilent() async {
        for channel in channels.all.withLock({ $0 }) { try? await channel.setOption(.autoRead, value: false).get() }
    }

    private final class Pipe: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        private let peer: any Channel

        init(peer: any Channel) { self.peer = peer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            peer.writeAndFlush(unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { peer.close(promise: nil) }
    }
}
