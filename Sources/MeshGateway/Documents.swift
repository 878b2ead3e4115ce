import MeshModel
import MeshRouting
import MeshRuntime
import MeshSessions
import MeshWire
import SwiftProtobuf

// Everything that the administration API, the worker status and the list of models show, as JSON: one place that knows
// the names of fields. The values come from MeshRuntime/Views and MeshModel.

// MARK: The node

extension NodeView {
    var document: JSONValue {
        [
            "node_id": .string(KeyText.node.text(facts.key.bytes)),
            "operator_id": .string(KeyText.operatorKey.text(facts.operatorKey.bytes)), "name": .string(facts.name),
            "software": .string(facts.software), "network": .string(facts.network.description),
            "api_url": .string(facts.apiURL), "link_addresses": .strings(facts.linkAddresses),
            "started_at": .integer(facts.startedAt.seconds), "uptime_seconds": .integer(uptimeSeconds),
            "draining": .boolean(isDraining), "links": .integer(links), "members": .integer(members),
            "records": .integer(records), "workers": .integer(workers),
            "requests_in_flight": .integer(requestsInFlight), "clock_offset_ms": .integer(clockOffsetMs),
            "clock_ok": .boolean(isClockTrusted), "store": store.document,
            "certificates": .array(certificates.map(\.document)),
        ]
    }
}

extension StoreView {
    fileprivate var document: JSONValue {
        [
            "writable": .boolean(problem == nil), "problem": .optional(problem), "since": .time(since),
            "free_bytes": freeBytes.map { .integer($0) } ?? .null,
        ]
    }
}

extension CertificateView {
    fileprivate var document: JSONValue {
        [
            "use": .string(use), "file": .string(file), "names": .strings(names), "not_before": .time(notBefore),
            "not_after": .time(notAfter), "loaded_at": .integer(loadedAt.seconds), "problem": .optional(problem),
        ]
    }
}

// MARK: The mesh

extension PeerView {
    var document: JSONValue {
        [
            "node_id": .string(KeyText.node.text(node.bytes)), "name": .string(name),
            "operator_id": .optional(operatorKey.map { KeyText.operatorKey.text($0.bytes) }),
            "api_url": .string(apiURL), "addresses": .strings(addresses), "linked": .boolean(isLinked),
            "direction": .string(direction.rawValue),
            "lease_expires_in_ms": leaseExpiresInMs.map { .integer($0) } ?? .null, "in_flight": .integer(inFlight),
            "draining": .boolean(isDraining), "configured": .boolean(isConfigured), "state": .optional(state),
        ]
    }
}

extension KnockView {
    var document: JSONValue {
        [
            "node_id": .string(KeyText.node.text(node.bytes)),
            "operator_id": .optional(operatorKey.map { KeyText.operatorKey.text($0.bytes) }),
            "address": .string(address), "first_at": .integer(first.seconds), "last_at": .integer(last.seconds),
            "count": .integer(times), "admit": .string("aisbf mesh allow add \(admission)"),
        ]
    }
}

extension RuleView {
    var document: JSONValue {
        var members: [JSONValue.Member] = [
            .init("value", .string(value)), .init("from", isConfigured ? "configuration" : "command"),
        ]
        if let state { members.append(.init("state", .string(state))) }
        return .object(members)
    }
}

extension ProviderView {
    var document: JSONValue {
        [
            "full_name": .string(fullName), "provider_id": .string(providerID), "key_name": .string(keyName),
            "owner_id": .string(KeyText.owner.text(owner.bytes)), "access": .string(access),
            "home_node": .string(homeName), "models": .strings(models),
            "attachments": .array(attachments.map(\.document)),
        ]
    }
}

extension AttachmentView {
    fileprivate var document: JSONValue {
        [
            "node_id": .string(KeyText.node.text(node.bytes)), "node_name": .string(nodeName), "usable": true,
            "models": .strings(offer.models.map(\.id)), "slots": .integer(offer.slots),
            "hardware": .object(offer.hardware.members), "endpoints": .strings(offer.endpoints),
            "worker": .string(mark), "tokens_per_second": .integer(offer.speed.tokensPerSecond),
            "first_content_ms": .integer(offer.speed.firstContentMs), "latency_ms": .integer(offer.speed.latencyMs),
        ]
    }
}

