package import MeshModel
package import MeshSessions

/// A worker's session at this node as it is at one moment.
package struct SessionView: Sendable {
    package var sessionID: String
    package var identity: WorkerIdentity
    package var mark: String
    package var connectedAt: Timestamp
    package var lastSeen: Timestamp
    package var requestsInFlight: Int
    package var profile: WorkerProfile
    package var offer: WorkerOffer
    package var performance: PerformanceWindow
}

extension SessionView {
    package init(_ session: WorkerSession) {
        let known = session.current
        sessionID = session.sessionID
        identity = session.identity
        mark = session.mark
        connectedAt = session.connectedAt
        lastSeen = session.lastSeen
        requestsInFlight = session.requestsInFlight
        profile = known.profile
        offer = known.offer
        performance = known.performance
    }
}
