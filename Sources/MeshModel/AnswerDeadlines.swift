/// How long this node waits for the answer to one request.
package struct AnswerDeadlines: Hashable, Sendable {
    package var firstContentMs: Int64
    package var idleMs: Int64
    package var totalMs: Int64
    /// Whether somebody else asked for less time than this node allows.
    package var areShortened: Bool

    package init(
        firstContentMs: Int64 = Limits.firstContentMs, idleMs: Int64 = Limits.streamIdleMs,
        totalMs: Int64 = Limits.requestTotalMs, areShortened: Bool = false
    ) {
        self.areShortened = areShortened
        self.firstContentMs = firstContentMs
        self.idleMs = idleMs
        self.totalMs = totalMs
    }
}
