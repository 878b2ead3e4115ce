/// Why a worker's socket was closed by this node: a closed list, shown to the seller in the close frame.
package enum CloseReason: String, CaseIterable, Sendable {
    case registrationTimeout = "registration timeout"
    case registerExpected = "the first message must be op=register"
    case registerTooLarge = "the register message is larger than 1 MiB"
    case notJSON = "the first message must be JSON"
    case tokenMismatch = "the token in the message differs from the one in the handshake"
    case replaced = "replaced by a new connection of the same client"
    case tokenRevoked = "this registration token is no longer valid"
    case silent = "no sign of life"
    case notReading = "the worker does not read what it is sent"
    case tooManyBadFrames = "too many unreadable messages"
    case frameTooLarge = "message too large"
    case protocolError = "not a WebSocket message"
    case nodeStopping = "node is shutting down"
    case tooManySessions = "this node has no room for more workers"

    /// WebSocket close code (RFC 6455, section 7.4.1).
    package var code: UInt16 {
        switch self {
        case .registrationTimeout, .registerExpected, .notJSON, .tokenMismatch, .tokenRevoked, .tooManyBadFrames: 1008
        case .replaced, .silent, .notReading: 1011
        case .protocolError: 1002
        case .frameTooLarge, .registerTooLarge: 1009
        case .nodeStopping: 1001
        case .tooManySessions: 1013
        }
    }
}
