import MeshTransport
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A value that several threads change.
final class MutexBox<Value: Sendable>: Sendable {
    private let box: Mutex<Value>

    init(_ value: Value) { box = Mutex(value) }

    var value: Value { box.withLock { $0 } }
    func update(_ body: @Sendable (inout Value) -> Void) { box.withLock { body(&$0) } }
}

/// Speaks TLS to a link port and then whatever it likes: HTTP/2 by hand.
struct RawLinkPeer: Sendable {
    enum Behaviour: String, CaseIterable, Sendable {
        /// TLS, and no preface.
        case silent
        /// The preface and nothing else.
        case preface
        /// The preface, then PINGs.
        case pings
        /// A HEADERS frame without END_HEADERS.
        case openHeaders
        /// The link stream, and no hello.
        case linkStream
        /// A stream that a stranger has no business opening.
        case forward
    }

    let channel: any Channel
    private let bytes: MutexBox<[UInt8]>

    static func connect(port: Int, _ behaviour: Behaviour) async throws -> RawLinkPeer {
        let identity = try TLSIdentity.ephemeral()
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        configuration.certificateChain = [.certificate(identity.certificate)]
        configuration.privateKey = .privateKey(identity.privateKey)
        configuration.applicationProtocols = ["h2"]
        let context = try NIOSSLContext(configuration: configuration)
        let bytes = MutexBox<[UInt8]>([])
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        NIOSSLClientHandler(context: context, serverHostname: nil), Keeper(bytes: bytes))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        let peer = RawLinkPeer(channel: channel, bytes: bytes)
        peer.speak(behaviour)
        return peer
    }

    func ping() { write(Self.frame(type: 6, flags: 0, stream: 0, Array(repeating: 1, count: 8))) }

    func received(contains part: [UInt8]) -> Bool {
        let all = bytes.value
        guard all.count >= part.count else { return false }
        return (0...(all.count - part.count)).contains { all[$0..<($0 + part.count)].elementsEqual(part) }
    }

    private func speak(_ behaviour: Behaviour) {
        if behaviour == .silent { return }
        write(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Self.frame(type: 4, flags: 0, stream: 0, []))
        switch behaviour {
        case .silent, .preface: break
        case .pings: for _ in 0..<20 { ping() }
        case .openHeaders: write(Self.frame(type: 1, flags: 0, stream: 1, [0x83]))
        case .linkStream: write(Self.headers(path: "/mesh/v1/link"))
        case .forward: write(Self.headers(path: "/mesh/v1/forward"))
        }
    }

    /// POST, https, the path as a literal that is not indexed, an authority.
    private static func headers(path: String) -> [UInt8] {
        let block: [UInt8] =
            [0x83, 0x87, 0x04, UInt8(path.utf8.count)] + Array(path.utf8) + [0x01, 4] + Array("mesh".utf8)
        return frame(type: 1, flags: 4, stream: 1, block)
    }

    private static func frame(type: UInt8, flags: UInt8, stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [0, 0, UInt8(payload.count), type, flags, 0, 0, 0, stream] + payload
    }

    private func write(_ bytes: [UInt8]) { channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }

    private final class Keeper: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        private let bytes: MutexBox<[UInt8]>

        init(bytes: MutexBox<[UInt8]>) { self.bytes = bytes }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let new = Array(unwrapInboundIn(data).readableBytesView)
            bytes.update { $0 += new }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
