package import MeshCrypto
import MeshExchange
package import MeshModel
import MeshStore
import MeshWire

/// A registration token as the operator asks for it.
package struct TokenRequest: Sendable {
    package var label: String
    /// Nil: until it is removed.
    package var lifeSeconds: Int64?
    /// Nodes that workers may attach to with it; empty: any.
    package var allowedNodes: [PublicKey]
    /// The text of a token that was minted elsewhere; nil for a new one.
    package var imported: String?

    package init(label: String, lifeSeconds: Int64? = nil, allowedNodes: [PublicKey] = [], imported: String? = nil) {
        self.label = label
        self.lifeSeconds = lifeSeconds
        self.allowedNodes = allowedNodes
        self.imported = imported
    }
}

/// Registration tokens. What ends a token is that the owner's advert does not list its key any more, or lists it
/// with an end that has come: every node that has the advert then closes the sessions it admitted.
extension Administration {
    /// - Returns: the provider, its new token, and the secret, which is shown once and kept nowhere; none for an
    ///   imported one, whose holder has it.
    package func addToken(
        _ scope: OwnerScope, _ id: String, _ request: TokenRequest
    ) async throws -> (provider: ProviderAccount, entry: AttachKeyEntry, token: RegistrationToken?) {
        try Self.check(request)
        let minted = request.imported == nil ? RegistrationToken.random() : nil
        return try await blocking { [self] in
            guard var provider = try store.provider(scope: scope, id: id) else { throw Self.noProvider(scope, id) }
            try Self.requireWorkers(provider)
            let now = wall()
            guard let token = try minted ?? Self.derived(request, provider) else {
                throw MeshError(.internalError, "the token could not be derived: the machine is short of memory")
            }
            let entry = AttachKeyEntry(
                publicKey: token.key.publicKey, label: request.label.isEmpty ? "token" : request.label, createdAt: now,
                notAfter: request.lifeSeconds.map { now.advanced(byMilliseconds: $0 * 1_000) },
                allowedHosts: request.allowedNodes, derivation: request.imported == nil ? .seed : .argon2id,
                proof: Self.proof(of: token.key, owner: provider.ownerKey, providerID: provider.providerID))
            provider.attachKeys.removeAll { $0.hasEnded(at: now) }
            guard !provider.attachKeys.contains(where: { $0.publicKey == entry.publicKey }) else {
                throw MeshError(.conflict, "the provider has this token already; remove it first to change its terms")
            }
            provider.attachKeys.append(entry)
            try replaceTokens(of: provider)
            return (provider, entry, minted)
        }
    }

    /// - Parameter tokenID: the beginning of the token's public key in hexadecimal, as long as it is unique.
    package func removeToken(_ scope: OwnerScope, _ id: String, _ tokenID: String) async throws {
        try await blocking { [self] in
            guard var provider = try store.provider(scope: scope, id: id) else { throw Self.noProvider(scope, id) }
            let prefix = tokenID.lowercased()
            let matches = provider.attachKeys.filter { $0.publicKey.description.hasPrefix(prefix) }
            guard let found = matches.first else {
                throw MeshError(.notFound, "the provider has no token '\(tokenID.prefix(64))'")
            }
            guard matches.count == 1 else {
                throw MeshError(.conflict, "several tokens start with '\(tokenID.prefix(64))'; give more of the id")
            }
            provider.attachKeys.removeAll { $0 == found }
            try replaceTokens(of: provider)
        }
    }

    /// A new token in place of all others, which end after `overlapSeconds`, at once with 0.
    package func rotateToken(
        _ scope: OwnerScope, _ id: String, overlapSeconds: Int64
    ) async throws -> (provider: ProviderAccount, token: RegistrationToken) {
        guard (0...Limits.tokenOverlapSeconds).contains(overlapSeconds) else {
            throw MeshError(
                .invalidRequest, "overlap_seconds must be between 0 and \(Limits.tokenOverlapSeconds) (30 days)",
                parameter: "overlap_seconds")
        }
        let token = RegistrationToken.random()
        let provider = try await blocking { [self] in
            guard var provider = try store.provider(scope: scope, id: id) else { throw Self.noProvider(scope, id) }
            try Self.requireWorkers(provider)
            let now = wall()
            let end = now.advanced(byMilliseconds: overlapSeconds * 1_000)
            var keys = overlapSeconds == 0 ? [] : provider.attachKeys.filter { !$0.hasEnded(at: now) }
            for index in keys.indices { keys[index].notAfter = min(keys[index].notAfter ?? end, end) }
            // The youngest stay when there is no room for all.
            keys = keys.suffix(Limits.attachKeysPerProvider - 1)
            keys.append(
                AttachKeyEntry(
                    publicKey: token.key.publicKey, label: "rotated", createdAt: now,
                    proof: Self.proof(of: token.key, owner: provider.ownerKey, providerID: provider.providerID)))
            provider.attachKeys = keys
            try replaceTokens(of: provider)
            return provider
        }
        return (provider, token)
    }

    private func replaceTokens(of provider: ProviderAccount) throws {
        try requireRoom(provider)
        try store.replaceAttachKeys(scope: provider.scope, id: provider.providerID, provider.attachKeys)
        try publishProviders()
    }

    private static func check(_ request: TokenRequest) throws(MeshError) {
        if let life = request.lifeSeconds, !(1...Limits.tokenLifeSeconds).contains(life) {
            throw MeshError(
                .invalidRequest, "expires_in_seconds must be between 1 and \(Limits.tokenLifeSeconds) (ten years)",
                parameter: "expires_in_seconds")
        }
        guard request.label.utf8.count <= Limits.labelBytes else {
            throw MeshError(.invalidRequest, "a label may have \(Limits.labelBytes) bytes", parameter: "label")
        }
        guard request.allowedNodes.count <= Limits.attachKeyHosts else {
            throw MeshError(
                .invalidRequest, "a token may name \(Limits.attachKeyHosts) nodes", parameter: "allowed_nodes")
        }
        if let text = request.imported, let problem = ImportedTokenText.problem(text) {
            throw MeshError(.invalidRequest, problem.message, parameter: "import")
        }
    }

    private static func derived(_ request: TokenRequest, _ provider: ProviderAccount) throws -> RegistrationToken? {
        guard let text = request.imported else { return nil }
        return RegistrationToken.imported(text, provider: recordKey(provider.ownerKey, provider.providerID))
    }
}
