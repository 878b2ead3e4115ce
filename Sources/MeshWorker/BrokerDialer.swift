import Foundation
import MeshModel
import MeshUpstream
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

typealias BrokerChannel = NIOAsyncChannel<WebSocketFrame, WebSocketFrame>

/// Why there is no session, in words for the seller.
struct DialFailure: Error, Sendable {
    var cause: BackOff.Cause
    var reason: String
}

/// Opens the outbound WebSocket. Identity travels in headers only: a query string ends up in proxies' logs.
struct BrokerDialer: Sendable {
    let configuration: WorkerConfiguration
    let group: any EventLoopGroup

    private enum Outcome: Sendable {
        case upgraded(BrokerChannel)
        case refused(EventLoopFuture<Refusal>)
    }

    func dial() async throws -> BrokerChannel {
        let endpoint = configuration.endpoint
        let tls = try endpoint.isTLS ? tlsContext() : nil
        let outcome: Outcome
        do {
            let upgrade = try await ClientBootstrap(group: group)
                .connectTimeout(.milliseconds(Limits.workerAgentDialMs))
                .connect(host: endpoint.host, port: endpoint.port) { channel in
                    channel.eventLoop.makeCompletedFuture { try configure(channel, tls: tls) }
                }
            outcome = try await upgrade.get()
        } catch let error as DialFailure {
            throw error
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw failure(error)
        }
        switch outcome {
        case .upgraded(let channel): return channel
        case .refused(let refusal):
            let refusal = try await refusal.get()
            throw DialFailure(cause: refusal.cause, reason: words(for: refusal))
        }
    }

    private func failure(_ error: any Error) -> DialFailure {
        let endpoint = configuration.endpoint
        // What a library says of a connection that ended, or that answers in another language, before the upgrade.
        if case .inappropriateOperationForState? = error as? ChannelError {
            return DialFailure(cause: .unreachable, reason: words(for: Refusal(status: 0, text: "")))
        }
        if error is HTTPParserError {
            let advice = endpoint.isTLS ? "" : "; if it speaks TLS, write https:// in broker.base_url"
            return DialFailure(
                cause: .unreachable, reason: "\(endpoint.description) answers with what is no HTTP\(advice)")
        }
        guard let tls = ConnectionWords.tlsText(error) else {
            let text = ConnectionWords.text(error, to: endpoint.description)
            let isHungUp = !endpoint.isTLS && text.contains("broke off")
            let advice = isHungUp ? ": if it speaks TLS, write https:// in broker.base_url" : ""
            return DialFailure(cause: .unreachable, reason: text + advice)
        }
        let isUntrusted = tls.contains("not trusted")
        let roots = configuration.tlsCAFile.map { "those in broker.tls_ca_file (\($0))" } ?? "the system's authorities"
        let advice =
            isUntrusted
            ? " by \(roots): ask the node's operator for the certificate of the authority that signed it, or for the"
                + " certificate itself where it is self-signed, and name the PEM file in broker.tls_ca_file"
            : "; see broker.base_url"
        return DialFailure(cause: .lost, reason: "\(endpoint.description): \(tls)\(advice)")
    }

    /// What is wrong when something answers that lets no worker in.
    private func words(for refusal: Refusal) -> String {
        let endpoint = configuration.endpoint
        let said = "HTTP \(refusal.status) \(refusal.text.cut(toUTF8Bytes: 300))"
        switch refusal.status {
        case 0 where !endpoint.isTLS:
            return "\(endpoint.description) closed the connection without an answer: if it speaks TLS, write https://"
                + " in broker.base_url"
        case 0: return "\(endpoint.description) closed the connection without an answer"
        case 400 where !endpoint.isTLS && refusal.text.lowercased().contains("https"):
            return "\(said): write https:// in broker.base_url"
        case 301, 302, 303, 307, 308:
            return "\(said): it redirects to \(refusal.location ?? "nowhere"); write that address in broker.base_url"
        case 404:
            return "\(said): there are no workers at \(endpoint.description); broker.base_url is the node's address,"
                + " with a path only where a proxy adds one"
        case 200..<300: return "\(said): no node of this mesh answers at \(endpoint.description); see broker.base_url"
        default: return said
        }
    }

