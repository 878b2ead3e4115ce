import MeshModel
import MeshWire

/// Answers to the node's own questions.
extension BrokerSession {
    /// Only the answers to the newest questions count, and each only once.
    mutating func answered(
        _ number: UInt64, _ event: WorkerFrame.ReplyEvent, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer,
        now: Instant
    ) -> [Action] {
        let isForModels = models.isAsked(number)
        guard isForModels || capabilities.isAsked(number) else { return bad(now) }
        switch event {
        case .answer, .done, .error: break
        case .pending, .start, .credit, .chunk, .progress, .heartbeat, .ignored: return []
        }
        models.close(number)
        capabilities.close(number)
        let document = event == .error ? nil : Self.document(frame, bytes)
        if isForModels {
            if let listed = document.flatMap(WorkerModel.list) {
                models.settle()
                return [.modelsListed(listed)]
            }
            models.failed(now: now)
        } else {
            if let document, profile.take(answer: document) {
                capabilities.settle()
                return [.profileChanged(profile)]
            }
            capabilities.failed(now: now)
        }
        // An error is an answer, if not a good one. What cannot be read is counted.
        return event == .error || Self.isRefusal(frame, bytes) ? [] : bad(now)
    }

    private static func document(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer) -> JSONValue? {
        guard let whole = WorkerAnswer.whole(frame, in: bytes), whole.head.status < 400,
            whole.body.count <= Limits.workerRegisterBytes
        else { return nil }
        return BareNumbers.parse(whole.body)
    }

    private static func isRefusal(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer) -> Bool {
        WorkerAnswer.whole(frame, in: bytes).map { $0.head.status >= 400 } ?? false
    }
}
