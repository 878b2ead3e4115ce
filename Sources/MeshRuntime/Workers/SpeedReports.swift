package import MeshModel
package import MeshRouting
import MeshSessions

/// Decides when the mesh is told a worker's measured speed: it changes with every request, but a new attachment costs
/// every node something.
package struct SpeedReports: Sendable {
    private var checkedAt: Instant?
    private var told: [String: WorkerSpeed] = [:]

    package init() {}

    /// The sessions whose speed, tokens or times, has changed by more than a quarter since it was told, asked at most once a minute.
    package mutating func due(now: Instant, _ sessions: @autoclosure () -> [WorkerSession]) -> [WorkerSession] {
        guard let last = checkedAt else {
            checkedAt = now
            return []
        }
        guard now.milliseconds(since: last) >= Limits.speedReportMs else { return [] }
        checkedAt = now
        var next: [String: WorkerSpeed] = [:]
        var due: [WorkerSession] = []
        for session in sessions() {
            let window = session.current.performance
            // What another node measured is no news of this one.
            guard window.count > 0 else { continue }
            let speed = window.speed
            let known = told[session.sessionID] ?? WorkerSpeed()
            let isNews = speed.isNews(after: known)
            next[session.sessionID] = isNews ? speed : known
            if isNews { due.append(session) }
        }
        told = next
        return due
    }
}

extension WorkerSession {
    /// Takes over what was measured of this worker where it was attached before, until there are own samples.
    package func inherit(from catalog: Catalog) {
        guard let provider = catalog.provider(identity.provider),
            let known = provider.speeds.last(where: { WorkerMark.text(clientHash: $0.clientHash) == mark })
        else { return }
        measure {
            guard $0.count == 0 else { return }
            $0.inherited = WorkerSpeed(
                tokensPerSecond: known.speed.tokensPerSecond, firstContentMs: known.speed.firstContentMs,
                latencyMs: known.speed.expectedLatencyMs)
        }
    }
}
