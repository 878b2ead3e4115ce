import MeshModel
import MeshTestServers
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import Testing

import struct MeshTransport.TLSIdentity

@testable import MeshUpstream

/// Where an upstream's name may lead, and that nothing is sent where it may not.
@Suite struct GuardedConnectionsTests {
    /// Says of every name what the test wants, each time anew.
    private final class Names: HostResolver {
        private let answers: Mutex<[[String]]>
        private let asked = Mutex(0)

        /// - Parameter answers: one after the other; the last for good.
        init(_ answers: [[String]]) { self.answers = Mutex(answers) }

        var count: Int { asked.withLock { $0 } }

        func addresses(of host: String) throws -> [IPAddress] {
            asked.withLock { $0 += 1 }
            let next = answers.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
            guard !next.isEmpty else { throw HostResolverFailure(words: "no such name") }
            return next.compactMap { IPAddress($0) }
        }
    }

    private static func with(
        host: String, allowing ranges: [String] = [], resolver: any HostResolver, nameLifeMs: Int64 = 0,
        _ body: (_ backend: OpenAIBackend, _ raw: RawBackend) async throws -> Void
    ) async throws {
        let raw = RawBackend { _ in [.send(RawBackend.answer(200, "{}"))] }
        try await raw.start()
        let connections = GuardedConnections(
            host: host, rule: AddressRule(allowing: ranges.compactMap { IPRange($0) }), resolver: resolver,
            nameLifeMs: nameLifeMs, group: MultiThreadedEventLoopGroup.singleton)
        let shown = host.contains(":") ? "[\(host)]" : host
        let backend = OpenAIBackend(
            baseURL: "http://\(shown):\(raw.port)/v1", apiKey: "sk-1", client: connections)
        do { try await body(backend, raw) } catch {
            await connections.shutdown()
            await raw.stop()
            throw error
        }
        await connections.shutdown()
        await raw.stop()
    }

    private static func ask(_ backend: OpenAIBackend) async throws {
        try await backend.perform(
            BackendRequest(method: "POST", path: "/chat/completions", body: ByteBuffer(string: "{}"))
        ) { _ in }
    }

    private static func refusal(_ backend: OpenAIBackend) async -> BackendFailure? {
        do {
            try await ask(backend)
            return nil
        } catch { return error as? BackendFailure }
    }

    @Test(arguments: [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "::1", "0.0.0.0",
    ])
    func aNameThatLeadsHereIsNotFollowed(address: String) async throws {
        try await Self.with(host: "upstream.test", resolver: Names([[address]])) { backend, raw in
            let failure = await Self.refusal(backend)
            #expect(failure?.code == "backend_forbidden" && failure?.message == "no connection to its backend")
            #expect(failure?.detail.contains("upstream.allow_private_addresses") == true, "\(failure?.detail ?? "")")
            #expect(raw.connections == 0)
        }
    }

    @Test func theMachinesOwnNamesAreJudgedToo() async throws {
        for host in ["localhost", "127.1", "2130706433", "0x7f000001", "127.0.0.1", "::1"] {
            try await Self.with(host: host, resolver: SystemHostResolver()) { backend, raw in
                let failure = await Self.refusal(backend)
                #expect(failure?.code == "backend_forbidden", "\(host): \(failure?.detail ?? "answered")")
                #expect(raw.connections == 0)
            }
        }
    }

    @Test func whatIsNamedIsDialledByItsNameAndAddress() async throws {
        let names = Names([["127.0.0.1"]])
        try await Self.with(host: "upstream.test", allowing: ["127.0.0.0/8"], resolver: names, nameLifeMs: 60_000) {
            backend, raw in
            for _ in 0..<3 { try await Self.ask(backend) }
            #expect(raw.requests.map { $0.headers["host"] } == Array(repeating: "upstream.test:\(raw.port)", count: 3))
            #expect(names.count == 1 && raw.connections == 1)
        }
    }

