package import MeshExchange
package import MeshModel
package import MeshRouting

/// A worker attached to this node, for one request.
package struct LocalPlace: Place {
    package let session: WorkerSession
    package let provider: CatalogProvider
    package let model: String?

    package var node: PublicKey? { nil }
    package var worker: String? { session.mark }
    package var whoAnswers: String { session.answerer.words }

    package func isSame(as other: any Place) -> Bool { (other as? LocalPlace)?.session === session }

    package func begin(_ request: WorkRequest, attempt: Int, receiver: any AnswerReceiver) -> any AttemptHandle {
        session.start(request, model: model, receiver: receiver)
    }

    package func rest(retryAfterSeconds: Int?, now: Instant) {
        session.rest(retryAfterSeconds: retryAfterSeconds, now: now)
    }

    package func restIsOver() { session.restIsOver() }
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
}
