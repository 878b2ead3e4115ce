package import MeshBroker
package import MeshModel
import MeshSessions

extension AttachedWorker {
    /// What the mesh is told of a session.
    package init(_ session: WorkerSession, owner: PublicKey) {
        self.init(
            sessionID: session.sessionID, provider: session.identity.provider, owner: owner,
            attachKey: session.attachKey, clientID: session.identity.clientID, since: session.connectedAt,
            offer: session.current.offer)
    }
}
