internal import MeshModel
internal import NIOCore
internal import NIOHTTP2

/// HTTP/2 as links speak it. Cancels are normal traffic here: SwiftNIO's defaults would end a connection, with all
/// innocent streams on it, after 200 resets in 30 seconds.
enum LinkSettings {
    static var connection: NIOHTTP2Handler.ConnectionConfiguration {
        var configuration = NIOHTTP2Handler.ConnectionConfiguration()
        configuration.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: Limits.linkStreams),
            HTTP2Setting(parameter: .initialWindowSize, value: Limits.linkStreamWindowBytes),
            HTTP2Setting(parameter: .maxHeaderListSize, value: Limits.linkHeaderBytes),
            HTTP2Setting(parameter: .enablePush, value: 0),
        ]
        configuration.targetWindowSize = Limits.linkConnectionWindowBytes
        configuration.maximumRecentlyResetStreams = Limits.linkStreamResetsPer30s
        // PINGs, SETTINGS and the like, each of which has to be answered.
        configuration.controlFrameRateLimit.maximumCount = Limits.linkControlFramesPer30s
        // Counted over a connection's whole life, which for a link is days; the rates below bound abuse.
        configuration.maximumConnectionGlitches = 1 << 20
        return configuration
    }

    static var stream: NIOHTTP2Handler.StreamConfiguration {
        var configuration = NIOHTTP2Handler.StreamConfiguration()
        configuration.targetWindowSize = Limits.linkStreamWindowBytes
        configuration.outboundBufferSizeHighWatermark = Limits.linkStreamWriteBytes
        configuration.outboundBufferSizeLowWatermark = Limits.linkStreamWriteBytes / 4
        configuration.streamResetFrameRateLimit.maximumCount = Limits.linkStreamResetsPer30s
        configuration.streamErrorRateLimit.maximumCount = Limits.linkStreamResetsPer30s
        return configuration
    }
}
