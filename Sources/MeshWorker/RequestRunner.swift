import MeshModel
import MeshUpstream
import MeshWire
import NIOCore

/// Answers one request of the broker with a backend's answer. Sends through `send`, which suspends while the
/// WebSocket is not writable, so that a slow broker slows the backend down and not this process' memory up.
struct RequestRunner: Sendable {
    let backend: any Backend
    let models: ModelWatch
    let report: WorkerReport
    let timings: WorkerTimings
    let gate: FlowGate
    /// Nil when the broker takes no binary frames.
    let credit: CreditGate?
    let send: @Sendable (WorkerMessage) async throws -> Void

    /// Runs until the request is answered or the task is cancelled; then nothing more is sent.
    func run(_ request: BackendRequest, requestID: String, streams: Bool) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while true {
                    try await send(.text(WorkerFrames.pending(requestID)))
                    try await Task.sleep(for: .milliseconds(timings.pendingMs))
                }
            }
            group.addTask { try await answer(request, requestID: requestID, streams: streams) }
            defer { group.cancelAll() }
            // The answer ends the group; the keep-alive ends only by failing.
            try await group.next()
        }
    }

    private func answer(_ request: BackendRequest, requestID: String, streams: Bool) async throws {
        let collector = AnswerCollector(
            requestID: requestID, streams: streams, passesBytes: request.path != "/chat/completions", credit: credit
        ) { [gate, send] message in
            try await gate.pass()
            try await send(message)
        }
        let notes = AnswerNotes(request, streams: streams)
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { [backend] in
                    try await backend.perform(request) { part in
                        notes.take(part)
                        try await collector.take(part)
                    }
                }
                // Behind the end of a stream its connection has a moment to end by itself, and then serves the next.
                group.addTask {
                    try await collector.saidEnd()
                    try await Task.sleep(for: .milliseconds(Limits.streamTailMs))
                }
                defer { group.cancelAll() }
                try await group.next()
            }
            try await collector.finish()
            note(notes, of: request, requestID)
        } catch let failure as BackendFailure {
            try Task.checkCancellation()
            // The stream had said that it is complete; how its connection ends is nobody's loss.
            if await collector.isOver { return note(notes, of: request, requestID) }
            report.failed(requestID, path: request.path, code: failure.code, reason: failure.detail)
            models.suspect()
            try await send(.text(WorkerFrames.error(requestID, code: failure.code, message: failure.message)))
        }
    }

    private func note(_ notes: AnswerNotes, of request: BackendRequest, _ requestID: String) {
        guard let failure = notes.failure else {
            guard let flaw = notes.flaw else { return report.answered(notes.usage) }
            return report.failed(
                requestID, path: request.path, status: flaw.status, code: "backend_answer", reason: flaw.words)
        }
        report.failed(
            requestID, path: request.path, status: failure.status, code: "backend_status", reason: failure.words)
        // The model may be gone.
        if failure.status == 404 { models.suspect() }
    }
}
