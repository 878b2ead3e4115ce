package import MeshModel

/// Where a request may go.
package protocol PlaceFinder: AnyObject, Sendable {
    var looking: ExchangeStateMachine.Looking { get }
    /// How many places may be asked.
    var attempts: Int { get }
    /// Whether one place may have room for a prompt that is too long for another.
    var mayOutgrow: Bool { get }

    /// How the request has waited for a place; nil where it has not.
    var waited: QueueWait? { get }

    /// Looks for places, or for more of them.
    /// - Parameter found: called once, on the exchange's event loop, at once or when somebody has become free: with what
    ///   there is now, best first, or with nothing, when there is nobody more.
    func find(_ found: @escaping @Sendable ([any Place]) -> Void)
    /// What is told when there was none at all.
    func none() -> MeshError
    /// What is told when all have failed, in place of the failure that says the most.
    func told(_ error: MeshError) -> MeshError
    /// Whether work that somebody has failed at may be asked for once more; it is counted then.
    func mayRepeat() -> Bool
    /// Nobody waits for places any more.
    func leave()
}

extension PlaceFinder {
    package var looking: ExchangeStateMachine.Looking { .twice }
    package var attempts: Int { Limits.forwardAttempts }
    package var mayOutgrow: Bool { false }
    package var waited: QueueWait? { nil }
    package func told(_ error: MeshError) -> MeshError { error }
    package func mayRepeat() -> Bool { true }
    package func leave() {}
}
