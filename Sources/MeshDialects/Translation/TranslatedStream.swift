package import MeshModel

/// The stream of a chat as one of another API: bytes in, cut anywhere, and bytes out.
package protocol TranslatedStream: Sendable {
    /// The next bytes of the chat's stream.
    /// - Throws: `MeshError` when they cannot be translated; nothing may follow.
    mutating func append(_ bytes: [UInt8]) throws(MeshError) -> [UInt8]
    /// The stream has ended, and was whole.
    /// - Parameter outputTokens: as this node counts them, for where the worker does not tell.
    mutating func finish(_ totals: AnswerTotals, outputTokens: Int64) -> [UInt8]
    /// The stream broke off: its last event.
    mutating func failure(_ error: MeshError) -> [UInt8]
    /// What shows that a quiet stream lives.
    mutating func keepAlive() -> [UInt8]
}
