package import MeshModel
package import MeshRouting

/// Somewhere a request can be answered: a worker attached here, another node that hosts one, a backend that this node
/// calls itself. It takes the request in its own form and gives the answer in one; what becomes of failures is decided
/// by whoever asks it.
package protocol Place: AnyObject, Sendable {
    /// Whose offer it is.
    var provider: CatalogProvider { get }
    /// Its id for the model; nil for a request that names none.
    var model: String? { get }
    /// The node that answers, where it is another one: what it says of its worker's answer was judged by nobody yet.
    var node: PublicKey? { get }
    /// Who answers, for the words of a failure.
    var whoAnswers: String { get }
    /// The mark of the worker, where it is known before it answers.
    var worker: String? { get }

    /// Whether both are the same worker, or the same host of the same provider.
    func isSame(as other: any Place) -> Bool

    /// Asks. The answer, success or failure, reaches `receiver` exactly once to its end.
    /// - Parameter attempt: its number among the places that this request has asked, from 1.
    func begin(_ request: WorkRequest, attempt: Int, receiver: any AnswerReceiver) -> any AttemptHandle

    /// It has failed before content, as whoever asked it judges it.
    func failed(_ failure: Attempts.Failure, now: Instant)
    /// It answers: content has come.
    func answers(now: Instant)
}

extension Place {
    package var worker: String? { nil }
    package func failed(_ failure: Attempts.Failure, now: Instant) {}
    package func answers(now: Instant) {}

    /// Whether another node answers.
    package var isForeign: Bool { node != nil }
    package var whoAnswers: String { node.map { "node \(provider.nodeName($0))" } ?? Answerer.worker.words }
}

/// An attempt that is over before it began.
package final class FinishedAttempt: AttemptHandle {
    package init() {}

    package func cancel() {}
    package func pause() {}
    package func resume() {}
}

/// A place at this node, as it stands now.
package struct LocalOffer: Sendable {
    package var place: any Place
    /// It refused a request a moment ago and its siblings come first.
    package var isResting: Bool

    package init(place: any Place, isResting: Bool) {
        self.place = place
        self.isResting = isResting
    }
}

/// Knows places at this node: its workers, and whatever else it can ask without another node.
package protocol LocalPlaces: AnyObject, Sendable {
    /// Those of `provider` that have what is needed, best first.
    func offers(of provider: CatalogProvider, _ need: WorkerNeed) -> [LocalOffer]
    /// Whether there is any.
    func meets(_ need: WorkerNeed, of provider: RecordKey) -> Bool
    /// Whether one of them takes one request more now.
    func hasRoom(_ need: WorkerNeed, of provider: RecordKey) -> Bool
}
