import MeshModel
import MeshUpstream

/// The agent's intervals in milliseconds; tests shorten them.
package struct WorkerTimings: Sendable {
    package var pingMs = Limits.workerAgentPingIntervalMs
    package var silenceMs = Limits.workerAgentSilenceMs
    package var heartbeatMs = Limits.workerAgentHeartbeatMs
    package var pendingMs = Limits.workerAgentPendingMs
    package var handshakeMs = Limits.workerAgentHandshakeMs
    package var drainMs = Limits.drainMs
    package var drainNoticeMs = Limits.workerDrainNoticeMs
    package var modelsMs = Limits.workerModelsIntervalMs
    package var modelsRetryMs = Limits.workerModelsRetryMs
    package var modelsAnswerMs = Limits.workerModelListMs
    package var summaryMs = Limits.workerSummaryMs

    /// When the backend is asked for its models.
    var models: ModelWatch.Timings {
        ModelWatch.Timings(intervalMs: modelsMs, retryMs: modelsRetryMs, answerMs: modelsAnswerMs)
    }

    package init() {}
}
