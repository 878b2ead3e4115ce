// What the administration API answers, as this program reads it: one place that knows the names of fields.

// MARK: Tables

extension TableLayout {
    static let peers = TableLayout([
        ("NAME", "name"), ("NODE ID", "node_id"), ("LINKED", "linked"), ("DIRECTION", "direction"),
        ("LEASE MS", "lease_expires_in_ms"), ("IN FLIGHT", "in_flight"), ("DRAINING", "draining"),
        ("API", "api_url"), ("STATE", "state"),
    ])

    /// Nodes that asked for a link.
    static let knocks = TableLayout([
        ("NODE ID", "node_id"), ("OPERATOR ID", "operator_id"), ("FROM", "address"), ("TIMES", "count"),
        ("TO ADMIT IT", "admit"),
    ])

    static let admitted = TableLayout([("ADMITTED", "value"), ("FROM", "from")])

    static let staticPeers = TableLayout([("PEER", "value"), ("FROM", "from"), ("STATE", "state")])

    static let meshProviders = TableLayout(computed: [
        ("FULL NAME", { $0["full_name"]?.cell ?? "" }), ("KEY NAME", { $0["key_name"]?.cell ?? "" }),
        ("ACCESS", { $0["access"]?.cell ?? "" }), ("MODELS", { $0["models"]?.cell ?? "" }),
        ("ATTACHED AT", { $0["attachments"]?.elements.map { $0.attachment }.joined(separator: ", ") ?? "" }),
    ])

    static let records = TableLayout([
        ("KEY", "key"), ("TYPE", "type"), ("VERSION", "version"), ("SIGNER", "signer"), ("ISSUED", "issued_at"),
        ("EXPIRES", "expires_at"), ("BYTES", "bytes"), ("TOMBSTONE", "tombstone"),
    ])

    static let names = TableLayout(computed: [
        ("NAME", { $0["name"]?.cell ?? "" }), ("MEANS", { $0["means"]?.text ?? "nobody: accept one" }),
        ("CLAIMED ALSO BY", { $0["claimed_by"]?.elements.compactMap(\.text).joined(separator: ", ") ?? "" }),
        ("SINCE", { LocalTime.cell($0["learnt_at"], key: "learnt_at") }), ("USED", { $0["used"]?.cell ?? "" }),
    ])

    static let users = TableLayout([
        ("USERNAME", "username"), ("OWNER ID", "owner_id"), ("CREATED", "created_at"), ("DISABLED", "disabled"),
    ])

    static let rotations = TableLayout(computed: [
        ("NAME", { $0["name"]?.cell ?? "" }), ("OWNER", { $0["owner"]?.cell ?? "" }),
        ("MODEL", { $0["model"]?.cell ?? "" }), ("MEMBERS", { RotationDocument.members($0) }),
        ("PUBLISHED AS", { $0["published_as"]?.cell ?? "" }),
        ("CHANGED", { LocalTime.cell($0["changed_at"], key: "changed_at") }),
    ])

    /// Who could answer a request.
    static let candidates = TableLayout(computed: [
        ("", { $0["selected"] == .bool(true) ? ">" : "" }),
        ("CANDIDATE", { $0["member"]?.text ?? $0["provider"]?.text ?? "" }),
        ("MODEL", { $0["model"]?.cell ?? "" }), ("NODES", { $0["nodes"]?.cell ?? "" }),
        ("PLACE", { CandidateCells.place($0) }), ("WHY NOT", { CandidateCells.reason($0) }),
    ])

    static let policies = TableLayout([
        ("NAME", "name"), ("OWNER", "owner"), ("ORDER BY", "order_by"), ("MODELS", "models"), ("HOSTED", "hosted"),
        ("ABOUT", "about"), ("PUBLISHED AS", "published_as"), ("CHANGED", "changed_at"),
    ])

    static let keys = TableLayout([
        ("KEY ID", "key_id"), ("USER", "username"), ("LABEL", "label"), ("SCOPES", "scopes"),
        ("DEFAULT MODEL", "default_model"), ("CREATED", "created_at"), ("EXPIRES", "expires_at"),
        ("REVOKED", "revoked_at"),
    ])

    /// Providers that live at the node.
    static let providers = TableLayout(computed: [
        ("NAME", { $0["name"]?.cell ?? "" }), ("FULL NAME", { $0["full_name"]?.cell ?? "" }),
        ("ACCESS", { $0["access"]?.cell ?? "" }), ("KIND", { $0["kind"]?.cell ?? "" }),
        ("TOKENS", { "\($0["tokens"]?.elements.count ?? 0)" }),
        ("WORKERS", { "\($0["workers"]?.elements.count ?? 0)" }),
        ("UPSTREAM", { $0["upstream"]?["base_url"]?.cell ?? "" }),
    ])

