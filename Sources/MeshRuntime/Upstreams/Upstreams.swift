package import Logging
import MeshCrypto
import MeshExchange
package import MeshModel
import MeshRouting
import MeshSessions
package import MeshUpstream
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
    package var secrets: UpstreamSecrets
    /// Why there are none, where their file is unusable. Nothing of them is in it.
    package var keyProblem: String?

    package init(
        provider: RecordKey, owner: PublicKey, providerID: String, scope: OwnerScope, settings: UpstreamSettings,
        secrets: UpstreamSecrets, keyProblem: String? = nil
    ) {
        self.keyProblem = keyProblem
        self.provider = provider
        self.owner = owner
        self.providerID = providerID
        self.scope = scope
        self.settings = settings
        self.secrets = secrets
    }

    /// Whether what it is to be asked with is here.
    var isComplete: Bool {
        settings.hasKey == !secrets.keys.isEmpty && settings.headers == secrets.headers.map(\.name)
    }

    /// How operators name it.
    var name: String { "\(scope.username)/\(providerID)" }
}

/// The upstreams of this node, each a session among those of the workers: told to the mesh, chosen and measured as they
/// are.
package final class Upstreams: Sendable {
    /// What an upstream is called where workers have their client id.
    package static let clientID = "upstream"

    /// Where this node connects to for them.
    package let rule: AddressRule
    private let sessions: SessionTable
    private let catalog: CatalogHolder
    private let group: any EventLoopGroup
    private let metrics = UpstreamMetrics()
    private let logger: Logger
    /// Those that are served, for whoever wants to know how they are.
    private let served = Mutex<[RecordKey: UpstreamPlace]>([:])
    private let wanted:
        (stream: AsyncStream<[UpstreamProvider]>, continuation: AsyncStream<[UpstreamProvider]>.Continuation)

    package init(
        sessions: SessionTable, catalog: CatalogHolder, rule: AddressRule, group: any EventLoopGroup, logger: Logger
    ) {
        self.rule = rule
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
        await withDiscardingTaskGroup { group in
            var running: [(provider: UpstreamProvider, place: UpstreamPlace)] = []
            for await list in wanted.stream {
                running.removeAll { entry in
                    if list.contains(entry.provider), entry.place.closedBy == nil { return false }
                    entry.place.close(.providerChanged)
                    return true
                }
                for provider in list where !running.contains(where: { $0.provider == provider }) {
                    guard provider.isComplete else {
                        logger.error(
                            "the key of an upstream cannot be read: the provider is not served",
                            metadata: [
                                "provider": "\(provider.name)",
                                "reason": "\(provider.keyProblem ?? "it is not in the data directory")",
                            ])
                        continue
                    }
                    let connections = connections(of: provider)
                    let place = place(for: provider, connections)
                    running.append((provider, place))
                    group.addTask { [self] in
                        await serve(provider, place)
                        await connections.shutdown()
                    }
                }
            }
            group.cancelAll()
        }
    }

    /// How the provider's upstream is; nil for one that is not served.
    package func standing(of provider: RecordKey) -> UpstreamStanding? {
        served.withLock { $0[provider] }?.standing
    }

    private func connections(of provider: UpstreamProvider) -> GuardedConnections {
        // It was read before it was stored.
        let host = (try? BackendAddress(provider.settings.baseURL))?.host ?? ""
        return GuardedConnections(host: host, rule: rule, group: group)
    }

    private func place(for provider: UpstreamProvider, _ connections: GuardedConnections) -> UpstreamPlace {
        var logger = logger
        logger[metadataKey: "provider"] = .string(provider.name)
        var named = logger
        named[metadataKey: "backend.url"] = .string(provider.settings.baseURL)
        let report = UpstreamReport(logger: named, metrics: metrics)
        // What one key is refused, it may be given for another request; pools and policies judge by the seller.
        let keys = UpstreamKeys(provider.secrets.keys, holdsBack: provider.secrets.keys.count > 1)
        var settings = OpenAIBackend.Settings(baseURL: provider.settings.baseURL, keys: keys)
        settings.headers = provider.secrets.headers.map { ($0.name, $0.value) }
        settings.endpoints = provider.settings.endpoints
        settings.advice = .init(
            address: "set the address that answers with 'aisbf provider set \(provider.name) --base-url URL'",
            account:
                "check the account there, or set its key with 'aisbf provider set \(provider.name) --key-file FILE'")
        settings.followsRedirects = false
        settings.mayBeAsleep = provider.settings.coldStartSeconds > 0
        settings.noted = { refusal, number, failure in report.keyRefused(refusal, number, of: keys.count, failure) }
        return UpstreamPlace(
            OpenAIBackend(settings, connections: connections), keys: keys,
            terms: .init(
                names: ModelNames(provider.settings.renamed),
                coldStartMs: Int64(provider.settings.coldStartSeconds) * 1_000),
            report: report, logger: logger)
    }

    private func serve(_ provider: UpstreamProvider, _ place: UpstreamPlace) async {
        served.withLock { $0[provider.provider] = place }
        defer {
            served.withLock { served in
                if served[provider.provider] === place { served[provider.provider] = nil }
            }
        }
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
