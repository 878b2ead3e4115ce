package import Logging
import MeshBroker
import MeshCrypto
import MeshExchange
import MeshGateway
import MeshGossip
import MeshModel
import MeshRouting
import MeshRuntime
import MeshSessions
import MeshStore
package import MeshTelemetry
import MeshTransport
import MeshWire
import NIOCore
import NIOPosix
import NIOSSL
import ServiceLifecycle

#if canImport(Glibc)
    import Glibc
#endif

/// One running node: the composition root. Every part is made here, once, and handed to those who need it.
package final class RunningNode: Service {
    package let apiPort: Int
    package let linkPort: Int
    private let home: NodeHome
    private let configuration: NodeConfiguration
    private let logger: Logger
    private let parts: Parts
    private let api: HTTPListener
    private let admin: HTTPListener
    private let reload: NodeReload

    /// What is made before the first port opens.
    private struct Parts: Sendable {
        var gateway: GatewayContext
        var control: ControlPlane
        var links: NodeLinks
        var endpoint: LinkEndpoint
        var forwards: ForwardServer
        var sessions: SessionTable
        var admission: WorkerAdmission
        var administration: Administration
        var upstreams: Upstreams
        var catalog: CatalogHolder
        var broker: Broker
        var store: StoreWatch
        var journal: Journal
        /// Rings when no request of buyers or of other nodes is under way any more.
        var idle: ChangeBell
        var rules: MeshRules
        var certificates: ServerCertificates?
    }

    private init(
        home: NodeHome, configuration: NodeConfiguration, logger: Logger, parts: Parts, api: HTTPListener,
        admin: HTTPListener, linkPort: Int, read: (@Sendable () async throws -> NodeConfiguration)?
    ) {
        reload = NodeReload(
            read: read ?? { configuration }, rules: parts.rules, certificates: parts.certificates, logger: logger)
        self.home = home
        self.configuration = configuration
        self.logger = logger
        self.parts = parts
        self.api = api
        self.admin = admin
        self.linkPort = linkPort
        apiPort = api.port
    }

    package static let software = "aisbf-mesh/0.1.0"

    // MARK: Start

    /// Opens the ports; nothing is served or said before `run`.
    /// - Parameter reread: reads the configuration anew when the node is told to (SIGHUP).
    package static func start(
        _ configuration: NodeConfiguration, home: NodeHome, registry: PrometheusRegistry, logger: Logger,
        reread: (@Sendable () async throws -> NodeConfiguration)? = nil
    ) async throws -> RunningNode {
        let group = MultiThreadedEventLoopGroup.singleton
        let parts = try makeParts(configuration, home, registry, group, logger)
        let currentTLS: (@Sendable () -> NIOSSLContext)?
        if let certificates = parts.certificates {
            currentTLS = { certificates.context }
        } else {
            currentTLS = nil
        }
        let api = try await bound("api.listen", configuration.api.listen) {
            try await HTTPListener.bind(
                group: group, host: configuration.api.listen.host, port: configuration.api.listen.port,
                tls: currentTLS,
                upgrade: { channel, head in
                    ResponsesUpgrade.verdict(channel, head, parts.gateway)
                        .map(channel.eventLoop.makeSucceededFuture) ?? parts.admission.admits(channel, head)
                },
                places: .buyersAndWorkers(atMost: OpenFiles.connections(of: OpenFiles.raise()))
            ) { GatewayHandler(shared: parts.gateway, carrier: $0) }
        }
        let admin = try await HTTPListener.bind(group: group, unixSocketPath: configuration.adminSocketPath) {
            GatewayHandler(shared: parts.gateway, carrier: $0, isLocalOperator: true)
        }
        let linkPort = try await bound("link.listen", configuration.link.listen) {
            try await parts.endpoint.bind(host: configuration.link.listen.host, port: configuration.link.listen.port)
                .get()
        }
        return RunningNode(
            home: home, configuration: configuration, logger: logger, parts: parts, api: api, admin: admin,
            linkPort: linkPort, read: reread)
    }

    private static func bound<Value>(
        _ key: String, _ endpoint: SocketEndpoint, _ bind: () async throws -> Value
    ) async throws -> Value {
        do { return try await bind() } catch let error as IOError {
            let reason =
                switch error.errnoCode {
                case EADDRINUSE: "another program listens there; stop it or choose another port"
                case EACCES: "permission denied; ports below 1024 need a capability, which 'aisbf node unit' grants"
                default: "\(error)"
                }
            throw NodeStartError(
                description: "cannot listen on \(endpoint) (\(key)): \(reason)",
                exitCode: error.errnoCode == EACCES ? NodeStartError.notPermitted : 1)
        }
    }

    private static func makeParts(
        _ configuration: NodeConfiguration, _ home: NodeHome, _ registry: PrometheusRegistry,
        _ group: any EventLoopGroup, _ logger: Logger
    ) throws -> Parts {
        let (key, operatorKey) = (home.identity.node.publicKey, home.identity.operatorKey.publicKey)
        let catalog = CatalogHolder(node: key)
        let keyring = AttachKeyring()
        let signers = Signers([home.identity.node, home.identity.operatorKey], attachKeys: keyring)
        let clock = ClockJudge(operatorKey: operatorKey)
        let (workerMetrics, idle) = (WorkerMetrics(), ChangeBell())
        let journal = Journal(requests: configuration.log.requests, logger: logger)
        let sessions = SessionTable(metrics: workerMetrics, catalog: catalog, logger: logger)
        let control = ControlPlane(
            store: home.store, signers: signers, catalog: catalog, clock: clock, network: configuration.networkID,
            eventLoop: group.next(), logger: logger)
        let links = NodeLinks(
            control: control, clock: clock, node: key, operatorKey: operatorKey, logger: logger)
        let rules = try MeshRules(
            store: home.store, operatorKey: operatorKey, configured: MeshLists(configuration.mesh),
            wall: { SystemClock.wall })
        let certificates = try configuration.api.tls.map { try ServerCertificates($0) }
        let (quotas, usage) = books(home, logger)
        let dispatcher = dispatcher(configuration, home, sessions, links, signers, catalog, quotas)
        let market = market(home, catalog, dispatcher, logger)
        let forwards = ForwardServer(
            node: key, catalog: catalog, dispatcher: dispatcher, signers: signers, deadlines: configuration.deadlines,
            journal: journal, usage: usage, quotas: quotas, requests: RequestCount(idle: idle))
        let endpoint = try linkEndpoint(configuration, home, rules, links, control, group)
        links.connect(endpoint: endpoint) { forwards.arrived($0) }
        let admission = WorkerAdmission(
            catalog: catalog, sessions: sessions, keys: keyring, imported: ImportedTokens(metrics: workerMetrics),
            greetingGraceMs: configuration.workerGreetingGraceMs, journal: journal,
            opened: { key, details in control.submit(.opened(key, details)) })
        let authenticator = Authenticator()
        let store = StoreWatch(store: home.store, logger: logger)
        let upstreams = upstreams(configuration, sessions, catalog, group, logger)
        let administration = Administration(
            store: home.store, directory: home.directory, identity: home.identity, authenticator: authenticator,
            signers: signers, control: control, sessions: sessions, catalog: catalog, upstreams: upstreams,
            book: market.book, quotas: quotas, wall: { SystemClock.wall })
        let views = NodeViews(
            facts: facts(configuration, home), control: control, catalog: catalog, sessions: sessions, clock: clock,
            store: store, links: links, rules: rules, upstreams: upstreams,
            certificates: { certificates.map { [$0.view] } ?? [] })
        let routes = NodeRoutes(
            administration: AdminRoutes(
                administration: administration, views: views, rules: rules, quotas: quotas, usage: usage),
            admission: admission, store: store, exposition: { registry.exposition() })
        let gateway = GatewayContext(
            identity: NodeFacts(key: key, operatorKey: operatorKey, name: configuration.nodeName),
            authenticator: authenticator, catalog: catalog, dispatcher: dispatcher, market: market, quotas: quotas,
            usage: usage, deadlines: configuration.deadlines, coldRoutes: routes, metrics: GatewayMetrics(),
            journal: journal, crossOrigin: CrossOrigin(configuration.api.origins),
            requests: RequestCount(idle: idle))
        return Parts(
            gateway: gateway, control: control, links: links, endpoint: endpoint, forwards: forwards,
            sessions: sessions, admission: admission, administration: administration, upstreams: upstreams,
            catalog: catalog, broker: try broker(configuration, home, rules), store: store, journal: journal,
            idle: idle, rules: rules, certificates: certificates)
    }

    private static func upstreams(
        _ configuration: NodeConfiguration, _ sessions: SessionTable, _ catalog: CatalogHolder,
        _ group: any EventLoopGroup, _ logger: Logger
    ) -> Upstreams {
        Upstreams(
            sessions: sessions, catalog: catalog, rule: AddressRule(allowing: configuration.upstreamRanges),
            group: group, logger: logger)
    }

    private static func dispatcher(
        _ configuration: NodeConfiguration, _ home: NodeHome, _ sessions: SessionTable, _ links: NodeLinks,
        _ signers: Signers, _ catalog: CatalogHolder, _ quotas: Quotas
    ) -> Dispatcher {
        let remotes = ForwardPlaces(
            remote: ForwardClient(links: links, signer: home.identity.node, signers: signers),
            operators: { catalog.current.node($0)?.operatorKey })
        return Dispatcher(
            locals: [sessions], remotes: remotes, quotas: quotas, node: home.identity.node.publicKey,
            holding: Holding(holds: Holds(patienceMs: configuration.holdMs), catalog: catalog))
    }

    /// What may be used at this node, and what is.
    private static func books(_ home: NodeHome, _ logger: Logger) -> (Quotas, UsageBook) {
        (Quotas(store: home.store, logger: logger), UsageBook(store: home.store, logger: logger))
    }

    private static func market(
        _ home: NodeHome, _ catalog: CatalogHolder, _ dispatcher: Dispatcher, _ logger: Logger
    ) -> Market {
        Market(
            book: MarketBook(), catalog: catalog, dispatcher: dispatcher, node: home.identity.node.publicKey,
            nodeOperator: home.identity.operatorKey.publicKey, seed: Sodium.shared.randomSeed(), logger: logger)
    }

    /// The link port, which follows what the operator admits and dials.
    private static func linkEndpoint(
        _ configuration: NodeConfiguration, _ home: NodeHome, _ rules: MeshRules, _ links: NodeLinks,
        _ control: ControlPlane, _ group: any EventLoopGroup
    ) throws -> LinkEndpoint {
        let endpoint = try LinkEndpoint(
            configuration: .init(
                signer: home.identity.node, network: configuration.networkID, cryptography: Sodium.shared,
                identity: home.tls, admission: rules.admission, descriptor: { links.descriptor },
                now: { SystemClock.now }),
            group: group, delegate: links)
        endpoint.setKnownAddresses(rules.peers.compactMap { LinkEndpoint.parse($0.value.address)?.host })
        rules.onChange {
            let admission = rules.admission
            endpoint.setAdmission(admission)
            endpoint.setKnownAddresses(rules.peers.compactMap { LinkEndpoint.parse($0.value.address)?.host })
            links.journal.forgetKnocks { admission.admits(node: $0.node, operatorKey: $0.operatorKey) }
            control.submit(.gossip(.configure(admission, rules.staticPeers)))
        }
        return endpoint
    }

    private static func facts(_ configuration: NodeConfiguration, _ home: NodeHome) -> NodeView.Facts {
        NodeView.Facts(
            key: home.identity.node.publicKey, operatorKey: home.identity.operatorKey.publicKey,
            name: configuration.nodeName, network: configuration.networkID, apiURL: configuration.api.url,
            linkAddresses: configuration.link.advertise.map(\.description), software: software,
            startedAt: SystemClock.wall)
    }

    private static func broker(
        _ configuration: NodeConfiguration, _ home: NodeHome, _ rules: MeshRules
    ) throws -> Broker {
        var gossip = Gossip.Configuration(
            key: home.identity.node.publicKey, network: configuration.networkID, cryptography: Sodium.shared,
            seed: Sodium.shared.randomSeed(),
            admission: rules.admission)
        gossip.staticPeers = rules.staticPeers
        gossip.operatorKey = home.identity.operatorKey.publicKey
        gossip.degree = configuration.mesh.degree
        gossip.intervals.beaconMs = configuration.mesh.beaconIntervalMs
        return Broker(configuration: gossip, names: try home.store.names(), now: SystemClock.now)
    }

    // MARK: Run

    package func run() async throws {
        observeWorkers()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [parts] in try await parts.control.run(broker: parts.broker, links: parts.links) }
            group.addTask { [self] in try await maintain() }
            group.addTask { [parts] in try await parts.upstreams.run() }
            group.addTask { [reload, configuration] in await reload.onSignals(from: configuration) }
            try await restore()
            logger.info(
                "node is up",
                metadata: [
                    "node.name": "\(configuration.nodeName)", "node.id": "\(home.summary.nodeID)",
                    "api.url": "\(configuration.api.url)", "api.port": "\(apiPort)", "link.port": "\(linkPort)",
                ])
            group.addTask { [self] in
                try await gracefulShutdown()
                await drain()
            }
            // The first part that ends, whether drained or failed, ends the node.
            try await group.next()
            group.cancelAll()
            parts.control.stop()
            while try await group.next() != nil {}
        }
        try home.store.close()
        home.directory.release()
    }

    private func restore() async throws {
        let store = home.store
        let network = configuration.networkID
        let records = try await NIOThreadPool.singleton.runIfActive { () throws -> [VerifiedRecord] in
            let wall = SystemClock.wall
            return (try store.loadRecords() + store.ownRecords()).compactMap {
                try? VerifiedRecord.verify(bytes: $0, network: network, wall: wall, cryptography: Sodium.shared).get()
            }
        }
        parts.control.submit(.gossip(.restore(records)))
        parts.control.submit(.describe(descriptor()))
        try await parts.administration.restore()
    }

    private func descriptor() -> Aisbf_Mesh_V1_NodeDescriptor {
        let key = home.identity.node.publicKey
        // Whole weeks, so that a restart does not mean a new descriptor.
        let week: Int64 = 7 * 86_400_000
        let notAfter = Timestamp(milliseconds: (SystemClock.wall.milliseconds / week + 54) * week)
        var body = Aisbf_Mesh_V1_NodeDescriptor()
        body.name = configuration.nodeName
        body.operator.operatorKey = home.identity.operatorKey.publicKey.bytes.protobuf
        body.operator.notAfterMs = UInt64(clamping: notAfter.milliseconds)
        body.operator.signature =
            home.identity.operatorKey.sign(Statement.operatorCertificate(node: key, notAfter: notAfter)).protobuf
        body.linkAddresses = configuration.link.advertise.map {
            SocketEndpoint(host: $0.host, port: $0.port == 0 ? linkPort : $0.port).description
        }
        body.tlsSpkiPins = [home.tls.spkiHash.protobuf]
        body.apiURL = configuration.api.url
        body.region = configuration.mesh.region
        body.features = ["forward-v1"]
        body.software = Self.software
        body.protocolMin = 1
        body.protocolMax = 1
        body.maxForwards = UInt32(Limits.linkStreams)
        return body
    }

    private func observeWorkers() {
        let control = parts.control
        let catalog = parts.catalog
        parts.sessions.observe { event in
            switch event {
            case .registered(let session), .changed(let session):
                if case .registered = event { session.inherit(from: catalog.current) }
                guard let provider = catalog.current.provider(session.identity.provider) else { return }
                control.submit(.workerAttached(AttachedWorker(session, owner: provider.owner)))
            case .ended(let session): control.submit(.workerDetached(sessionID: session.sessionID))
            }
        }
    }

    /// Once a second: writes what was learned, closes sessions whose token ended, and tells the beacon the load.
    private func maintain() async throws {
        var speeds = SpeedReports()
        var seconds = 0
        while !Task.isCancelled {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            parts.journal.flush()
            seconds += 1
            if seconds % 60 == 0 { await reload.certificatesChanged() }
            for session in speeds.due(now: SystemClock.instant, parts.sessions.all) {
                parts.sessions.changed(session)
            }
            do {
                try await NIOThreadPool.singleton.runIfActive { [parts] in
                    parts.gateway.quotas.sweep()
                    parts.gateway.usage.look()
                    try parts.control.flushRecords()
                }
            } catch is CancellationError { return }
            parts.store.look(now: SystemClock.wall)
            let names = parts.catalog.takeUsedNames()
            if !names.isEmpty { parts.control.submit(.names(.used(names))) }
            parts.sessions.revoke(by: parts.catalog.current, wall: SystemClock.wall)
            do { try await parts.administration.completeProofs() } catch {
                logger.warning("a token's key could not be proven", metadata: ["error": "\(error)"])
            }
            let load = parts.gateway.requestsInFlight + parts.forwards.requestsInFlight
            parts.control.submit(
                .loadChanged(
                    slots: UInt32(clamping: parts.sessions.count * 8), inFlight: UInt32(clamping: load),
                    draining: parts.gateway.isDraining))
        }
    }

    // MARK: Stop

    /// New requests are refused, running ones get `Limits.drainMs` to finish, then workers and links are closed. The
    /// listener stays until then: whoever asks hears that the node is going, a load balancer in `/health`.
    private func drain() async {
        logger.info("draining", metadata: ["requests.in_flight": "\(parts.gateway.requestsInFlight)"])
        parts.gateway.drain()
        parts.forwards.drain()
        parts.admission.stop()
        _ = await parts.idle.wait(atMost: Limits.drainMs) { [parts] in
            parts.gateway.requestsInFlight + parts.forwards.requestsInFlight == 0
        }
        try? await api.channel.close().get()
        parts.sessions.closeAll(.nodeStopping)
        api.connections.quiesce()
        // The attachments' tombstones leave before the links do.
        if !parts.endpoint.links.isEmpty {
            await parts.control.board.waitForQuiet(atMost: Limits.drainRecordsMs) { [parts] in
                parts.sessions.count == 0
            }
        }
        parts.endpoint.drain()
        try? await parts.endpoint.shutdown(afterMs: Limits.linkGoodbyeMs).get()
        try? await admin.channel.close().get()
        admin.connections.closeAll()
        api.connections.closeAll()
        parts.journal.flush()
        try? await NIOThreadPool.singleton.runIfActive { [parts] in
            parts.gateway.quotas.close()
            parts.gateway.usage.flush()
        }
        logger.info("node stopped")
    }
}

/// Why a node did not start, in words for the operator.
package struct NodeStartError: Error, CustomStringConvertible {
    /// This user may not (sysexits(3): EX_NOPERM).
    package static let notPermitted: Int32 = 77
    /// What lies in the data directory has to be mended first (EX_CONFIG).
    package static let unusableData: Int32 = 78

    package let description: String
    /// How the process ends: starting again without a change helps with 1 only.
    package var exitCode: Int32 = 1
}
