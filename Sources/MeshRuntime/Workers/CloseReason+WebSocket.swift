import MeshSessions
import MeshWire

extension CloseReason {
    /// What a worker is told whose bytes are no frames that this node takes.
    init(_ fault: WebSocketFault) {
        switch fault {
        case .tooLarge: self = .frameTooLarge
        case .protocolError: self = .protocolError
        }
    }
}
