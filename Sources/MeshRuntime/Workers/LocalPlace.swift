package import MeshExchange
package import MeshModel
package import MeshRouting

/// A worker attached to this node, for one request.
package final class LocalPlace: Place {
    package let session: WorkerSession
    package let provider: CatalogProvider
    package let model: String?

    init(session: WorkerSession, provider: CatalogProvider, model: String?) {
        self.session = session
        self.provider = provider
        self.model = model
    }

    package var node: PublicKey? { nil }
    package var worker: String? { session.mark }
    package var whoAnswers: String { session.answerer.words }

    package func isSame(as other: any Place) -> Bool { (other as? LocalPlace)?.session === session }

    package func begin(_ request: WorkRequest, attempt: Int, receiver: any AnswerReceiver) -> any AttemptHandle {
        session.start(request, model: model, receiver: receiver)
    }

    package func failed(_ failure: Attempts.Failure, now: Instant) {
        guard Attempts.needsRest(failure) else { return }
        session.rest(retryAfterSeconds: Attempts.retryAfter(failure), now: now)
    }

    package func answers(now: Instant) { session.restIsOver() }
}

extension SessionTable: LocalPlaces {
    package func offers(of provider: CatalogProvider, _ need: WorkerNeed) -> [LocalOffer] {
        let now = SystemClock.instant
        return best(of: provider.key, need).map { session in
            LocalOffer(
                place: LocalPlace(session: session, provider: provider, model: need.model),
                isResting: session.isResting(now: now))
        }
    }

    package func meets(_ need: WorkerNeed, of provider: RecordKey) -> Bool { choose(provider, need) != nil }

    package func hasRoom(_ need: WorkerNeed, of provider: RecordKey) -> Bool {
        best(of: provider, need).contains { !$0.isFull }
    }
}