    static let tokens = TableLayout(computed: [
        ("TOKEN", { $0["id"]?.cell ?? "" }), ("LABEL", { $0["label"]?.cell ?? "" }),
        ("CREATED", { LocalTime.cell($0["created_at"], key: "created_at") }),
        ("NOT AFTER", { LocalTime.cell($0["not_after"], key: "not_after") }),
        ("NODES", { ($0["allowed_nodes"]?.elements ?? []).isEmpty ? "any" : $0["allowed_nodes"]?.cell ?? "" }),
        ("IMPORTED", { $0["imported"]?.cell ?? "" }), ("PROVEN", { $0["proven"]?.cell ?? "" }),
    ])

    static let workers = TableLayout([
        ("WORKER", "client_id"), ("NODE", "node"), ("MODELS", "models"), ("CONNECTED", "connected_at"),
        ("BUSY", "in_flight"), ("TOK/S", "tokens_per_second"), ("FIRST MS", "first_content_ms"),
    ])

    /// What stands between workers and requests.
    static let gates = TableLayout([("GATE", "gate"), ("STATE", "state"), ("WHY", "words")])

    static let prices = TableLayout([
        ("MODEL", "model"), ("CURRENCY", "currency"), ("INPUT / M", "input"), ("CACHED / M", "cached_input"),
        ("OUTPUT / M", "output"), ("REQUEST", "request"), ("IMAGE", "image"), ("SECOND", "second"),
    ])

    /// Sessions of workers that ended.
    static let closes = TableLayout([
        ("CLOSED", "client_id"), ("AT", "closed_at"), ("CODE", "code"), ("REASON", "reason"),
    ])
}

// MARK: Objects

/// Which fields of one object are shown, under which labels.
enum ObjectLayout {
    static let node = [
        ("name", "name"), ("node id", "node_id"), ("operator id", "operator_id"), ("software", "software"),
        ("network", "network"), ("api", "api_url"), ("link addresses", "link_addresses"),
        ("started at", "started_at"), ("uptime seconds", "uptime_seconds"), ("draining", "draining"),
        ("links", "links"), ("members", "members"), ("workers", "workers"),
        ("requests in flight", "requests_in_flight"), ("clock offset ms", "clock_offset_ms"),
    ]

    static let user = [("username", "username"), ("owner id", "owner_id"), ("created", "created_at")]

    static let key = [
        ("key", "key"), ("key id", "key_id"), ("label", "label"), ("scopes", "scopes"), ("expires", "expires_at"),
        ("default model", "default_model"),
    ]

    static let provider = [
        ("name", "name"), ("full name", "full_name"), ("owner", "owner"), ("access", "access"),
        ("named", "named"), ("kind", "kind"), ("display name", "display_name"),
        ("max concurrency", "max_concurrency"), ("base URL", "base_url"), ("endpoints", "endpoints"), ("key", "key"),
        ("headers", "headers"), ("renamed", "renamed"), ("cold start seconds", "cold_start_seconds"),
        ("state", "state"), ("problem", "problem"), ("keys", "keys"), ("data policy", "data_policy"),
    ]

    static let rotation = [
        ("name", "name"), ("owner", "owner"), ("buyers ask for", "buyers_ask_for"), ("model", "model"),
        ("members", "members"), ("settings", "settings"), ("published as", "published_as"),
        ("changed", "changed_at"),
    ]

    static let name = [("name", "name"), ("means", "means")]

    static let record = [
        ("key", "key"), ("type", "type"), ("version", "version"), ("signer", "signer"),
        ("issued", "issued_at"), ("expires", "expires_at"), ("tombstone", "tombstone"), ("raw", "raw"),
    ]
}

// MARK: Values

/// What a running node says of itself, as far as it is judged here.
struct NodeDocument {
    private let answer: JSONValue

    init(_ answer: JSONValue) { self.answer = answer }

    var clockOffsetMs: Int64 { answer["clock_offset_ms"]?.int ?? 0 }
    var workers: String { answer["workers"]?.cell ?? "?" }
    var links: String { answer["links"]?.cell ?? "?" }
    /// Why what changes is not kept, in a word, and since when; nil while it is.
    var storeProblem: (word: String, since: Int64?)? {
        let store = answer["store"]
        guard store?["writable"] == .bool(false) else { return nil }
        return (store?["problem"]?.text ?? "unknown", store?["since"]?.int)
    }
}

/// A provider that lives at the node, with what hangs on it.
struct ProviderDocument {
    let value: JSONValue

    /// - Parameter answer: the provider, or an answer that has one in it.
    init(_ answer: JSONValue) { value = answer["provider"] ?? answer }

