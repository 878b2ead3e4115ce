import FoundationEssentials
import MeshCrypto
import MeshGossip
import MeshModel
import MeshTransport
import MeshWire
import NIOCore
import NIOPosix
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

func wallNow() -> Now {
    var wall = timespec()
    var monotonic = timespec()
    clock_gettime(CLOCK_REALTIME, &wall)
    clock_gettime(CLOCK_MONOTONIC, &monotonic)
    return Now(
        instant: Instant(nanoseconds: Int64(monotonic.tv_sec) * 1_000_000_000 + Int64(monotonic.tv_nsec)),
        wall: Timestamp(milliseconds: Int64(wall.tv_sec) * 1_000 + Int64(wall.tv_nsec) / 1_000_000))
}

/// Polls until `condition` holds; records an issue when it does not within `seconds`.
func eventually(
    _ what: Comment, seconds: Int = 15, sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: @Sendable () -> Bool
) async {
    let clock = ContinuousClock()
    let deadline = clock.now.advanced(by: .seconds(seconds))
    while clock.now < deadline {
        if condition() { return }
        try? await clock.sleep(for: .milliseconds(5))
    }
    Issue.record(what, sourceLocation: sourceLocation)
}

/// Keeps what a link delegate hears.
final class LinkLog: LinkDelegate {
    struct State {
        var established: [Link] = []
        /// Never deals with a frame, as a control loop that has fallen behind.
        var holdsFrames = false
        var tickets: [FrameTicket] = []
        var knocks: [LinkKnock] = []
        var frames: [Aisbf_Mesh_V1_LinkFrame] = []
        var closed: [LinkFailure] = []
        var dialFailures: [LinkFailure] = []
        var acceptFailures: [LinkFailure] = []
        var forwards: [IncomingForward] = []
    }

    let state = Mutex(State())
    let serve: @Sendable (IncomingForward) -> Void
    private let linked: @Sendable (Link) -> Void

    init(linked: @escaping @Sendable (Link) -> Void = { _ in }, serve: @escaping @Sendable (IncomingForward) -> Void) {
        self.linked = linked
        self.serve = serve
    }

    func read<Value: Sendable>(_ body: (State) -> Value) -> Value { state.withLock { body($0) } }

    func linkEstablished(_ link: Link, descriptor: VerifiedRecord, clockOffsetMs: Int64) {
        state.withLock { $0.established.append(link) }
        linked(link)
    }
    func linkFrame(_ link: Link, _ frame: Aisbf_Mesh_V1_LinkFrame, _ ticket: FrameTicket) {
        state.withLock {
            $0.frames.append(frame)
            if $0.holdsFrames { $0.tickets.append(ticket) }
        }
    }
    func linkClosed(_ link: Link, reason: LinkFailure) { state.withLock { $0.closed.append(reason) } }
    func dialFailed(address: String, expected: PublicKey?, reason: LinkFailure, byPeer: Bool) {
        state.withLock { $0.dialFailures.append(reason) }
    }
    func acceptFailed(remote: String, reason: LinkFailure, knock: LinkKnock?) {
        state.withLock {
            $0.acceptFailures.append(reason)
            if let knock { $0.knocks.append(knock) }
        }
    }
    func forwardArrived(_ forward: IncomingForward) {
        state.withLock { $0.forwards.append(forward) }
        serve(forward)
    }
}

/// Keeps what a forward's caller hears.
final class AnswerLog: ForwardReceiver {
    struct State {
        var status: Int?
        var body: [UInt8] = []
        var ends: [ForwardFailure?] = []
        /// Signs that the peer is at work.
        var waits = 0
        var trailers: [HeaderField] = []
    }

    let state = Mutex(State())

    func read<Value: Sendable>(_ body: (State) -> Value) -> Value { state.withLock { body($0) } }
    func forwardWaits() { state.withLock { $0.waits += 1 } }
    func forwardHead(status: Int, headers: [HeaderField]) { state.withLock { $0.status = status } }
    func forwardBody(_ bytes: ByteBuffer) { state.withLock { $0.body += bytes.readableBytesView } }
    func forwardEnded(_ failure: ForwardFailure?, trailers: [HeaderField]) {
        state.withLock {
            $0.ends.append(failure)
            $0.trailers = trailers
        }
    }
}

/// A node with real sockets on 127.0.0.1.
struct LinkNode {
    static let network = NetworkID(Bytes16(high: 1, low: 2))

    let key: SigningKey
    let log: LinkLog
    let endpoint: LinkEndpoint
    let port: Int

    var address: String { "127.0.0.1:\(port)" }

    static func start(
        network: NetworkID = network, admission: LinkAdmission = LinkAdmission(isOpen: true), wrongPin: Bool = false,
        timing: LinkEndpoint.Timing = .init(), protocols: [LinkProtocol] = LinkProtocol.allCases,
        shows: @escaping @Sendable () -> Bool = { true }, linked: @escaping @Sendable (Link) -> Void = { _ in },
        serve: @escaping @Sendable (IncomingForward) -> Void = { _ in }
    ) async throws -> LinkNode {
        let key = SigningKey.random()
        let identity = try TLSIdentity.ephemeral()
        var body = Aisbf_Mesh_V1_NodeDescriptor()
        body.name = "node"
        body.tlsSpkiPins = [Data(wrongPin ? [UInt8](repeating: 7, count: 32) : identity.spkiHash)]
        let wall = wallNow().wall
        let descriptor = RecordDraft(
            type: .nodeDescriptor, network: network, signer: key.publicKey, name: [],
            version: RecordVersion(epoch: RecordVersion.epoch(at: wall), sequence: 1), issued: wall,
            expires: wall.advanced(byMilliseconds: 3_600_000), body: RecordBody.bytes(of: body)
        ).signed(by: key, cryptography: Sodium.shared)
        let log = LinkLog(linked: linked, serve: serve)
        let endpoint = try LinkEndpoint(
            configuration: .init(
                signer: key, network: network, cryptography: Sodium.shared, identity: identity, admission: admission,
                descriptor: { shows() ? descriptor : [] }, now: wallNow, timing: timing,
                protocols: protocols),
            group: MultiThreadedEventLoopGroup.singleton, delegate: log)
        let port = try await endpoint.bind(host: "127.0.0.1", port: 0).get()
        return LinkNode(key: key, log: log, endpoint: endpoint, port: port)
    }

    /// Two nodes with a link from the first to the second.
    static func pair(
        _ way: LinkProtocol = .frames, serve: @escaping @Sendable (IncomingForward) -> Void = { _ in }
    ) async throws -> (LinkNode, LinkNode, Link) {
        let dialler = try await start(protocols: [way], serve: serve)
        let server = try await start(protocols: [way], serve: serve)
        dialler.endpoint.dial(address: server.address, expected: server.key.publicKey)
        await eventually("no link") {
            dialler.endpoint.link(to: server.key.publicKey) != nil && server.log.read { $0.established.count } == 1
        }
        let link = try #require(dialler.endpoint.link(to: server.key.publicKey))
        return (dialler, server, link)
    }

    func stop() async { try? await endpoint.shutdown().get() }
}
