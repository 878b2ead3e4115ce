package import AsyncHTTPClient
import MeshModel
package import NIOCore
import NIOHTTP1
import NIOHTTPCompression
import NIOSSL

/// The connections to one backend: kept ones, and for what must not meet one that the backend is just closing, new ones.
package struct BackendClient: BackendConnections {
    private let kept: HTTPClient
    private let fresh: HTTPClient

    package init(group: any EventLoopGroup) { self.init(group: group, dialling: [:]) { _ in nil } }

    /// Quick to notice that nobody listens, patient with models that think.
    /// - Parameters:
    ///   - dialling: the address to dial for a host, in place of asking for its name.
    ///   - refusal: why a connection to that peer is not to be used.
    init(
        group: any EventLoopGroup, tls: TLSConfiguration? = nil, dialling: [String: String],
        refusal: @escaping @Sendable (SocketAddress?) -> (any Error)?
    ) {
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .milliseconds(Limits.workerBackendConnectMs)
        configuration.timeout.read = .milliseconds(Limits.workerBackendIdleMs)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Limits.workerAgentRequestsAtOnce
        configuration.connectionPool.retryConnectionEstablishment = false
        // Followed by hand, where that is safe: the client would take the buyer's words and the key to other places.
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        configuration.decompression = .enabled(limit: .size(Limits.workerBackendInflatedBytes))
        configuration.dnsOverride = dialling
        configuration.tlsConfiguration = tls
        configuration.http1_1ConnectionDebugInitializer = { channel in
            channel.eventLoop.submit {
                if let refusal = refusal(channel.remoteAddress) {
                    // The client lets go of it, and does not close it.
                    channel.close(promise: nil)
                    throw refusal
                }
                let pipeline = channel.pipeline.syncOperations
                let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPResponseDecoder>.self)
                try pipeline.addHandler(BackendConnection(), position: .after(decoder))
            }
        }
        kept = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
        fresh = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    }

    package func answer<Value: Sendable>(
        to request: HTTPClientRequest, isOnce: Bool, _ read: (HTTPClientResponse) async -> Value
    ) async throws -> Value {
        await read(try await execute(request, isOnce: isOnce))
    }

    /// - Parameter isOnce: the request cannot be sent a second time, and so goes over a new connection.
    /// - Returns: the answer's head; its body is still to come.
    func execute(_ request: HTTPClientRequest, isOnce: Bool) async throws -> HTTPClientResponse {
        var last = request
        last.headers.replaceOrAdd(name: "connection", value: "close")
        guard !isOnce else { return try await fresh.execute(last, deadline: .distantFuture) }
        do { return try await kept.execute(request, deadline: .distantFuture) } catch {
            guard Self.isStale(error), !Task.isCancelled else { throw error }
            return try await fresh.execute(last, deadline: .distantFuture)
        }
    }

    /// Whether a kept connection ended before a byte of the answer: the backend's own limit for idle ones was up, and
    /// what crossed its farewell was not taken by anybody.
    private static func isStale(_ error: any Error) -> Bool {
        if let lost = error as? BackendConnection.Lost { return lost.isReused }
        // Found closed before anything was sent.
        if let error = error as? ChannelError { return error == .ioOnClosedChannel }
        return (error as? HTTPClientError) == .remoteConnectionClosed
    }

    package func shutdown() async throws {
        try await kept.shutdown()
        try await fresh.shutdown()
    }
}

/// Watches one connection between the HTTP codec and the client: which loss is that of a kept connection, and that an
/// answer counts although its request could not be sent to its end.
final class BackendConnection: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias InboundOut = HTTPClientResponsePart
    typealias OutboundIn = HTTPClientRequestPart
    typealias OutboundOut = HTTPClientRequestPart

    /// The connection ended after a request and before anything of its answer.
    struct Lost: Error, Hashable {
        /// Whether another request was answered on it before.
        var isReused: Bool
    }

    /// A coding that was not asked for and that nobody here can read.
    struct UnknownCoding: Error, Hashable {
        var names: String
    }

    private var requests = 0
    private var isWaiting = false

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head:
            requests += 1
            isWaiting = true
            context.write(data, promise: promise)
        case .body: context.write(data, promise: promise)
        case .end:
            // A backend may answer a body that it does not want, and close: what could not be written then is no reason
            // to forget the answer. If there is none, the end of the connection tells.
            context.write(data, promise: nil)
            promise?.succeed()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isWaiting = false
        guard case .head(var head) = unwrapInboundIn(data), head.headers.contains(name: "content-encoding") else {
            return context.fireChannelRead(data)
        }
        let codings = Self.codings(head)
        guard codings.isEmpty || codings == ["gzip"] || codings == ["deflate"] else {
            return context.fireErrorCaught(UnknownCoding(names: codings.joined(separator: ", ")))
        }
        head.headers.remove(name: "content-encoding")
        if let coding = codings.first { head.headers.add(name: "content-encoding", value: coding) }
        context.fireChannelRead(wrapInboundOut(.head(head)))
    }

    /// How the body is coded, in the spelling that the decoder knows (RFC 9110, section 8.4.1: `x-gzip` is `gzip`, names
    /// have no case). Nothing is coded in no way.
    private static func codings(_ head: HTTPResponseHead) -> [String] {
        let isEmpty = head.status == .noContent || head.headers.first(name: "content-length") == "0"
        guard !isEmpty else { return [] }
        return head.headers[canonicalForm: "content-encoding"].map { $0.lowercased() }.filter { $0 != "identity" }
            .map { $0 == "x-gzip" ? "gzip" : $0 }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard isWaiting, error is IOError else { return context.fireErrorCaught(error) }
        lost(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if isWaiting { lost(context) }
        context.fireChannelInactive()
    }

    private func lost(_ context: ChannelHandlerContext) {
        isWaiting = false
        context.fireErrorCaught(Lost(isReused: requests > 1))
    }
}
