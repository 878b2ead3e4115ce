// What a node knows about the people and programs that use it. Plain values: the store keeps them, the gateway and
// the runtime act on them. Only public keys stand here; the secrets behind them are in key files or in nobody's
// hands but their holder's.

/// A seller or buyer with an account at this node.
package struct UserAccount: Hashable, Sendable {
    /// Obeys `NameRule`; `global` is reserved.
    package var username: String
    /// What the username means mesh-wide, bound to it by this node's scope binding.
    package var ownerKey: PublicKey
    package var createdAt: Timestamp
    /// A disabled user's keys and workers are refused; nothing is deleted.
    package var disabled: Bool

    package init(username: String, ownerKey: PublicKey, createdAt: Timestamp, disabled: Bool = false) {
        self.username = username
        self.ownerKey = ownerKey
        self.createdAt = createdAt
        self.disabled = disabled
    }
}

/// Who may buy from a provider.
package enum ProviderAccess: Hashable, Sendable {
    case `public`
    case ownerOnly
    /// The owner and these owner keys, in the order given.
    case named([PublicKey])

    /// Whether a buyer with `buyer` as owner key may use a provider of `owner`.
    package func admits(_ buyer: PublicKey, owner: PublicKey) -> Bool {
        switch self {
        case .public: true
        case .ownerOnly: buyer == owner
        case .named(let keys): buyer == owner || keys.contains(buyer)
        }
    }
}

/// The public half of a registration token: who holds the seed may attach workers to the provider.
package struct AttachKeyEntry: Hashable, Sendable {
    package var publicKey: PublicKey
    /// For people, at most `Limits.labelBytes` bytes.
    package var label: String
    package var createdAt: Timestamp
    package var notAfter: Timestamp?
    /// Nodes that workers may attach to with it, at most `Limits.attachKeyHosts`; empty: any.
    package var allowedHosts: [PublicKey]
    package var derivation: TokenDerivation
    /// The key's signature over `Statement.attachKey`: 64 bytes; nil for a token from before there were proofs.
    package var proof: [UInt8]?

    package init(
        publicKey: PublicKey, label: String, createdAt: Timestamp, notAfter: Timestamp? = nil,
        allowedHosts: [PublicKey] = [], derivation: TokenDerivation = .seed, proof: [UInt8]? = nil
    ) {
        self.publicKey = publicKey
        self.label = label
        self.createdAt = createdAt
        self.notAfter = notAfter
        self.allowedHosts = allowedHosts
        self.derivation = derivation
        self.proof = proof
    }

    /// How people name the token in lists and commands, no secret: the first 12 hexadecimal digits of the key.
    package var tokenID: String { APIKeyAccount.keyID(of: publicKey) }

    package func hasEnded(at time: Timestamp) -> Bool { notAfter.map { $0 <= time } ?? false }
}

/// Where a provider of kind `openai` is served from. Its key is no part of it.
package struct UpstreamSettings: Hashable, Sendable {
    /// Checked, and without a slash at its end.
    package var baseURL: String
    /// What it has beside chat, such as `v1/embeddings`.
    package var endpoints: [String]
    /// Whether a key of it is kept, or several.
    package var hasKey: Bool
    /// The names of the fields that every request to it has beside the usual ones. Their values are kept with the keys.
    package var headers: [String]
    /// What is sold under another name than the upstream has for it.
    package var renamed: [RenamedModel]
    /// How long it may take to wake; 0 for one that does not sleep.
    package var coldStartSeconds: Int

    /// What every OpenAI-compatible server has.
    package static let usualEndpoints = ["v1/completions", "v1/embeddings"]

    package init(
        baseURL: String, endpoints: [String] = usualEndpoints, hasKey: Bool = false, headers: [String] = [],
        renamed: [RenamedModel] = [], coldStartSeconds: Int = 0
    ) {
        self.headers = headers
        self.renamed = renamed
        self.coldStartSeconds = coldStartSeconds
        self.hasKey = hasKey
        self.baseURL = baseURL
        self.endpoints = endpoints
    }
}

/// A model that is sold under a name of its own.
package struct RenamedModel: Hashable, Sendable {
    /// What buyers call it.
    package var sold: String
    /// What the upstream calls it.
    package var upstream: String

    package init(sold: String, upstream: String) {
        self.sold = sold
        self.upstream = upstream
    }
}

