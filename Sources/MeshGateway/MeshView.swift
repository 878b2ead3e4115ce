import MeshBroker
import MeshGossip
package import MeshModel
import MeshRouting
package import MeshRuntime
import MeshSessions
package import MeshWire
import SwiftProtobuf

/// What this node knows of the mesh, as documents for the CLI.
package struct MeshView: Sendable {
    package struct Facts: Sendable {
        package var network: NetworkID
        package var apiURL: String
        package var linkAddresses: [String]
        package var software: String
        package var startedAt: Timestamp

        package init(
            network: NetworkID, apiURL: String, linkAddresses: [String], software: String, startedAt: Timestamp
        ) {
            self.network = network
            self.apiURL = apiURL
            self.linkAddresses = linkAddresses
            self.software = software
            self.startedAt = startedAt
        }
    }

    private let facts: Facts
    private let control: ControlPlane
    private let catalog: CatalogHolder
    private let sessions: SessionTable
    private let clock: ClockJudge
    private let store: StoreWatch
    let links: NodeLinks
    let rules: MeshRules
    private let certificates: @Sendable () -> [JSONValue]

    var journal: LinkJournal { links.journal }

    /// - Parameter certificates: of the public listener, with their dates.
    package init(
        facts: Facts, control: ControlPlane, catalog: CatalogHolder, sessions: SessionTable, clock: ClockJudge,
        store: StoreWatch, links: NodeLinks, rules: MeshRules, certificates: @escaping @Sendable () -> [JSONValue]
    ) {
        self.links = links
        self.rules = rules
        self.certificates = certificates
        self.facts = facts
        self.control = control
        self.catalog = catalog
        self.sessions = sessions
        self.clock = clock
        self.store = store
    }

    func status(_ context: GatewayContext) async -> JSONValue {
        let counts = await control.query { broker in
            (
                links: broker.gossip.linkViews.count, members: broker.gossip.members.count,
                records: broker.gossip.recordCount
            )
        }
        let now = SystemClock.now
        let uptime = max(0, now.wall.milliseconds - facts.startedAt.milliseconds) / 1_000
        return [
            "node_id": .string(KeyText.node.text(context.identity.key.bytes)),
            "operator_id": .string(KeyText.operatorKey.text(context.identity.operatorKey.bytes)),
            "name": .string(context.identity.name), "software": .string(facts.software),
            "network": .string(facts.network.description), "api_url": .string(facts.apiURL),
            "link_addresses": .strings(facts.linkAddresses), "started_at": .integer(facts.startedAt.seconds),
            "uptime_seconds": .integer(uptime), "draining": .boolean(context.isDraining),
            "links": .integer(counts?.links ?? 0), "members": .integer(counts?.members ?? 0),
            "records": .integer(counts?.records ?? 0), "workers": .integer(sessions.count),
            "requests_in_flight": .integer(context.requestsInFlight),
            "clock_offset_ms": .integer(clock.medianOffsetMs(now: now)),
            "clock_ok": .boolean(!clock.isSuspect(now: now)), "store": storeDocument,
            "certificates": .array(certificates()),
        ]
    }

    /// Whether what the operator changes is kept, and the mesh told of it.
    private var storeDocument: JSONValue {
        let trouble = store.current
        return [
            "writable": .boolean(trouble == nil),
            "problem": .optional(trouble?.problem),
            "since": trouble.map { .integer($0.since.seconds) } ?? .null,
            "free_bytes": store.freeBytes.map { .integer($0) } ?? .null,
        ]
    }

    func peers() async -> [JSONValue] {
        let now = SystemClock.instant
        let wall = SystemClock.wall
        let configured = rules.peers.map(\.value)
        let known =
            await control.query { broker -> [JSONValue] in
                let gossip = broker.gossip
                return gossip.members.filter { $0 != gossip.configuration.key }.map { node in
                    let descriptor: Aisbf_Mesh_V1_NodeDescriptor? = gossip.descriptor(of: node).flatMap {
                        if case .nodeDescriptor(let body) = $0.body { body } else { nil }
                    }
                    let lease = gossip.beacon(of: node)
                    let links = gossip.linkViews.filter { $0.peer == node }
                    let direction =
                        links.isEmpty
                        ? "none"
                        : links.allSatisfy(\.dialled) ? "out" : links.contains(where: \.dialled) ? "both" : "in"
                    return [
                        "node_id": .string(KeyText.node.text(node.bytes)), "name": .string(descriptor?.name ?? ""),
                        "operator_id": .optional(
                            gossip.operatorKey(of: node, wall: wall).map { KeyText.operatorKey.text($0.bytes) }),
                        "api_url": .string(descriptor?.apiURL ?? ""),
                        "addresses": .strings(descriptor?.linkAddresses ?? []),
                        "linked": .boolean(!links.isEmpty), "direction": .string(direction),
                        "lease_expires_in_ms": lease.map { .integer($0.expires.milliseconds(since: now)) } ?? .null,
                        "in_flight": .integer(lease?.beacon.inFlight ?? 0),
                        "draining": .boolean(lease?.beacon.draining ?? false),
                        "configured": .boolean(configured.contains { $0.node == node }),
                        "state": links.isEmpty ? .null : "linked",
                    ]
                }
            } ?? []
        return withStates(known, configured)
    }

    /// Peers of the configuration with what became of the last dial, those that were never reached too.
    private func withStates(_ known: [JSONValue], _ configured: [MeshPeer]) -> [JSONValue] {
        var listed: [String] = []
        var all = known.map { document -> JSONValue in
            let id = document["node_id"]?.text ?? ""
            listed.append(id)
            guard document["linked"] != true,
                let peer = configured.first(where: { KeyText.node.text($0.node.bytes) == id })
            else { return document }
            var members = (document.members ?? []).filter { $0.name != "state" }
            members.append(.init("state", .string(state(of: peer))))
            return .object(members)
        }
        for peer in configured where !listed.contains(KeyText.node.text(peer.node.bytes)) {
            let document: JSONValue = [
                "node_id": .string(KeyText.node.text(peer.node.bytes)), "name": "", "operator_id": .null,
                "api_url": "", "addresses": .strings([peer.address]), "linked": false, "direction": "none",
                "lease_expires_in_ms": .null, "in_flight": 0, "draining": false, "configured": true,
                "state": .string(state(of: peer)),
            ]
            all.append(document)
        }
        return all
    }

    func providers() -> [JSONValue] {
        catalog.current.providers.map { provider in
            [
                "full_name": .string(provider.fullName), "provider_id": .string(provider.providerID),
                "key_name": .string(ProviderKeyName.text(provider.tokenSalt)),
                "owner_id": .string(KeyText.owner.text(provider.owner.bytes)), "access": .string(provider.access.name),
                "home_node": .string(provider.homeName), "models": .strings(provider.modelsSeen),
                "attachments": .array(
                    provider.hosts.map { host in
                        [
                            "node_id": .string(KeyText.node.text(host.node.bytes)), "node_name": .string(host.nodeName),
                            "usable": true, "models": .strings(host.models.map(\.id)), "slots": .integer(host.slots),
                            "hardware": [
                                "gpu": .string(host.gpuClass), "count": .integer(host.gpuCount),
                                "total_vram_mb": .integer(host.totalVramMb),
                            ],
                            "endpoints": .strings(host.endpoints),
                            "worker": .string(WorkerMark.text(clientHash: host.clientHash)),
                            "tokens_per_second": .integer(host.tokensPerSecond),
                            "first_content_ms": .integer(host.firstContentMs), "latency_ms": .integer(host.latencyMs),
                        ]
                    }),
            ]
        }
    }

    /// What names mean here, those that somebody else claims as well first.
    func names(onlyConflicts: Bool) async -> [JSONValue] {
        await control.query { broker -> [JSONValue] in
            let claims = Dictionary(grouping: broker.names.conflicts, by: \.name)
            let pins = broker.names.all
            let claimed = pins.filter { claims[$0.name] != nil }
            let others = onlyConflicts ? [] : pins.filter { claims[$0.name] == nil }
            return (claimed + others).map { Self.document($0, claims[$0.name] ?? []) }
        } ?? []
    }

    /// The operator's word on a name, and what it means then.
    func settle(_ input: Broker.NameInput, _ name: MeshName) async -> JSONValue {
        control.submit(.names(input))
        return await control.query { broker -> JSONValue in
            broker.names.pin(name).map { Self.document($0, broker.names.conflicts.filter { $0.name == name }) } ?? .null
        } ?? .null
    }

    private static func document(_ pin: NamePin, _ claims: [NameConflict]) -> JSONValue {
        [
            "name": .string(pin.name.text), "means": .optional(pin.holder.map { pin.name.text(of: $0) }),
            "claimed_by": .strings(claims.map { $0.name.text(of: $0.claimant) }),
            "learnt_from": .string(KeyText.node.text(pin.home.bytes)), "learnt_at": .integer(pin.learnt.seconds),
            "used": .boolean(pin.isUsed), "own": .boolean(pin.isOwn),
        ]
    }

    func workers(of provider: CatalogProvider?) -> [JSONValue] {
        guard let provider else { return [] }
        let local = sessions.sessions(of: provider.key).map { session -> JSONValue in
            [
                "client_id": .string(session.identity.clientID), "node": "this node",
                "models": .strings(session.current.models.map(\.id)),
                "connected_at": .integer(session.connectedAt.seconds),
                "in_flight": .integer(session.requestsInFlight),
                "tokens_per_second": session.current.performance.averageTokensPerSecond.map { .integer($0) } ?? .null,
                "first_content_ms": session.current.performance.averageFirstContentMs.map { .integer($0) } ?? .null,
            ]
        }
        let remote = provider.hosts.filter { $0.node != catalog.current.node }.map { host -> JSONValue in
            [
                "client_id": .null, "node": .string(host.nodeName), "models": .strings(host.models.map(\.id)),
                "connected_at": .null, "in_flight": .null,
                "tokens_per_second": host.tokensPerSecond > 0 ? .integer(host.tokensPerSecond) : .null,
                "first_content_ms": host.firstContentMs > 0 ? .integer(host.firstContentMs) : .null,
            ]
        }
        return local + remote
    }

    /// The last sessions of a provider that ended at this node, and why.
    func ends(of provider: RecordKey) -> [JSONValue] {
        sessions.recentEnds(of: provider).map(Self.document)
    }

    static func document(_ end: SessionEnd) -> JSONValue {
        [
            "client_id": .string(end.clientID), "closed_at": .integer(end.at.seconds),
            "code": end.code.map { .integer($0) } ?? .null, "reason": .string(end.reason),
        ]
    }

    func records(type: String?) async -> [JSONValue] {
        await control.query { broker -> [JSONValue] in
            broker.gossip.allRecords.filter { type == nil || $0.type.name == type }.map { Self.summary($0) }
        } ?? []
    }

    func record(_ key: RecordKey) async -> JSONValue? {
        await control.query { broker -> JSONValue? in
            guard let record = broker.gossip.allRecords.first(where: { $0.key == key }) else { return nil }
            var members = Self.summary(record).members ?? []
            members.append(.init("usable", .boolean(broker.gossip.isUsable(key))))
            members.append(.init("hash", .string(record.hash.description)))
            members.append(.init("body", Self.body(record)))
            members.append(.init("raw", .string(hexText(record.envelope.bytes))))
            return .object(members)
        } ?? nil
    }

    private static func summary(_ record: VerifiedRecord) -> JSONValue {
        [
            "key": .string(record.key.description), "type": .string(record.type.name),
            "signer": .string(record.signer.description), "version": .string(record.version.description),
            "issued_at": .integer(record.envelope.issued.seconds),
            "expires_at": .integer(record.envelope.expires.seconds),
            "bytes": .integer(record.envelope.bytes.count), "tombstone": .boolean(record.envelope.isTombstone),
        ]
    }

    private static func body(_ record: VerifiedRecord) -> JSONValue {
        let json: [UInt8]? =
            switch record.body {
            case .nodeDescriptor(let body): try? body.jsonUTF8Bytes()
            case .beacon(let body): try? body.jsonUTF8Bytes()
            case .providerAdvert(let body): try? body.jsonUTF8Bytes()
            case .attachGrant(let body): try? body.jsonUTF8Bytes()
            case .attachment(let body): try? body.jsonUTF8Bytes()
            case .tombstone(let body): try? body.jsonUTF8Bytes()
            }
        return json.flatMap { try? JSONValue.parse($0) } ?? .null
    }
}
