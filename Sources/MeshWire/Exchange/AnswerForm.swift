/// What the buyer asked for.
package enum AnswerForm: Hashable, Sendable {
    /// One JSON document; whoever sends it in chunks has them collected.
    case document
    /// A stream of events.
    case events
    /// Whatever the endpoint gives: bytes as they come.
    case bytes
}
