package import MeshModel
import MeshRouting
import MeshSessions
import MeshUpstream

/// A provider of the mesh and where its workers are, as this node's catalog shows it.
package struct ProviderView: Sendable {
    package var fullName: String
    package var providerID: String
    /// Names it whoever else is called so.
    package var keyName: String
    package var owner: PublicKey
    package var access: String
    package var homeName: String
    package var models: [String]
    package var attachments: [AttachmentView]
}

extension ProviderView {
    init(_ provider: CatalogProvider) {
        fullName = provider.fullName
        providerID = provider.providerID
        keyName = ProviderKeyName.text(provider.tokenSalt)
        owner = provider.owner
        access = provider.access.name
        homeName = provider.homeName
        models = provider.modelsSeen
        attachments = provider.hosts.map(AttachmentView.init)
    }
}

/// A worker at the node that hosts it, as everybody sees it.
package struct AttachmentView: Sendable {
    package var node: PublicKey
    package var nodeName: String
    package var mark: String
    package var offer: WorkerOffer
}

extension AttachmentView {
    init(_ host: CatalogHost) {
        node = host.node
        nodeName = host.nodeName
        mark = WorkerMark.text(clientHash: host.clientHash)
        offer = host.offer
    }
}

/// A provider that lives at this node, as its owner sees it.
package struct OwnProviderView: Sendable {
    package var account: ProviderAccount
    package var homeName: String
    /// Nil until its advert is signed.
    package var keyName: String?
    package var workers: [WorkerView]
    /// The last sessions that ended at this node, the newest last.
    package var ends: [SessionEnd]
    /// Nil for one that has workers, and for one that is not served.
    package var upstream: UpstreamView?
}

/// How the upstream of an own provider is, as its operator sees it.
package struct UpstreamView: Sendable {
    package struct Key: Sendable {
        package var state: String
        package var restsForMs: Int64?
    }

    package var state: String
    package var problem: String?
    package var keys: [Key]
}

extension UpstreamView {
    init(_ standing: UpstreamStanding) {
        state = standing.state.rawValue
        problem = standing.problem
        keys = standing.keys.map { Key(state: $0.state, restsForMs: $0.restsForMs) }
    }
}

/// A worker of an own provider, here or elsewhere. What only its node knows is nil for one that is elsewhere.
package struct WorkerView: Sendable {
    package var clientID: String?
    /// Nil for a worker at this node.
    package var nodeName: String?
    package var models: [String]
    package var connectedAt: Timestamp?
    package var inFlight: Int?
    package var tokensPerSecond: Int64?
    package var firstContentMs: Int64?
}

extension WorkerView {
    init(_ session: WorkerSession) {
        let known = session.current
        clientID = session.identity.clientID
        models = known.offer.models.map(\.id)
        connectedAt = session.connectedAt
        inFlight = session.requestsInFlight
        tokensPerSecond = known.performance.averageTokensPerSecond
        firstContentMs = known.performance.averageFirstContentMs
    }

    init(_ host: CatalogHost) {
        nodeName = host.nodeName
        models = host.offer.models.map(\.id)
        let speed = host.offer.speed
        tokensPerSecond = speed.tokensPerSecond > 0 ? speed.tokensPerSecond : nil
        firstContentMs = speed.firstContentMs > 0 ? speed.firstContentMs : nil
    }
}
