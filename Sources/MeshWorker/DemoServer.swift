import MeshModel
package import MeshUpstream
import MeshWire
package import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle

/// A backend behind a plain HTTP listener, as an OpenAI-compatible server would be: something to sell as a provider of kind
/// `openai` on a machine that has no such server.
package struct DemoServer: Service {
    private let backend: any Backend
    private let host: String
    private let port: Int
    private let key: String?
    private let eventLoopGroup: any EventLoopGroup
    private let listening: @Sendable (_ port: Int) -> Void

    /// - Parameters:
    ///   - port: 0 for any.
    ///   - key: what requests have to show as `Authorization: Bearer`; nil: nothing.
    ///   - listening: called with the port once requests are taken.
    package init(
        _ backend: any Backend, host: String = "127.0.0.1", port: Int, key: String? = nil,
        eventLoopGroup: any EventLoopGroup, listening: @escaping @Sendable (_ port: Int) -> Void = { _ in }
    ) {
        self.backend = backend
        self.host = host
        self.port = port
        self.key = key
        self.eventLoopGroup = eventLoopGroup
        self.listening = listening
    }

    private typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPPart<HTTPResponseHead, ByteBuffer>>

    package func run() async throws {
        let server = try await ServerBootstrap(group: eventLoopGroup)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .bind(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(ResponseParts())
                    return try Connection(wrappingChannelSynchronously: channel)
                }
            }
        listening(server.channel.localAddress?.port ?? port)
        try await withGracefulShutdownHandler {
            try await server.executeThenClose { connections in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await connection in connections {
                        group.addTask { await serve(connection) }
                    }
                    group.cancelAll()
                }
            }
        } onGracefulShutdown: {
            server.channel.close(promise: nil)
        }
    }

    /// One connection, request after request. What goes wrong with it is its client's affair.
    private func serve(_ connection: Connection) async {
        try? await connection.executeThenClose { inbound, outbound in
            var head: HTTPRequestHead?
            var body = ByteBuffer()
            for try await part in inbound {
                switch part {
                case .head(let next): (head, body) = (next, ByteBuffer())
                case .body(var bytes):
                    guard body.readableBytes + bytes.readableBytes <= Limits.requestBodyBytes else { return }
                    body.writeBuffer(&bytes)
                case .end:
                    guard let head else { return }
                    try await answer(head, body, outbound)
                }
            }
        }
    }

    private func answer(
        _ head: HTTPRequestHead, _ body: ByteBuffer,
        _ outbound: NIOAsyncChannelOutboundWriter<HTTPPart<HTTPResponseHead, ByteBuffer>>
    ) async throws {
        guard isAdmitted(head) else {
            return try await refuse(401, "invalid_api_key", "the key is not the one of this server", outbound)
        }
        let parts = head.uri.split(separator: "?", maxSplits: 1).map(String.init)
        guard let path = parts.first, path.hasPrefix("/v1/") else {
            return try await refuse(404, "not_found", "the API is below /v1", outbound)
        }
        var request = BackendRequest(
            method: head.method.rawValue, path: String(path.dropFirst(3)),
            contentType: head.headers.first(name: "content-type") ?? "application/json",
            body: body.readableBytes > 0 ? body : nil)
        request.query = (parts.count > 1 ? parts[1] : "").split(separator: "&").map { pair in
            let words = pair.split(separator: "=", maxSplits: 1).map(String.init)
            return (words.first ?? "", words.count > 1 ? words[1] : "")
        }
        try await backend.perform(request) { part in
            switch part {
            case .words: break
            case .head(let status, let headers, let contentType, let length):
                var answer = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status))
                for header in headers { answer.headers.add(name: header.name, value: header.value) }
                answer.headers.replaceOrAdd(name: "content-type", value: contentType)
                if let length { answer.headers.replaceOrAdd(name: "content-length", value: String(length)) }
                try await outbound.write(.head(answer))
            case .body(let bytes): try await outbound.write(.body(bytes))
            }
        }
        try await outbound.write(.end(nil))
    }

    private func isAdmitted(_ head: HTTPRequestHead) -> Bool {
        guard let key else { return true }
        return head.headers.first(name: "authorization") == "Bearer \(key)"
    }

    private func refuse(
        _ status: Int, _ code: String, _ message: String,
        _ outbound: NIOAsyncChannelOutboundWriter<HTTPPart<HTTPResponseHead, ByteBuffer>>
    ) async throws {
        let document = errorDocument(message: message, type: "invalid_request_error", code: code)
        var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status))
        head.headers.add(name: "content-type", value: "application/json")
        try await outbound.write(.head(head))
        try await outbound.write(.body(ByteBuffer(bytes: document.bytes)))
        try await outbound.write(.end(nil))
    }
}

/// The answer's bytes as the encoder takes them: what is written from a task has to be `Sendable`.
private final class ResponseParts: ChannelOutboundHandler {
    typealias OutboundIn = HTTPPart<HTTPResponseHead, ByteBuffer>
    typealias OutboundOut = HTTPServerResponsePart

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part: HTTPServerResponsePart =
            switch unwrapOutboundIn(data) {
            case .head(let head): .head(head)
            case .body(let bytes): .body(.byteBuffer(bytes))
            case .end(let trailers): .end(trailers)
            }
        context.write(wrapOutboundOut(part), promise: promise)
    }
}
