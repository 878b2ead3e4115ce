import Foundation
import GRDB
package import MeshModel

extension MeshStore {
    /// - Throws: `.conflict` when the scope has this provider already or an attach key is in use, `.invalid` for values
    ///   out of bounds.
    package func createProvider(_ provider: ProviderAccount) throws(StoreError) {
        try check(provider)
        try write { database in
            let name = "provider '\(provider.providerID)' in scope '\(provider.scope.username)'"
            guard try rowID(database, provider.scope, provider.providerID) == nil else {
                throw StoreError.conflict("\(name) exists already")
            }
            let count = try Int.fetchOne(
                database, sql: "SELECT count(*) FROM providers WHERE owner_key = ?", arguments: [provider.ownerKey.data]
            )
            guard count ?? 0 < Limits.providersPerOwner else {
                throw StoreError.invalid("an owner may have \(Limits.providersPerOwner) providers; remove one first")
            }
            let (access, named) = columns(of: provider.access)
            try database.execute(
                sql: """
                    INSERT INTO providers (scope, provider_id, owner_key, access, named_owners, kind, display_name,
                        max_concurrency, created_at, data_policy) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    provider.scope.username, provider.providerID, provider.ownerKey.data, access, named, provider.kind,
                    provider.displayName, provider.maxConcurrency, provider.createdAt.milliseconds,
                    provider.dataPolicy.rawValue,
                ])
            let row = database.lastInsertedRowID
            try insert(provider.attachKeys, of: row, database)
            try put(provider.prices, of: row, database)
            if let upstream = provider.upstream { try put(upstream, of: row, database) }
        }
    }

    /// All providers by scope and id.
    package func providers() throws(StoreError) -> [ProviderAccount] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM providers ORDER BY scope, provider_id")
                .map { try provider($0, database) }
        }
    }

    package func providers(in scope: OwnerScope) throws(StoreError) -> [ProviderAccount] {
        try read { database in
            try Row.fetchAll(
                database, sql: "SELECT * FROM providers WHERE scope = ? ORDER BY provider_id",
                arguments: [scope.username]
            ).map { try provider($0, database) }
        }
    }

    package func provider(scope: OwnerScope, id: String) throws(StoreError) -> ProviderAccount? {
        try read { database in
            try Row.fetchOne(
                database, sql: "SELECT * FROM providers WHERE scope = ? AND provider_id = ?",
                arguments: [scope.username, id]
            ).map { try provider($0, database) }
        }
    }

    /// Changes who may buy, the name people see, the concurrency, the terms and where its upstream is; what identifies
    /// the provider stays.
    /// - Throws: `.notFound`, `.invalid`.
    package func updateProvider(_ provider: ProviderAccount) throws(StoreError) {
        try check(provider)
        try write { database in
            let (access, named) = columns(of: provider.access)
            try database.execute(
                sql: """
                    UPDATE providers SET access = ?, named_owners = ?, display_name = ?, max_concurrency = ?,
                        data_policy = ?
                    WHERE scope = ? AND provider_id = ?
                    """,
                arguments: [
                    access, named, provider.displayName, provider.maxConcurrency, provider.dataPolicy.rawValue,
                    provider.scope.username, provider.providerID,
                ])
            guard database.changesCount > 0, let row = try rowID(database, provider.scope, provider.providerID) else {
                throw missing(provider.scope, provider.providerID)
            }
            if let upstream = provider.upstream { try put(upstream, of: row, database) }
            try put(provider.prices, of: row, database)
        }
    }

    /// Exchanges all attach keys of a provider in one step: the old tokens admit nobody from then on.
    /// - Throws: `.notFound`, `.conflict`, `.invalid`.
    package func replaceAttachKeys(
        scope: OwnerScope, id: String, _ keys: [AttachKeyEntry]
    ) throws(StoreError) {
        try check(keys)
        try write { database in
            guard let row = try rowID(database, scope, id) else { throw missing(scope, id) }
            try database.execute(sql: "DELETE FROM attach_keys WHERE provider = ?", arguments: [row])
            try insert(keys, of: row, database)
        }
    }

    /// Adds the proof of a key that has none. Touches nothing else, so a token that was removed meanwhile stays away.
    /// - Returns: whether there was such a key.
    /// - Throws: `.invalid` for a proof of a wrong length.
    @discardableResult
    package func addAttachKeyProof(_ publicKey: PublicKey, _ proof: [UInt8]) throws(StoreError) -> Bool {
        guard proof.count == 64 else { throw .invalid("the proof of an attach key has 64 bytes") }
        return try write { database in
            try database.execute(
                sql: "UPDATE attach_keys SET proof = ? WHERE public_key = ? AND proof IS NULL",
                arguments: [Data(proof), publicKey.data])
            return database.changesCount > 0
        }
    }

    /// Removes a provider with its attach keys.
    /// - Returns: false when there was none.
    @discardableResult
    package func removeProvider(scope: OwnerScope, id: String) throws(StoreError) -> Bool {
        try write { database in
            try database.execute(
                sql: "DELETE FROM providers WHERE scope = ? AND provider_id = ?", arguments: [scope.username, id])
            return database.changesCount > 0
        }
    }

    private func check(_ provider: ProviderAccount) throws(StoreError) {
        guard NameRule.isValid(provider.providerID) else {
            throw .invalid("'\(provider.providerID)' cannot be a provider id: use \(NameRule.text)")
        }
        guard provider.displayName.utf8.count <= Limits.labelBytes, provider.kind.utf8.count <= Limits.labelBytes else {
            throw .invalid("a provider's name may have \(Limits.labelBytes) bytes")
        }
        guard (1...Limits.workerRequestsAtOnce).contains(provider.maxConcurrency) else {
            throw .invalid("a provider may have 1 to \(Limits.workerRequestsAtOnce) requests at once")
        }
        if case .named(let keys) = provider.access, keys.count > Limits.namedOwnersPerProvider {
            throw .invalid("a provider may name \(Limits.namedOwnersPerProvider) owners who may use it")
        }
        if let upstream = provider.upstream {
            guard upstream.baseURL.utf8.count <= Limits.upstreamURLBytes,
                upstream.endpoints.count <= Limits.workerEndpoints,
                upstream.endpoints.allSatisfy({ $0.utf8.count <= 128 && !$0.contains(where: \.isNewline) })
            else { throw .invalid("the address or the endpoints of an upstream are too long") }
            guard upstream.headers.count <= Limits.upstreamHeaders,
                upstream.headers.allSatisfy({ !$0.contains(where: \.isNewline) }),
                upstream.renamed.count <= Limits.upstreamRenamedModels,
                upstream.renamed.allSatisfy({ isField($0.sold) && isField($0.upstream) }),
                (0...Limits.upstreamColdStartSeconds).contains(upstream.coldStartSeconds)
            else { throw .invalid("the headers, models or times of an upstream are out of bounds") }
        }
        try check(provider.attachKeys)
    }

    private func check(_ keys: [AttachKeyEntry]) throws(StoreError) {
        guard keys.count <= Limits.attachKeysPerProvider else {
            throw .invalid("a provider may have \(Limits.attachKeysPerProvider) registration tokens at once")
        }
        guard keys.allSatisfy({ $0.label.utf8.count <= Limits.labelBytes }) else {
            throw .invalid("a registration token's label may have \(Limits.labelBytes) bytes")
        }
        guard keys.allSatisfy({ $0.proof.map { $0.count == 64 } ?? true }) else {
            throw .invalid("the proof of an attach key has 64 bytes")
        }
        guard keys.allSatisfy({ $0.allowedHosts.count <= Limits.attachKeyHosts }) else {
            throw .invalid("a registration token may name \(Limits.attachKeyHosts) nodes")
        }
    }

    private func missing(_ scope: OwnerScope, _ id: String) -> StoreError {
        .notFound("there is no provider '\(id)' in scope '\(scope.username)'")
    }

    private func rowID(_ database: Database, _ scope: OwnerScope, _ id: String) throws -> Int64? {
        try Int64.fetchOne(
            database, sql: "SELECT id FROM providers WHERE scope = ? AND provider_id = ?",
            arguments: [scope.username, id])
    }

    private func insert(_ keys: [AttachKeyEntry], of provider: Int64, _ database: Database) throws {
        for (position, key) in keys.enumerated() {
            // One key for two providers would make a token mean whichever is looked up first.
            let taken = try Int64.fetchOne(
                database, sql: "SELECT provider FROM attach_keys WHERE public_key = ?", arguments: [key.publicKey.data])
            guard taken == nil else {
                throw StoreError.conflict("this registration token belongs to a provider already; make a new one")
            }
            try database.execute(
                sql: """
                    INSERT INTO attach_keys (public_key, provider, position, label, created_at, not_after,
                        allowed_hosts, derivation, proof) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    key.publicKey.data, provider, position, key.label, key.createdAt.milliseconds,
                    key.notAfter?.milliseconds, Data(key.allowedHosts.flatMap(\.bytes)), key.derivation.rawValue,
                    key.proof.map { Data($0) },
                ])
        }
    }

    private func columns(of access: ProviderAccess) -> (access: String, named: Data) {
        switch access {
        case .public: ("public", Data())
        case .ownerOnly: ("owner", Data())
        case .named(let keys): ("named", Data(keys.flatMap(\.bytes)))
        }
    }

    private func provider(_ row: Row, _ database: Database) throws -> ProviderAccount {
        let keys = try Row.fetchAll(
            database, sql: "SELECT * FROM attach_keys WHERE provider = ? ORDER BY position",
            arguments: [row["id"] as Int64])
        guard let ownerKey = PublicKey([UInt8](row: row, "owner_key")) else { throw damaged("a provider") }
        return ProviderAccount(
            providerID: row["provider_id"], scope: OwnerScope(username: row["scope"]), ownerKey: ownerKey,
            access: try access(row), kind: row["kind"], displayName: row["display_name"],
            maxConcurrency: row["max_concurrency"], attachKeys: try keys.map(attachKey),
            createdAt: Timestamp(milliseconds: row["created_at"]),
            upstream: try upstream(of: row["id"], database), prices: try prices(of: row["id"], database),
            dataPolicy: DataPolicy(rawValue: row["data_policy"]) ?? .unknown)
    }

    private func access(_ row: Row) throws -> ProviderAccess {
        let text: String = row["access"]
        switch text {
        case "public": return .public
        case "owner": return .ownerOnly
        case "named":
            guard let keys = publicKeys(row, "named_owners") else { throw damaged("a provider's access rule") }
            return .named(keys)
        default: throw damaged("a provider's access rule")
        }
    }

    private func attachKey(_ row: Row) throws -> AttachKeyEntry {
        guard let key = PublicKey([UInt8](row: row, "public_key")), let hosts = publicKeys(row, "allowed_hosts"),
            let derivation = TokenDerivation(rawValue: UInt32(clamping: row["derivation"] as Int64))
        else { throw damaged("an attach key") }
        return AttachKeyEntry(
            publicKey: key, label: row["label"], createdAt: Timestamp(milliseconds: row["created_at"]),
            notAfter: Timestamp(row: row, "not_after"), allowedHosts: hosts, derivation: derivation,
            proof: (row["proof"] as Data?).map { [UInt8]($0) })
    }

    /// The keys that stand one behind the other in a column; nil when it does not hold whole ones.
    private func publicKeys(_ row: Row, _ column: String) -> [PublicKey]? {
        let bytes = [UInt8](row: row, column)
        let keys = stride(from: 0, to: bytes.count, by: 32).map { PublicKey(bytes[$0...].prefix(32)) }
        return keys.contains(nil) ? nil : keys.compactMap(\.self)
    }
}