extension WorkerOffer.Hardware {
    fileprivate var members: [JSONValue.Member] {
        [
            .init("gpu", .string(gpuClass)), .init("count", .integer(gpuCount)),
            .init("total_vram_mb", .integer(totalVramMb)),
        ]
    }
}

extension NameView {
    var document: JSONValue {
        [
            "name": .string(name.text), "means": .optional(means), "claimed_by": .strings(claimants),
            "learnt_from": .string(KeyText.node.text(home.bytes)), "learnt_at": .integer(learnt.seconds),
            "used": .boolean(isUsed), "own": .boolean(isOwn),
        ]
    }
}

// MARK: Records

extension RecordView {
    var document: JSONValue { .object(members) }

    fileprivate var members: [JSONValue.Member] {
        [
            .init("key", .string(key.description)), .init("type", .string(type.name)),
            .init("signer", .string(signer.description)), .init("version", .string(version.description)),
            .init("issued_at", .integer(issued.seconds)), .init("expires_at", .integer(expires.seconds)),
            .init("bytes", .integer(bytes)), .init("tombstone", .boolean(isTombstone)),
        ]
    }
}

extension RecordDetailView {
    var document: JSONValue {
        .object(
            summary.members + [
                .init("usable", .boolean(isUsable)), .init("hash", .string(record.hash.description)),
                .init("body", body), .init("raw", .string(hexText(record.envelope.bytes))),
            ])
    }

