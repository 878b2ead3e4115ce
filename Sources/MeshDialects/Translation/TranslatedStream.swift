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

/// One that goes by the turn of a model: parts, and an end.
protocol TurnTranslation: TranslatedStream {
    associatedtype Writer: TurnWriter
    var turn: TurnStream<Writer> { get set }
    /// Whether a turn in which nothing stands may have ended so.
    func excuses(_ end: TurnEnd) -> Bool
    /// What stands behind the last part.
    mutating func tell(_ end: TurnEnd, outputTokens: Int64, _ output: inout [UInt8])
}

extension TurnTranslation {
    package mutating func append(_ bytes: [UInt8]) throws(MeshError) -> [UInt8] { try turn.append(bytes) }

    package mutating func finish(_ totals: AnswerTotals, outputTokens: Int64) -> [UInt8] {
        var output: [UInt8] = []
        guard !turn.isOver else { return output }
        let end: TurnEnd
        do throws(MeshError) { end = try turn.end(totals, &output) } catch { return output + failure(error) }
        if end.isEmpty, !excuses(end) { return output + failure(TurnEnd.nothing) }
        tell(end, outputTokens: outputTokens, &output)
        return output
    }
}
