import MeshWire
package import NIOCore
package import NIOWebSocket

extension WebSocketFrame {
    /// The payload without its mask. The frame stays as it is: its bytes are part of a buffer that others hold.
    package var plainData: ByteBuffer {
        guard let maskKey else { return data }
        var key: UInt32 = 0
        for place in 0..<4 { key |= UInt32(maskKey[place]) << UInt32(8 * place) }
        var plain = ByteBuffer()
        data.withUnsafeReadableBytes { plain.write($0, without: WebSocketMask(key: key)) }
        return plain
    }
}

extension ChannelPipeline.SynchronousOperations {
    /// The library's frames, for sockets that carry little.
    /// - Parameter limit: the longest message that is taken, bytes.
    package func addWebSocketFrames(limit: Int, fragments: Int) throws {
        try addHandler(WebSocketFrameEncoder())
        try addHandler(ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: limit)))
        try addHandler(
            NIOWebSocketFrameAggregator(
                minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: fragments, maxAccumulatedFrameSize: limit))
    }
}
