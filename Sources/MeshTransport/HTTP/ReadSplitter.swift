internal import NIOCore

/// Cuts large reads. The HTTP/2 decoder keeps a buffer as large as the largest read, and every piece of a paused stream's
/// answer that it gives away holds on to one of them: a megabyte for sixteen kilobytes, a hundred times over on a link with
/// slow buyers.
final class ReadSplitter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private static let pieceBytes = 16_384

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        while bytes.readableBytes > Self.pieceBytes, let piece = bytes.readSlice(length: Self.pieceBytes) {
            context.fireChannelRead(wrapInboundOut(piece))
        }
        context.fireChannelRead(wrapInboundOut(bytes))
    }
}
