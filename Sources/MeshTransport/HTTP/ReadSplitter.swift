import MeshModel
internal import NIOCore

/// Cuts large reads. The HTTP/2 decoder keeps a buffer as large as the largest read, and every piece of a paused stream's
/// answer that it gives away holds on to one of them: a megabyte for sixteen kilobytes, a hundred times over on a link with
/// slow buyers.
final class ReadSplitter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        while bytes.readableBytes > Limits.readPieceBytes, let piece = bytes.readSlice(length: Limits.readPieceBytes) {
            context.fireChannelRead(wrapInboundOut(piece))
        }
        context.fireChannelRead(wrapInboundOut(bytes))
    }
}