    /// The same with what is told of its upstream beside the rest.
    var shown: JSONValue {
        guard case .object(var members) = value, let upstream = value["upstream"] else { return value }
        members["base_url"] = upstream["base_url"]
        members["endpoints"] = upstream["endpoints"]
        let hasKey = upstream["has_key"] == .bool(true)
        members["key"] = .string(hasKey ? "in this node's data directory" : "none")
        members["headers"] = upstream["headers"]
        if case .object(let models)? = upstream["models"] {
            let names = models.keys.sorted().map { "\($0) is \(models[$0]?.text ?? "")" }
            members["renamed"] = .string(names.joined(separator: ", "))
        }
        members["cold_start_seconds"] = upstream["cold_start_seconds"]
        let standing = upstream["standing"]
        members["state"] = .string(standing?["state"]?.text ?? "not served")
        members["problem"] = standing?["problem"]
        members["keys"] = .string(Self.keys(standing))
        return .object(members)
    }

    /// Such as `1 good, 2 refused (rests 1790 s)`.
    private static func keys(_ standing: JSONValue?) -> String {
        let keys = standing?["keys"]?.elements ?? []
        return keys.enumerated().map { index, key in
            let rest = key["rests_for_seconds"]?.int.map { " (rests \($0) s)" } ?? ""
            return "\(index + 1) \(key["state"]?.text ?? "?")\(rest)"
        }.joined(separator: ", ")
    }

    var prices: [JSONValue] { value["prices"]?.elements ?? [] }

    var name: String? { value["name"]?.text }
    var tokens: [JSONValue] { value["tokens"]?.elements ?? [] }
    var workers: [JSONValue] { value["workers"]?.elements ?? [] }
    /// The newest first.
    var closes: [JSONValue] { (value["closes"]?.elements ?? []).reversed() }
    /// Whether it has tokens of the first release, which are good at this node only.
    var hasUnprovenTokens: Bool { tokens.contains { $0["proven"] == .bool(false) } }
}

/// What the node hands out once: a key, or a token with the file of the workers that use it.
struct SecretDocument {
    private let answer: JSONValue

    init(_ answer: JSONValue) { self.answer = answer }

    var key: String? { answer["key"]?.text }
    var token: String? { answer["registration_token"]?.text }
    var tokenID: String? { answer["token"]?["id"]?.text }
    var provider: JSONValue? { answer["provider"] }
    var workerFile: JSONValue? { answer["worker"] }
}

extension JSONValue {
    /// The lists that an answer may hold.
    var peers: [JSONValue] { self["peers"]?.elements ?? [] }
    var knocks: [JSONValue] { self["knocks"]?.elements ?? [] }
    var users: [JSONValue] { self["users"]?.elements ?? [] }
    var providers: [ProviderDocument] { (self["providers"]?.elements ?? []).map(ProviderDocument.init) }

    /// Whether a peer is linked.
    var isLinked: Bool { self["linked"] == .bool(true) }

    /// A worker of another node, in a few words.
    fileprivate var attachment: String {
        let name = self["node_name"]?.text ?? self["node_id"]?.text ?? "?"
        if self["usable"] == .bool(false) { return "\(name) (not usable)" }
        let details = [
            self["hardware"].flatMap(\.hardware), number("tokens_per_second", "tok/s"),
            number("first_content_ms", "ms to first content"),
        ].compactMap { $0 }
        return details.isEmpty ? name : "\(name) (\(details.joined(separator: "; ")))"
    }

    /// Such as `2 × NVIDIA RTX 4090, 48 GiB`.
    private var hardware: String? {
        guard let gpu = self["gpu"]?.text, !gpu.isEmpty else { return nil }
        let count = self["count"]?.cell ?? "1"
        let megabytes = Int64(self["total_vram_mb"]?.cell ?? "0") ?? 0
        return (count == "1" ? gpu : "\(count) × \(gpu)") + (megabytes > 0 ? ", \(megabytes / 1_024) GiB" : "")
    }

    /// Nil where nothing was measured yet.
    private func number(_ field: String, _ unit: String) -> String? {
        guard let cell = self[field]?.cell, let number = Int64(cell), number > 0 else { return nil }
        return "\(number) \(unit)"
    }
}

/// Where a candidate stands, in a few words.
enum CandidateCells {
    static func place(_ row: JSONValue) -> String {
        if case .integer(let rank)? = row["rank"] { return "\(rank)" }
        guard case .integer(let perMille)? = row["share_per_mille"] else { return "-" }
        return "\(perMille / 10).\(perMille % 10) %"
    }

    static func reason(_ row: JSONValue) -> String {
        guard let reason = row["reason"]?.text else { return "" }
        let words = "\(reason): \(row["reason_text"]?.text ?? "")"
        guard case .integer(let back)? = row["back_after_ms"] else { return words }
        return "\(words), back in \((back + 999) / 1_000) s"
    }
}
