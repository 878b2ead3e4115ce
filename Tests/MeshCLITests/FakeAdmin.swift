import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// An admin API that answers every request with one status and body, on a Unix socket.
final class FakeAdmin: Sendable {
    let directory: String
    private let channel: any Channel

    init(status: Int, body: String) async throws {
        let directory = "/tmp/aisbf-t-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        self.directory = directory
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Answer(status: status, body: body))
                }
            }
            .bind(unixDomainSocketPath: "\(directory)/admin.sock").get()
    }

    var socket: String { "\(directory)/admin.sock" }

    func stop() async throws {
        try await channel.close().get()
        try? FileManager.default.removeItem(atPath: directory)
    }

    private final class Answer: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart
        let status: Int
        let body: String
        private var path = ""

        init(status: Int, body: String) {
            self.status = status
            self.body = body
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): path = head.uri
            case .body: break
            case .end:
                let text = body.replacing("PATH", with: path)
                let headers = HTTPHeaders([("content-length", "\(text.utf8.count)")])
                let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers)
                context.write(wrapOutboundOut(.head(head)), promise: nil)
                context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }
}