    private var body: JSONValue {
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

// MARK: Accounts

extension UserAccount {
    var document: JSONValue {
        [
            "username": .string(username), "owner_id": .string(KeyText.owner.text(ownerKey.bytes)),
            "created_at": .integer(createdAt.seconds), "disabled": .boolean(disabled),
        ]
    }
}

extension APIKeyAccount {
    var document: JSONValue { .object(members) }

    /// With its secret, shown this once.
    func document(_ secret: String) -> JSONValue { .object(members + [.init("key", .string(secret))]) }

    private var members: [JSONValue.Member] {
        [
            .init("key_id", .string(keyID)), .init("username", .string(username)), .init("label", .string(label)),
            .init("scopes", .strings(scopes.map(\.rawValue))), .init("created_at", .integer(createdAt.seconds)),
            .init("expires_at", .time(expiresAt)), .init("revoked_at", .time(revokedAt)),
            .init("default_model", .optional(defaultModel)),
        ]
    }
}

extension OwnProviderView {
    var document: JSONValue { document(isOperator: true) }

    /// - Parameter isOperator: whether who asks may know where an upstream is.
    func document(isOperator: Bool) -> JSONValue {
        let user = account.scope.username
        let document: JSONValue = [
            "owner": .string(user), "provider_id": .string(account.providerID),
            "name": .string("\(user)/\(account.providerID)"),
            "full_name": .string("\(user)@\(homeName)/\(account.providerID)"), "key_name": .optional(keyName),
            "access": .string(account.access.word), "named": .strings(account.access.named),
            "kind": .string(account.kind), "display_name": .string(account.displayName),
            "max_concurrency": .integer(account.maxConcurrency),
            "tokens": .array(account.attachKeys.map(\.document)), "workers": .array(workers.map(\.document)),
            "closes": .array(ends.map(\.document)), "data_policy": .string(account.dataPolicy.rawValue),
            "prices": account.prices.documents,
        ]
        guard let upstream = account.upstream, isOperator else { return document }
        var members = upstream.members
        members.append(.init("standing", self.upstream?.document ?? .null))
        return .object((document.members ?? []) + [.init("upstream", .object(members))])
    }

    /// With its secret, shown this once, and the worker file without what only the seller knows: its backend, and a
    /// client id where the host's name is not the right one.
    func document(token: String, apiURL: String) -> JSONValue {
        [
            "provider": document, "registration_token": .string(token),
            "worker": [
                "broker": [
                    "enabled": true, "base_url": .string(apiURL),
                    "scope": .string(account.scope == .global ? "global" : "user"),
                    "username": .string(account.scope.username), "provider_id": .string(account.providerID),
                    "registration_token": .string(token), "transport": "websocket",
                ]
            ],
        ]
    }
}

extension UpstreamSettings {
    /// Everything of an upstream but its keys and the values of its headers.
    fileprivate var members: [JSONValue.Member] {
        [
            .init("base_url", .string(baseURL)), .init("endpoints", .strings(endpoints)),
            .init("has_key", .boolean(hasKey)), .init("headers", .strings(headers)),
            .init("models", .object(renamed.map { .init($0.sold, .string($0.upstream)) })),
            .init("cold_start_seconds", .integer(coldStartSeconds)),
        ]
    }
}

extension UpstreamView {
    fileprivate var document: JSONValue {
        [
            "state": .string(state), "problem": .optional(problem),
            "keys": .array(
                keys.map { key in
                    [
                        "state": .string(key.state),
                        "rests_for_seconds": key.restsForMs.map { .integer(($0 + 999) / 1_000) } ?? .null,
                    ]
                }),
        ]
    }
}

extension ProviderAccess {
    fileprivate var word: String {
        switch self {
        case .public: "public"
        case .ownerOnly: "owner"
        case .named: "named"
        }
    }

    fileprivate var named: [String] {
        switch self {
        case .named(let keys): keys.map { KeyText.owner.text($0.bytes) }
        case .public, .ownerOnly: []
        }
    }
}

extension WorkerView {
    fileprivate var document: JSONValue {
        [
            "client_id": .optional(clientID), "node": .string(nodeName ?? "this node"), "models": .strings(models),
            "connected_at": .time(connectedAt), "in_flight": inFlight.map { .integer($0) } ?? .null,
            "tokens_per_second": .count(tokensPerSecond), "first_content_ms": .count(firstContentMs),
        ]
    }
}

extension SessionEnd {
    var document: JSONValue {
        [
            "client_id": .string(clientID), "closed_at": .integer(at.seconds),
            "code": code.map { .integer($0) } ?? .null, "reason": .string(reason),
        ]
    }
}

/// A registration token as the operator sees it: everything but the secret.
extension AttachKeyEntry {
    var document: JSONValue {
        [
            "id": .string(tokenID), "label": .string(label), "key": .string(publicKey.description),
            "created_at": .integer(createdAt.seconds), "not_after": .time(notAfter),
            "allowed_nodes": .strings(allowedHosts.map { KeyText.node.text($0.bytes) }),
            "imported": .boolean(derivation == .argon2id), "proven": .boolean(proof != nil),
        ]
    }
}

// MARK: Models

extension Catalog.Listed {
    /// - Parameter fullName: what the provider is called here, whoever else has its name.
    func document(fullName: String) -> JSONValue {
        let offers = provider.hosts.filter { $0.offer.models.contains(model.id) }
        var endpoints: [String] = []
        for name in offers.flatMap(\.offer.endpoints) where !endpoints.contains(name) { endpoints.append(name) }
        var members: [JSONValue.Member] = [
            .init("id", .string(id)), .init("object", "model"), .init("created", 0),
            .init("owned_by", .string(provider.scope.username)),
        ]
        if let tokens = model.contextTokens { members.append(.init("context_length", .integer(tokens))) }
        let prices = provider.prices[model: model.id]
        // What such tools take for dollars must be dollars.
        if let prices, prices.currency == .usd { members.append(.init("pricing", prices.pricing)) }
        let hardware = offers.map { host -> JSONValue in
            .object(
                host.offer.hardware.members + [
                    .init("tokens_per_second", .integer(host.offer.speed.tokensPerSecond)),
                    .init("first_content_ms", .integer(host.offer.speed.firstContentMs)),
                ])
        }
        var own: [JSONValue.Member] = [
            .init("full_name", .string("\(fullName)/\(model.id)")),
            .init("key_name", .string("\(ProviderKeyName.text(provider.tokenSalt))/\(model.id)")),
            .init("nodes", .strings(offers.map(\.nodeName))), .init("hardware", .array(hardware)),
            .init("endpoints", .strings(endpoints.sorted())),
            .init("data_policy", .string(provider.dataPolicy.rawValue)),
        ]
        if let prices { own.append(.init("prices", .object(prices.members))) }
        members.append(.init("aisbf", .object(own)))
        return .object(members)
    }
}

// MARK: Worker sessions

/// As operators and owners see it; field names as AISBF's dashboards expect them.
extension SessionView {
    var document: JSONValue {
        [
            "session_id": .string(sessionID), "provider_id": .string(identity.providerID),
            "client_id": .string(identity.clientID), "worker": .string(mark), "connected": true,
            "connected_at": .integer(connectedAt.seconds), "last_seen": .integer(lastSeen.seconds),
            "owner": .string(identity.scope.username), "server": .string(profile.server),
            "models": .strings(offer.models.map(\.id)), "in_flight": .integer(requestsInFlight),
            "metadata": [
                "owner": .string(identity.scope.username),
                "scope": .string(identity.scope == .global ? "global" : "user"),
                "studio_endpoints": .strings(offer.endpoints), "hardware": profile.hardware.document,
            ],
            "capabilities": capabilities, "hardware": profile.hardware.document, "performance": performance.document,
        ]
    }

    /// What the worker sent of itself, and behind it what this node makes of it.
    private var capabilities: JSONValue {
        let ours: [JSONValue.Member] = [
            .init("max_frame_bytes", .integer(profile.maxFrameBytes)), .init("slots", .integer(offer.slots)),
            .init("flow_control", .boolean(profile.controlsFlow)),
            .init("binary_frames", .boolean(profile.sendsBinary)), .init("uploads", .boolean(offer.takesUploads)),
        ]
        return .object(profile.capabilityMembers.filter { told in !ours.contains { $0.name == told.name } } + ours)
    }
}

extension HardwareSummary {
    fileprivate var document: JSONValue {
        let known: [JSONValue.Member] = [
            .init("hostname", .string(hostname)), .init("platform", .string(platform)),
            .init("gpu_count", .integer(gpuCount)), .init("gpus", .array(gpus.map(\.document))),
        ]
        return .object(known + memory.members + extraMembers)
    }
}

extension HardwareSummary.GPU {
    fileprivate var document: JSONValue {
        let known: [JSONValue.Member] = [
            .init("index", .integer(index)), .init("name", .string(name)), .init("vendor", .string(vendor)),
        ]
        return .object(known + memory.members + extraMembers)
    }
}

extension VideoMemory {
    fileprivate var members: [JSONValue.Member] {
        [
            .init("total_vram_mb", .count(totalMb)), .init("available_vram_mb", .count(availableMb)),
            .init("used_vram_mb", .count(usedMb)),
        ]
    }
}

extension PerformanceWindow {
    fileprivate var document: JSONValue {
        [
            "window_size": .integer(Limits.performanceSamples), "sample_count": .integer(count),
            "avg_latency_ms": .count(averageLatencyMs), "avg_first_content_ms": .count(averageFirstContentMs),
            "avg_tokens_per_second": .count(averageTokensPerSecond), "avg_total_tokens": .count(averageTokens),
            "success_rate": .perMille(successPerMille), "last_latency_ms": .count(last?.latencyMs),
            "last_total_tokens": .count(last?.totalTokens), "last_tokens_per_second": .count(last?.tokensPerSecond),
            "last_success": last.map { .boolean($0.isSuccess) } ?? .null,
        ]
    }
}

extension JSONValue {
    fileprivate static func count(_ value: Int64?) -> JSONValue { value.map { .integer($0) } ?? .null }

    fileprivate static func time(_ value: Timestamp?) -> JSONValue { value.map { .integer($0.seconds) } ?? .null }

    /// 987 → `0.987`.
    fileprivate static func perMille(_ value: Int64) -> JSONValue {
        let digits = String(min(max(value, 0), 1_000) % 1_000)
        return .number(
            value >= 1_000 ? "1.0" : "0." + String(repeating: "0", count: 3 - digits.count) + digits)
    }
}
