package import Logging
import MeshCrypto
import MeshExchange
package import MeshModel
import MeshRouting
import MeshSessions
import MeshUpstream
import MeshWire
package import NIOCore
import Synchronization

/// A provider that this node serves itself, from an upstream whose key it holds.
package struct UpstreamProvider: Hashable, Sendable {
    /// Record key of the provider's advert.
    package var provider: RecordKey
    package var owner: PublicKey
    package var providerID: String
    package var scope: OwnerScope
    package var settings: UpstreamSettings
    package var apiKey: String?
    /// Why there is none, where its file is unusable. Nothing of the key is in it.
    package var keyProblem: String?

    package init(
        provider: RecordKey, owner: PublicKey, providerID: String, scope: OwnerScope, settings: UpstreamSettings,
        apiKey: String?, keyProblem: String? = nil
    ) {
        self.keyProblem = keyProblem
        self.provider = provider
        self.owner = owner
        self.providerID = providerID
        self.scope = scope
        self.settings = settings
        self.apiKey = apiKey
    }

    /// How operators name it.
    var name: String { "\(scope.username)/\(providerID)" }
}

/// The upstreams of this node, each a session among those of the workers: told to the mesh, chosen and measured as they
/// are.
package final class Upstreams: Sendable {
    /// What an upstream is called where workers have their client id.
    package static let clientID = "upstream"

    private let sessions: SessionTable
    private let catalog: CatalogHolder
    private let group: any EventLoopGroup
    private let metrics = UpstreamMetrics()
    private let logger: Logger
    private let wanted:
        (stream: AsyncStream<[UpstreamProvider]>, continuation: AsyncStream<[UpstreamProvider]>.Continuation)

    package init(
        sessions: SessionTable, catalog: CatalogHolder, group: any EventLoopGroup, logger: Logger
    ) {
        self.sessions = sessions
        self.catalog = catalog
        self.group = group
        self.logger = logger
        wanted = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// All there are to be from now on; the newest list counts.
    package func set(_ providers: [UpstreamProvider]) { wanted.continuation.yield(providers) }

    /// Serves until its task is cancelled.
    package func run() async throws {
        let client = BackendClient(group: group)
        await withDiscardingTaskGroup { group in
            var running: [(provider: UpstreamProvider, place: UpstreamPlace)] = []
            for await list in wanted.stream {
                running.removeAll { entry in
                    if list.contains(entry.provider), entry.place.closedBy == nil { return false }
                    entry.place.close(.providerChanged)
                    return true
                }
                for provider in list where !running.contains(where: { $0.provider == provider }) {
                    if provider.settings.hasKey, provider.apiKey == nil {
                        logger.error(
                            "the key of an upstream cannot be read: the provider is not served",
                            metadata: [
                                "provider": "\(provider.name)",
                                "reason": "\(provider.keyProblem ?? "it is not in the data directory")",
                            ])
                        continue
                    }
                    let place = place(for: provider, client)
                    running.append((provider, place))
                    group.addTask { [self] in await serve(provider, place) }
                }
            }
            group.cancelAll()
        }
        try await client.shutdown()
    }

    private func place(for provider: UpstreamProvider, _ client: BackendClient) -> UpstreamPlace {
        var logger = logger
        logger[metadataKey: "provider"] = .string(provider.name)
        let backend = OpenAIBackend(
            baseURL: provider.settings.baseURL, apiKey: provider.apiKey, endpoints: provider.settings.endpoints,
            client: client,
            advice: .init(
                address: "set the address that answers with 'aisbf provider set \(provider.name) --base-url URL'",
                account:
                    "check the account there, or set its key with 'aisbf provider set \(provider.name) --key-file FILE'"
            ))
        var named = logger
        named[metadataKey: "backend.url"] = .string(provider.settings.baseURL)
        return UpstreamPlace(
            backend, report: UpstreamReport(logger: named, metrics: metrics), timings: .init(), logger: logger)
    }

    private func serve(_ provider: UpstreamProvider, _ place: UpstreamPlace) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await place.run() }
            group.addTask { [self] in await offer(provider, place) }
            // An upstream that is closed is offered no more, and one that is not offered any more is of no use.
            await group.next()
            group.cancelAll()
        }
    }

    /// Attaches the upstream once the provider is known, and follows what it has.
    private func offer(_ provider: UpstreamProvider, _ place: UpstreamPlace) async {
        let changes = await place.models.changes()
        guard await isKnown(provider) else { return }
        let session = session(of: provider, place)
        sessions.registered(session)
        await follow(changes, place, session)
        sessions.ended(session, .node(place.closedBy ?? .nodeStopping))
    }

    private func follow(_ changes: AsyncStream<Void>, _ place: UpstreamPlace, _ session: WorkerSession) async {
        await tell(place, session)
        for await _ in changes { await tell(place, session) }
    }

    private func tell(_ place: UpstreamPlace, _ session: WorkerSession) async {
        let offer = await place.models.current()
        let listed = WorkerModel.list(.array(offer.models)) ?? []
        let kept = sessions.kept(listed, of: session)
        session.update { $0.offer.models = kept }
        session.sawLife(SystemClock.wall)
        sessions.changed(session)
    }

    /// Waits until the catalog shows the provider: what is attached before is told to nobody.
    private func isKnown(_ provider: UpstreamProvider) async -> Bool {
        while !Task.isCancelled {
            // Woken by every catalog; the time only bounds one wait.
            let isThere = await catalog.wait(atMost: Limits.changeWaitMs) { $0.provider(provider.provider) != nil }
            if isThere { return true }
        }
        return false
    }

    private func session(of provider: UpstreamProvider, _ place: UpstreamPlace) -> WorkerSession {
        let session = WorkerSession(
            identity: WorkerIdentity(
                provider: provider.provider, providerID: provider.providerID, scope: provider.scope,
                clientID: Self.clientID),
            sessionID: "ses_" + hexText(Sodium.shared.randomBytes(12)), attachKey: provider.owner,
            connectedAt: SystemClock.wall, line: UpstreamLine(place: place), sessions: sessions)
        session.update { details in
            details.profile = WorkerProfile(
                server: "an OpenAI-compatible upstream", endpoints: provider.settings.endpoints)
        }
        return session
    }
}
