package import MeshModel
package import MeshRouting
import MeshSessions

/// Decides when the mesh is told a worker's measured speed: it changes with every request, but a new attachment costs
/// every node something.
package struct SpeedReports: Sendable {
    private var checkedAt: Instant?
    private var told: [String: Int64] = [:]

    package init() {}

    /// The sessions whose speed has changed by more than a quarter since it was told, asked at most once a minute.
    package mutating func due(now: Instant, _ sessions: @autoclosure () -> [WorkerSession]) -> [WorkerSession] {
        guard let last = checkedAt else {
            checkedAt = now
            return []
        }
        guard now.milliseconds(since: last) >= Limits.speedReportMs else { return [] }
        checkedAt = now
        var next: [String: Int64] = [:]
        var due: [WorkerSession] = []
        for session in sessions() {
            let speed = session.current.performance.averageTokensPerSecond ?? 0
            let known = told[session.sessionID] ?? 0
            if abs(speed - known) * 4 > max(known, 1) {
                next[session.sessionID] = speed
                due.append(session)
            } else {
                next[session.sessionID] = known
            }
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
            $0.inherited = .init(
                tokensPerSecond: Int64(known.tokensPerSecond), firstContentMs: Int64(known.firstContentMs))
        }
    }
}
