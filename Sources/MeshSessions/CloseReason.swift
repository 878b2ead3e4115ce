/// Why a worker's socket was closed by this node: a closed list, shown to the seller in the close frame.
package enum CloseReason: String, CaseIterable, Sendable {
    case registrationTimeout = "registration timeout"
    case registerExpected = "the first message must be op=register"
    case registerTooLarge = "the register message is larger than 1 MiB"
    case notJSON = "the first message must be JSON"
    case tokenMismatch = "the token in the message differs from the one in the handshake"
    case replaced = "replaced by a new connection of the same client"
    case tokenRevoked = "this registration token is no longer valid"
    case providerChanged = "who may use this provider has changed; connect again"
    case accountDisabled = "the account of this worker's provider is disabled"
    case silent = "no sign of life"
    case notReading = "the worker does not read what it is sent"
    case tooManyBadFrames = "too many unreadable messages"
    case frameTooLarge = "message too large"
    case protocolError = "not a WebSocket message"
    case nodeStopping = "node is shutting down"
    case tooManySessions = "this node has no room for more workers"

    /// For metrics: the case's name with underscores, such as `registration_timeout`.
    package var label: String {
        var label: [UInt8] = []
        let name = Array(String(describing: self).utf8)
        for (index, byte) in name.enumerated() {
            let isUpper = (0x41...0x5A).contains(byte)
            // A row of capitals is one word: `notJSON` is `not_json`.
            let isAfterUpper = index > 0 && (0x41...0x5A).contains(name[index - 1])
            if isUpper, index > 0, !isAfterUpper { label.append(0x5F) }
            label.append(isUpper ? byte + 32 : byte)
        }
        return String(decoding: label, as: UTF8.self)
    }

    /// Whether there is nobody at the other end who would read why.
    package var isUnheard: Bool { [.silent, .notReading].contains(self) }

    /// WebSocket close code (RFC 6455, section 7.4.1).
    package var code: UInt16 {
        switch self {
        case .registrationTimeout, .registerExpected, .notJSON, .tokenMismatch, .tokenRevoked, .accountDisabled,
            .tooManyBadFrames:
            1008
        case .replaced, .silent, .notReading: 1011
        case .protocolError: 1002
        case .frameTooLarge, .registerTooLarge: 1009
        case .nodeStopping: 1001
        case .providerChanged: 1012
        case .tooManySessions: 1013
        }
    }
}