    private func tlsContext() throws -> NIOSSLContext {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        tls.applicationProtocols = ["http/1.1"]
        if let file = configuration.tlsCAFile { tls.trustRoots = .file(file) }
        do { return try NIOSSLContext(configuration: tls) } catch {
            let reason =
                configuration.tlsCAFile == nil
                ? "this machine has no certificates of authorities: install ca-certificates, or name broker.tls_ca_file"
                : "broker.tls_ca_file holds no usable certificate: \(error)"
            throw DialFailure(cause: .refused, reason: reason)
        }
    }

    private func configure(_ channel: any Channel, tls: NIOSSLContext?) throws -> EventLoopFuture<Outcome> {
        if let tls {
            let host = configuration.endpoint.host
            let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
            let handler = try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : host)
            try channel.pipeline.syncOperations.addHandler(handler)
        }
        let deadline = UpgradeDeadline(after: .milliseconds(Limits.workerAgentHandshakeMs))
        try channel.pipeline.syncOperations.addHandler(deadline)
        let upgrader = NIOTypedWebSocketClientUpgrader<Outcome>(
            maxFrameSize: Limits.workerFrameBytes,
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.handler(type: UpgradeDeadline.self).cancel()
                    try pipeline.addHandler(
                        NIOWebSocketFrameAggregator(
                            minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: Limits.workerAgentFragments,
                            maxAccumulatedFrameSize: Limits.workerFrameBytes))
                    return .upgraded(try BrokerChannel(wrappingChannelSynchronously: channel))
                }
            })
        let upgrade = NIOTypedHTTPClientUpgradeConfiguration<Outcome>(
            upgradeRequestHead: requestHead(), upgraders: [upgrader],
            notUpgradingCompletionHandler: { channel in
                channel.eventLoop.makeCompletedFuture {
                    let promise = channel.eventLoop.makePromise(of: Refusal.self)
                    try channel.pipeline.syncOperations.addHandler(RefusalReader(promise))
                    return .refused(promise.futureResult)
                }
            })
        return try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(
            configuration: .init(upgradeConfiguration: upgrade))
    }

    private func requestHead() -> HTTPRequestHead {
        var headers = HTTPHeaders()
        headers.add(name: "host", value: configuration.endpoint.authority)
        headers.add(name: "user-agent", value: "aisbf-worker")
        headers.add(name: "x-coderai-provider-id", value: configuration.providerID)
        headers.add(name: "x-coderai-client-id", value: configuration.clientID)
        headers.add(name: "x-coderai-username", value: configuration.username)
        headers.add(name: "x-coderai-registration-token", value: configuration.registrationToken)
        return HTTPRequestHead(version: .http1_1, method: .GET, uri: configuration.endpoint.path, headers: headers)
    }
}

/// What the broker answered instead of 101.
struct Refusal: Sendable {
    var status: Int
    var text: String
    var retryAfterSeconds: Int64?
    var location: String?

    /// 503 and 429 with a time are a broker that has too much to do at the moment, not one that does not want us.
    var cause: BackOff.Cause {
        if status == 503 || status == 429, let seconds = retryAfterSeconds { return .busy(afterSeconds: seconds) }
        return (400..<500).contains(status) ? .refused : .lost
    }
}

private final class RefusalReader: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    private var promise: EventLoopPromise<Refusal>?
    private var status = 0
    private var retryAfterSeconds: Int64?
    private var location: String?
    private var body: [UInt8] = []

    init(_ promise: EventLoopPromise<Refusal>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            status = Int(head.status.code)
            retryAfterSeconds = head.headers.first(name: "retry-after").flatMap { Int64($0) }
            location = head.headers.first(name: "location").map { String($0.prefix(256)) }
        case .body(let part): body += part.readableBytesView.prefix(max(0, 1_024 - body.count))
        case .end:
            finish()
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelInactive(context: ChannelHandlerContext) {
        finish()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { finish() }

    private func finish() {
        let text = String(decoding: body, as: UTF8.self).filter { !$0.isNewline }
        promise?.succeed(
            Refusal(status: status, text: text, retryAfterSeconds: retryAfterSeconds, location: location))
        promise = nil
    }
}

/// Closes a connection whose upgrade does not come: a broker that accepts and says nothing.
private final class UpgradeDeadline: ChannelInboundHandler {
    typealias InboundIn = NIOAny
    private let amount: TimeAmount
    private var timer: Scheduled<Void>?

    init(after amount: TimeAmount) { self.amount = amount }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: amount) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { cancel() }
    func cancel() { timer?.cancel() }
}
