import MeshExchange
import MeshModel
import MeshSessions
import MeshUpstream

/// An upstream of this node's own as what carries a session's requests.
struct UpstreamLine: SessionLine {
    let answerer = Answerer.provider
    let place: UpstreamPlace

    func begin(
        _ request: WorkRequest, model: String?, of session: WorkerSession, receiver: any AnswerReceiver
    ) -> any AttemptHandle {
        place.begin(request, model: model, receiver: receiver) { sample in
            session.requestEnded()
            guard let sample else { return }
            session.record(sample)
            if sample.isSuccess { session.sawLife(SystemClock.wall) }
        }
    }

    func close(_ reason: CloseReason) { place.close(reason) }
}
