/// What an answer came to, told with its end by whoever watched it: the counts that a backend gave, and what was
/// measured. Nothing here is proof of anything; a node passes on what the other side says as that side's word.
package struct AnswerTotals: Hashable, Sendable {
    /// Tokens of the prompt, as the backend counted them.
    package var promptTokens: Int64?
    /// Of those, the ones that the backend had from an earlier request.
    package var cachedTokens: Int64?
    /// Tokens of the answer, as the backend counted them.
    package var completionTokens: Int64?
    package var totalTokens: Int64?
    /// Why the backend ended, in its own word (`stop`, `length`, `tool_calls`), where it gave a plain one.
    package var finishReason: String?
    /// Bytes of the body as they were delivered.
    package var bytes: Int64 = 0
    /// From the request to the first content.
    package var firstContentMs: Int64?
    /// From the request to the end.
    package var durationMs: Int64 = 0
    /// Whether the end, good or bad, stands in the body already: so it is with a node that does not tell it apart.
    package var isInBody = false

    package init() {}

    /// A word that a totals line may carry: 1 to 32 letters, digits, `_` and `-`.
    package static func isWord(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F
                    || $0 == 0x2D
            }
    }
}