    /// First it leads where it may, then elsewhere: not even a connection that is there is used then.
    @Test func aNameThatIsBoundAnewIsJudgedAnew() async throws {
        let names = Names([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]])
        try await Self.with(host: "upstream.test", allowing: ["127.0.0.1"], resolver: names) { backend, raw in
            try await Self.ask(backend)
            let failure = await Self.refusal(backend)
            #expect(failure?.code == "backend_forbidden")
            #expect(raw.requests.count == 1)
            try await Self.ask(backend)
            #expect(raw.requests.count == 2)
        }
    }

    /// Of several, those that may not be dialled are not, and one where nobody is leads to the next.
    @Test func ofSeveralTheNextIsTried() async throws {
        let names = Names([["10.0.0.1", "127.0.0.9", "127.0.0.1"]])
        try await Self.with(host: "upstream.test", allowing: ["127.0.0.0/8"], resolver: names) { backend, raw in
            for _ in 0..<2 { try await Self.ask(backend) }
            #expect(raw.requests.count == 2)
        }
    }

    @Test func aNameThatNobodyHasIsSaid() async throws {
        try await Self.with(host: "upstream.test", resolver: Names([[]])) { backend, _ in
            let failure = await Self.refusal(backend)
            #expect(failure?.code == "backend_unreachable" && failure?.detail.contains("no such name") == true)
        }
    }

    /// Whatever made a connection: its other end is looked at before anything is sent.
    @Test func aConnectionThatLeadsElsewhereIsNotUsed() async throws {
        let raw = RawBackend { _ in [.send(RawBackend.answer(200, "{}"))] }
        try await raw.start()
        let addresses = HostAddresses(host: "h", rule: AddressRule(), resolver: Names([["8.8.8.8"]]), lifeMs: 0)
        let client = BackendClient(group: MultiThreadedEventLoopGroup.singleton, dialling: ["h": "127.0.0.1"]) {
            addresses.refusal(of: $0)
        }
        let backend = OpenAIBackend(baseURL: "http://h:\(raw.port)/v1", apiKey: nil, client: client)
        let failure = await Self.refusal(backend)
        #expect(failure?.code == "backend_forbidden" && raw.requests.isEmpty)
        try await client.shutdown()
        await raw.stop()
    }

    /// The certificate is asked for by the name, whatever address is dialled.
    @Test func overTLSTheNameIsWhatIsProven() async throws {
        let identity = try TLSIdentity.ephemeral()
        let server = try NIOSSLContext(
            configuration: .makeServerConfiguration(
                certificateChain: [.certificate(identity.certificate)], privateKey: .privateKey(identity.privateKey)))
        let bound = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([
                        NIOSSLServerHandler(context: server), Whatever(),
                    ])
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = bound.localAddress?.port ?? 0
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates([identity.certificate])
        let rule = AddressRule(allowing: [try #require(IPRange("127.0.0.1"))])
        for (host, isItsName) in [("aisbf-mesh-link", true), ("upstream.test", false)] {
            let connections = GuardedConnections(
                host: host, rule: rule, resolver: Names([["127.0.0.1"]]), tls: tls,
                group: MultiThreadedEventLoopGroup.singleton)
            let backend = OpenAIBackend(baseURL: "https://\(host):\(port)/v1", apiKey: nil, client: connections)
            let failure = await Self.refusal(backend)
            #expect((failure == nil) == isItsName, "\(host): \(failure?.detail ?? "answered")")
            await connections.shutdown()
        }
        try await bound.close()
    }

    /// Answers `{}` to every piece that comes.
    private final class Whatever: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let answer = ByteBuffer(bytes: RawBackend.answer(200, "{}", type: nil, [("connection", "close")]))
            context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
        }
    }

    @Test func aRedirectIsNotFollowedForAnUpstream() async throws {
        let raw = RawBackend { _ in [.send(RawBackend.answer(307, "", [("location", "/v1/elsewhere")]))] }
        try await raw.start()
        let client = BackendClient(group: MultiThreadedEventLoopGroup.singleton)
        var settings = OpenAIBackend.Settings(baseURL: raw.url, keys: UpstreamKeys(["sk-1"], holdsBack: true))
        settings.followsRedirects = false
        let failure = await Self.refusal(OpenAIBackend(settings, connections: client))
        #expect(failure?.code == "backend_redirect" && raw.requests.count == 1)
        try await client.shutdown()
        await raw.stop()
    }
}
