import MeshBroker
import MeshExchange
import MeshGossip
package import MeshModel
package import MeshRouting
import MeshTransport
import MeshWire

/// Everything an operator, a seller or a dashboard may look at, as values. They are made of what is published anyway:
/// the catalog, the board, the tables of links and sessions. The control loop is asked for one record, or for a bounded
/// run of records, at a time.
package struct NodeViews: Sendable {
    package let facts: NodeView.Facts
    private let control: ControlPlane
    let catalog: CatalogHolder
    let sessions: SessionTable
    let clock: ClockJudge
    private let store: StoreWatch
    let links: NodeLinks
    private let rules: MeshRules
    let upstreams: Upstreams
    private let certificates: @Sendable () -> [CertificateView]

    /// - Parameter certificates: of the public listener, with their dates.
    package init(
        facts: NodeView.Facts, control: ControlPlane, catalog: CatalogHolder, sessions: SessionTable, clock: ClockJudge,
        store: StoreWatch, links: NodeLinks, rules: MeshRules, upstreams: Upstreams,
        certificates: @escaping @Sendable () -> [CertificateView]
    ) {
        self.upstreams = upstreams
        self.facts = facts
        self.control = control
        self.catalog = catalog
        self.sessions = sessions
        self.clock = clock
        self.store = store
        self.links = links
        self.rules = rules
        self.certificates = certificates
    }

    package func node(isDraining: Bool, requestsInFlight: Int) -> NodeView {
        let trouble = store.current
        let now = SystemClock.now
        return NodeView(
            facts: facts,
            uptimeSeconds: max(0, now.wall.milliseconds - facts.startedAt.milliseconds) / 1_000,
            isDraining: isDraining, links: links.all.count, members: catalog.current.nodes.count,
            records: control.board.recordCount, workers: sessions.count, requestsInFlight: requestsInFlight,
            clockOffsetMs: clock.medianOffsetMs(now: now), isClockTrusted: !clock.isSuspect(now: now),
            store: StoreView(problem: trouble?.problem, since: trouble?.since, freeBytes: store.freeBytes),
            certificates: certificates())
    }

    // MARK: The mesh

    /// The members of the mesh, and behind them those that were configured and never reached.
    package var peers: [PeerView] {
        let now = SystemClock.instant
        let configured = rules.peers.map(\.value)
        let links = Dictionary(grouping: links.all, by: \.peer)
        let members = catalog.current.nodes.filter { $0.key != facts.key }.map { node -> PeerView in
            let lease = control.board.lease(of: node.key, now: now)
            let direction = PeerView.Direction(dialled: links[node.key, default: []].map(\.dialled))
            let peer = configured.first { $0.node == node.key }
            return PeerView(
                node: node.key, name: node.name, operatorKey: node.operatorKey, apiURL: node.apiURL,
                addresses: node.linkAddresses, direction: direction,
                leaseExpiresInMs: lease.map { $0.expires.milliseconds(since: now) }, inFlight: lease?.inFlight ?? 0,
                isDraining: lease?.isDraining ?? false, isConfigured: peer != nil,
                state: direction == .none ? peer.map(state(of:)) : "linked")
        }
        let strangers = configured.filter { peer in !members.contains { $0.node == peer.node } }
        return members
            + strangers.map { peer in
                PeerView(node: peer.node, addresses: [peer.address], isConfigured: true, state: state(of: peer))
            }
    }

    /// What became of the last dial of a configured peer, in words.
    private func state(of peer: MeshPeer) -> String {
        if links.link(to: peer.node) != nil { return "linked" }
        return links.journal.attempt(peer.address).map(links.words) ?? "not dialled yet"
    }

    /// Nodes that asked for a link and are not admitted, the newest first.
    package var knocks: [KnockView] {
        links.journal.knocks.map { knock in
            KnockView(
                node: knock.node, operatorKey: knock.operatorKey, address: knock.remote, first: knock.first,
                last: knock.last, times: knock.count,
                admission: knock.operatorKey.map { .operatorKey($0) } ?? .node(knock.node))
        }
    }

    package func rules(_ kind: MeshRule.Kind) -> [RuleView] {
        switch kind {
        case .allow:
            rules.allowed.map { RuleView(value: $0.value.description, isConfigured: $0.isConfigured) }
        case .peer:
            rules.peers.map {
                RuleView(value: $0.value.description, isConfigured: $0.isConfigured, state: state(of: $0.value))
            }
        }
    }

    package var providers: [ProviderView] { catalog.current.providers.map(ProviderView.init) }

    /// What names mean here, those that somebody else claims as well first.
    package func names(onlyConflicts: Bool) async -> [NameView] {
        await control.query(\.names).map { NameView.all($0, onlyConflicts: onlyConflicts) } ?? []
    }

    /// Nil for one that means nothing here.
    package func name(_ name: MeshName) async -> NameView? {
        await control.query(\.names).flatMap { NameView.of(name, $0) }
    }

    // MARK: Workers

    package var allSessions: [SessionView] { sessions.all.map(SessionView.init) }

    /// The last sessions of a provider that ended at this node, the newest last.
    package func ends(of provider: RecordKey) -> [SessionEnd] { sessions.recentEnds(of: provider) }

    package func provider(_ account: ProviderAccount) -> OwnProviderView {
        let known = catalog.current.providers(withID: account.providerID)
            .first { $0.owner == account.ownerKey && $0.homeNode == facts.key }
        return OwnProviderView(
            account: account, homeName: facts.name, keyName: known.map { ProviderKeyName.text($0.tokenSalt) },
            workers: known.map(workers(of:)) ?? [], ends: known.map { ends(of: $0.key) } ?? [],
            upstream: known.flatMap { upstreams.standing(of: $0.key) }.map(UpstreamView.init))
    }

    private func workers(of provider: CatalogProvider) -> [WorkerView] {
        sessions.sessions(of: provider.key).map(WorkerView.init)
            + provider.hosts.filter { $0.node != facts.key }.map(WorkerView.init)
    }

    // MARK: Records

    /// Everything the node holds, tombstones too. Read a few at a time, so that nothing else waits for it: what changes
    /// meanwhile may be there or not.
    package func records(_ type: RecordType? = nil) async -> [RecordView] {
        var views: [RecordView] = []
        var last: RecordKey?
        while true {
            let after = last
            let run = await control.query { $0.gossip.records(after: after, atMost: Limits.recordsReadAtOnce) } ?? []
            views += run.lazy.filter { type == nil || $0.type == type }.map(RecordView.init)
            guard run.count == Limits.recordsReadAtOnce, let end = run.last?.key else { return views }
            last = end
        }
    }

    package func record(_ key: RecordKey) async -> RecordDetailView? {
        await control.query { broker -> RecordDetailView? in
            broker.gossip.held(key).map {
                RecordDetailView(summary: RecordView($0), isUsable: broker.gossip.isUsable(key), record: $0)
            }
        } ?? nil
    }
}