/// What an upstream is asked with and nobody is shown: in a file that only this node's user reads.
package struct UpstreamSecrets: Hashable, Sendable {
    package struct Field: Hashable, Sendable {
        package var name: String
        package var value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    package var keys: [String]
    package var headers: [Field]

    package init(keys: [String] = [], headers: [Field] = []) {
        self.keys = keys
        self.headers = headers
    }

    package var isEmpty: Bool { keys.isEmpty && headers.isEmpty }
}

/// Who serves a provider. Stored and told to the mesh by these words.
package enum ProviderKind {
    /// Workers that attach with a token.
    package static let workers = "coderai"
    /// An upstream that the home node asks itself.
    package static let upstream = "openai"
}

/// A provider whose home is this node.
package struct ProviderAccount: Hashable, Sendable {
    /// Obeys `NameRule`; unique within its scope.
    package var providerID: String
    package var scope: OwnerScope
    package var ownerKey: PublicKey
    package var access: ProviderAccess
    /// One of `ProviderKind`.
    package var kind: String
    package var displayName: String
    /// Requests its workers may have at once, all together.
    package var maxConcurrency: Int
    package var attachKeys: [AttachKeyEntry]
    package var createdAt: Timestamp
    /// Of kind `openai` only.
    package var upstream: UpstreamSettings?
    /// What its models cost; without an entry it is not known.
    package var prices: PriceList
    /// What becomes of what it is sent, by its owner's word.
    package var dataPolicy: DataPolicy

    package init(
        providerID: String, scope: OwnerScope, ownerKey: PublicKey, access: ProviderAccess,
        kind: String = ProviderKind.workers, displayName: String, maxConcurrency: Int, attachKeys: [AttachKeyEntry],
        createdAt: Timestamp, upstream: UpstreamSettings? = nil, prices: PriceList = PriceList(),
        dataPolicy: DataPolicy = .unknown
    ) {
        self.upstream = upstream
        self.prices = prices
        self.dataPolicy = dataPolicy
        self.providerID = providerID
        self.scope = scope
        self.ownerKey = ownerKey
        self.access = access
        self.kind = kind
        self.displayName = displayName
        self.maxConcurrency = maxConcurrency
        self.attachKeys = attachKeys
        self.createdAt = createdAt
    }
}

/// What an API key may be used for.
package enum APIKeyScope: String, CaseIterable, Hashable, Sendable {
    case inference
    case admin
}

/// The public half of an API key and what it may do.
package struct APIKeyAccount: Hashable, Sendable {
    package var publicKey: PublicKey
    /// How people name it in lists and commands; no secret.
    package var keyID: String
    /// Whose key it is; `global` for the operator's own.
    package var username: String
    package var ownerKey: PublicKey
    package var label: String
    package var scopes: [APIKeyScope]
    package var createdAt: Timestamp
    package var expiresAt: Timestamp?
    package var revokedAt: Timestamp?
    /// What a request is for that names no model.
    package var defaultModel: String?

    package init(
        publicKey: PublicKey, username: String, ownerKey: PublicKey, label: String, scopes: [APIKeyScope],
        createdAt: Timestamp, expiresAt: Timestamp? = nil, revokedAt: Timestamp? = nil, defaultModel: String? = nil
    ) {
        self.publicKey = publicKey
        keyID = Self.keyID(of: publicKey)
        self.username = username
        self.ownerKey = ownerKey
        self.label = label
        self.scopes = scopes
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
        self.defaultModel = defaultModel
    }

    package var scope: OwnerScope { OwnerScope(username: username) }

    /// The first 12 hexadecimal digits of the public key.
    package static func keyID(of publicKey: PublicKey) -> String { String(publicKey.description.prefix(12)) }

    /// Neither revoked nor expired at `time`.
    package func isValid(at time: Timestamp) -> Bool {
        revokedAt == nil && (expiresAt.map { time < $0 } ?? true)
    }
}

/// A node this one has met or was told of.
package struct PeerEntry: Hashable, Sendable {
    package var nodeKey: PublicKey
    /// `host:port` of its link listener, where known.
    package var address: String?
    package var lastSeen: Timestamp?

    package init(nodeKey: PublicKey, address: String? = nil, lastSeen: Timestamp? = nil) {
        self.nodeKey = nodeKey
        self.address = address
        self.lastSeen = lastSeen
    }
}
