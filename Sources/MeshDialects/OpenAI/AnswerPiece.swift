import MeshWire

/// One part of what a chunk event carries.
package enum AnswerPiece: Hashable, Sendable {
    /// Text of the answer as the worker read it, cut anywhere.
    case text([UInt8])
    /// The same from base64.
    case bytes([UInt8])
    /// A JSON value: an event of its own in a stream of events, and itself elsewhere.
    case json([UInt8])

    package var content: [UInt8] {
        switch self {
        case .text(let content), .bytes(let content), .json(let content): content
        }
    }

    /// Whether an answer that begins with it is a page for a browser.
    package var isPage: Bool {
        switch self {
        case .text(let content), .bytes(let content): AnswerStart.judge(content, isWhole: true) == .page
        case .json: false
        }
    }
}
