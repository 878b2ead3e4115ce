import MeshSessions
import NIOWebSocket

extension CloseReason {
    /// What a failure of the WebSocket layer is to the worker; nil for failures of the socket itself.
    init?(webSocketError error: any Error) {
        switch error {
        case NIOWebSocketError.invalidFrameLength, NIOWebSocketFrameAggregator.Error.accumulatedFrameSizeIsTooLarge,
            NIOWebSocketFrameAggregator.Error.tooManyFragments:
            self = .frameTooLarge
        case is NIOWebSocketError, is NIOWebSocketFrameAggregator.Error: self = .protocolError
        default: return nil
        }
    }
}
