import FoundationEssentials
import MeshCrypto
import MeshGossip
import MeshModel
import MeshTransport
import MeshWire
import NIOCore
import NIOPosix
import NIOSSL
import Testing

/// A peer that proves who it is as every other does, and then sends what it likes in frames of `aisbf-link/2`.
final class RawFramePeer: Sendable {
    struct State: Sendable {
        var frames: [(head: StreamFrameHead, payload: [UInt8])] = []
        var isEstablished = false
    }

    let channel: any Channel
    private let state: MutexBox<State>

    var isEstablished: Bool { state.value.isEstablished }
    var frames: [(head: StreamFrameHead, payload: [UInt8])] { state.value.frames }

    private init(_ channel: any Channel, _ state: MutexBox<State>) {
        self.channel = channel
        self.state = state
    }

    /// - Parameter introduces: whether it shakes hands.
    static func connect(to node: LinkNode, introduces: Bool = true) async throws -> RawFramePeer {
        let identity = try TLSIdentity.ephemeral()
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        configuration.certificateChain = [.certificate(identity.certificate)]
        configuration.privateKey = .privateKey(identity.privateKey)
        configuration.applicationProtocols = [LinkProtocol.frames.rawValue]
        let context = try NIOSSLContext(configuration: configuration)
        let state = MutexBox(State())
        let handshake = introduces ? Self.handshake(identity, with: node) : nil
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        NIOSSLClientHandler(context: context, serverHostname: nil),
                        Speaker(state: state, handshake: handshake))
                }
            }
            .connect(host: "127.0.0.1", port: node.port).get()
        return RawFramePeer(channel, state)
    }

    private static func handshake(_ identity: TLSIdentity, with node: LinkNode) -> LinkHandshake {
        let key = SigningKey.random()
        var body = Aisbf_Mesh_V1_NodeDescriptor()
        body.name = "raw"
        body.tlsSpkiPins = [Data(identity.spkiHash)]
        let wall = wallNow().wall
        let descriptor = RecordDraft(
            type: .nodeDescriptor, network: LinkNode.network, signer: key.publicKey, name: [],
            version: RecordVersion(epoch: RecordVersion.epoch(at: wall), sequence: 1), issued: wall,
            expires: wall.advanced(byMilliseconds: 3_600_000), body: RecordBody.bytes(of: body)
        ).signed(by: key, cryptography: Sodium.shared)
        return LinkHandshake(
            configuration: .init(
                signer: key, network: LinkNode.network, cryptography: Sodium.shared, descriptor: descriptor,
                admission: LinkAdmission(isOpen: true)),
            isInitiator: true, nonce: Sodium.shared.randomBytes(LinkHandshake.nonceBytes),
            localSPKI: identity.spkiHash, peerSPKI: node.endpoint.spkiHash, expected: nil)
    }

    static func frame(_ head: StreamFrameHead, _ payload: [UInt8] = []) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: head.raw >> UInt64(56 - 8 * $0)) } + payload
    }

    static func open(_ stream: UInt64, path: String = "/mesh/v1/forward", isLast: Bool = true) -> [UInt8] {
        let fields = StreamFields(path: path).bytes ?? []
        return frame(StreamFrameHead(.open, stream: stream, length: fields.count, isLast: isLast), fields)
    }

    static func data(_ stream: UInt64, _ count: Int, isLast: Bool = false) -> [UInt8] {
        frame(StreamFrameHead(.data, stream: stream, length: count, isLast: isLast), Array(repeating: 1, count: count))
    }

    static func number(_ kind: StreamFrameHead.Kind, _ stream: UInt64, _ number: UInt32) -> [UInt8] {
        frame(StreamFrameHead(kind, stream: stream, length: 4), number.bigEndianBytes)
    }

    static func status(_ status: Int, _ stream: UInt64, isLast: Bool = false) -> [UInt8] {
        frame(
            StreamFrameHead(.fields, stream: stream, length: 4, isLast: isLast),
            [UInt8(truncatingIfNeeded: status >> 8), UInt8(truncatingIfNeeded: status), 0, 0])
    }

    func write(_ bytes: [UInt8]) { channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }

    private final class Speaker: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let state: MutexBox<State>
        private var handshake: LinkHandshake?
        private var buffer = ByteBuffer()
        private var decoder = LinkFrameCodec.Decoder()

        init(state: MutexBox<State>, handshake: LinkHandshake?) {
            self.state = state
            self.handshake = handshake
        }

        func channelActive(context: ChannelHandlerContext) {
            if let handshake { perform(handshake.opened(now: wallNow()), context) }
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var new = unwrapInboundIn(data)
            buffer.writeBuffer(&new)
            while let raw = buffer.getInteger(at: buffer.readerIndex, as: UInt64.self),
                let head = try? StreamFrameHead(raw: raw), buffer.readableBytes >= 8 + head.length
            {
                buffer.moveReaderIndex(forwardBy: 8)
                let payload = buffer.readBytes(length: head.length) ?? []
                state.update { $0.frames.append((head, payload)) }
                guard head.kind == .data, head.stream == 0, var handshake else { continue }
                decoder.append(payload)
                while let frame = try? decoder.next() { perform(handshake.handle(frame, now: wallNow()), context) }
                self.handshake = handshake
            }
        }

        private func perform(_ actions: [LinkHandshake.Action], _ context: ChannelHandlerContext) {
            for action in actions {
                switch action {
                case .send(let frame):
                    let bytes = LinkFrameCodec.bytes(of: frame) ?? []
                    let head = StreamFrameHead(.data, length: bytes.count)
                    context.writeAndFlush(
                        wrapOutboundOut(ByteBuffer(bytes: RawFramePeer.frame(head, bytes))), promise: nil)
                case .established: state.update { $0.isEstablished = true }
                case .failed, .knocked: break
                }
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
