import MeshModel

/// The agent's intervals in milliseconds; tests shorten them.
package struct WorkerTimings: Sendable {
    package var pingMs = Limits.workerAgentPingIntervalMs
    package var silenceMs = Limits.workerAgentSilenceMs
    package var heartbeatMs = Limits.workerAgentHeartbeatMs
    package var pendingMs = Limits.workerAgentPendingMs
    package var handshakeMs = Limits.workerAgentHandshakeMs
    package var drainMs = Limits.drainMs

    package init() {}
}
