import Logging
import MeshExchange
import MeshGateway
import MeshModel
import MeshRouting
import MeshRuntime
import MeshSessions
import MeshTransport
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

/// A listener whose verdict on WebSockets the test decides.
struct VerdictServer {
    struct NoRoutes: ColdRoutes {
        func respond(_ request: Request, context: GatewayContext) async -> Response { .text("plain") }
    }

    struct NoNodes: RemoteDispatch {
        func isLinked(_ node: PublicKey) -> Bool { false }
        func forward(
            _ request: WorkRequest, to place: ForwardPlace, attempt: Int, receiver: any AnswerReceiver
        ) -> any AttemptHandle {
            preconditionFailure("nothing is reachable")
        }
    }

    var listener: HTTPListener
    var shared: GatewayContext

    init(
        keys: [APIKeyAccount] = [],
        _ admits: @escaping @Sendable (any Channel) -> EventLoopFuture<UpgradeVerdict>
    ) async throws {
        try await self.init(keys: keys) { channel, _, _ in admits(channel) }
    }

    init(
        keys: [APIKeyAccount],
        admits: @escaping @Sendable (any Channel, HTTPRequestHead, GatewayContext) -> EventLoopFuture<UpgradeVerdict>
    ) async throws {
        let key = PublicKey(.zero)
        let catalog = CatalogHolder(node: key)
        let sessions = SessionTable(
            metrics: WorkerMetrics(), catalog: catalog, logger: Logger(label: "test"))
        let dispatcher = Dispatcher(locals: [sessions], remotes: ForwardPlaces(remote: NoNodes()))
        let market = Market(
            book: MarketBook(), catalog: catalog, dispatcher: dispatcher, node: key, nodeOperator: key, seed: 1,
            logger: Logger(label: "test"))
        let authenticator = Authenticator()
        authenticator.load(keys: keys, users: [])
        let shared = GatewayContext(
            identity: NodeFacts(key: key, operatorKey: key, name: "solo"), authenticator: authenticator,
            catalog: catalog, dispatcher: dispatcher, market: market,
            deadlines: .init(), coldRoutes: NoRoutes(), metrics: GatewayMetrics())
        listener = try await HTTPListener.bind(
            group: MultiThreadedEventLoopGroup.singleton, host: "127.0.0.1", port: 0, tls: nil,
            upgrade: { channel, head in admits(channel, head, shared) }
        ) { GatewayHandler(shared: shared, carrier: $0) }
        self.shared = shared
    }

    func stop() async throws {
        try await listener.channel.close().get()
        listener.connections.closeAll()
    }
}

@Suite struct UpgradeVerdictTests {
    @Test func aRefusalSaysWhyAndWhenAndTheConnectionEnds() async throws {
        let server = try await VerdictServer { channel in
            channel.eventLoop.makeSucceededFuture(
                .refused(MeshError(.rateLimited, "later", retryAfterSeconds: 3, statusOverride: 503)))
        }
        let (reply, connection) = try await ScriptedWorker.dial(server.listener.port, path: "/ws", headers: [])
        #expect(reply.status == 503)
        #expect(reply.errorCode == "rate_limited")
        #expect(reply["retry-after"] == "3")
        #expect(reply["connection"] == "close")
        try await eventually("the end of the connection") { connection.isClosed }
        try await server.stop()
    }

    @Test func whatIsNotOfferedIsAPlainRequest() async throws {
        let server = try await VerdictServer { $0.eventLoop.makeSucceededFuture(.notOffered) }
        let (reply, connection) = try await ScriptedWorker.dial(server.listener.port, path: "/ws", headers: [])
        #expect(reply.status == 200 && reply.text == "plain" && reply["connection"] == "close")
        try await eventually("the end of the connection") { connection.isClosed }
        try await server.stop()
    }

    @Test func aVerdictMayTakeItsTimeAndFramesSentMeanwhileWait() async throws {
        let server = try await VerdictServer { channel in
            channel.eventLoop.scheduleTask(in: .milliseconds(100)) { UpgradeVerdict.admitted { _ in } }.futureResult
        }
        let (reply, connection) = try await ScriptedWorker.dial(server.listener.port, path: "/ws", headers: [])
        #expect(reply.status == 101)
        connection.close()
        // A client that leaves before the verdict does no harm.
        let gone = try await RawConnection.open(port: server.listener.port)
        gone.send(
            "GET /ws HTTP/1.1\r\nhost: node\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        gone.close()
        let (again, last) = try await ScriptedWorker.dial(server.listener.port, path: "/ws", headers: [])
        #expect(again.status == 101)
        last.close()
        try await server.stop()
    }
}
