import GRDB
package import MeshModel

extension MeshStore {
    /// - Throws: `.conflict` when the key is known already, `.invalid` for values out of bounds.
    package func createAPIKey(_ key: APIKeyAccount) throws(StoreError) {
        try check(key)
        try write { try insert(key, $0) }
    }

    /// Ends one key and makes another, in one step.
    /// - Parameter end: when the old one ends, if it does not end before; now: at once.
    package func replaceAPIKey(
        _ old: APIKeyAccount, with new: APIKeyAccount, endingAt end: Timestamp, now: Timestamp
    ) throws(StoreError) {
        try check(new)
        try write { database in
            if end <= now {
                try database.execute(
                    sql: "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE public_key = ?",
                    arguments: [now.milliseconds, old.publicKey.data])
            } else {
                try database.execute(
                    sql: "UPDATE api_keys SET expires_at = min(coalesce(expires_at, ?1), ?1) WHERE public_key = ?2",
                    arguments: [end.milliseconds, old.publicKey.data])
            }
            guard database.changesCount > 0 else { throw StoreError.notFound("the API key is gone") }
            try insert(new, database)
        }
    }

    private func check(_ key: APIKeyAccount) throws(StoreError) {
        guard NameRule.isValid(key.username) else {
            throw .invalid("'\(key.username)' cannot be a username: use \(NameRule.text)")
        }
        guard !key.scopes.isEmpty else { throw .invalid("an API key needs a scope: inference or admin") }
        guard key.label.utf8.count <= Limits.labelBytes else {
            throw .invalid("an API key's label may have \(Limits.labelBytes) bytes")
        }
        try check(defaultModel: key.defaultModel)
    }

    private func check(defaultModel model: String?) throws(StoreError) {
        guard let model else { return }
        guard (1...Limits.modelNameBytes).contains(model.utf8.count) else {
            throw .invalid("a default model's name may have 1 to \(Limits.modelNameBytes) bytes")
        }
    }

    /// - Parameter model: nil where requests have to name one again.
    /// - Throws: `.notFound` where there is no such key.
    package func setDefaultModel(_ model: String?, of key: PublicKey) throws(StoreError) {
        try check(defaultModel: model)
        try write { database in
            try database.execute(
                sql: "UPDATE api_keys SET default_model = ? WHERE public_key = ?", arguments: [model, key.data])
            guard database.changesCount > 0 else { throw StoreError.notFound("the API key is gone") }
        }
    }

    private func insert(_ key: APIKeyAccount, _ database: Database) throws {
        let count = try Int.fetchOne(
            database,
            sql: """
                SELECT count(*) FROM api_keys
                WHERE username = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)
                """,
            arguments: [key.username, key.createdAt.milliseconds])
        guard count ?? 0 < Limits.apiKeysPerUser else {
            throw StoreError.invalid("a user may have \(Limits.apiKeysPerUser) API keys; revoke one first")
        }
        let known = try Bool.fetchOne(
            database, sql: "SELECT EXISTS (SELECT 1 FROM api_keys WHERE public_key = ?)",
            arguments: [key.publicKey.data])
        guard known == false else { throw StoreError.conflict("this API key exists already") }
        try database.execute(
            sql: """
                INSERT INTO api_keys (public_key, username, owner_key, label, scopes, created_at, expires_at,
                    revoked_at, default_model) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                key.publicKey.data, key.username, key.ownerKey.data, key.label,
                key.scopes.map(\.rawValue).joined(separator: ","), key.createdAt.milliseconds,
                key.expiresAt?.milliseconds, key.revokedAt?.milliseconds, key.defaultModel,
            ])
    }

    /// All API keys, revoked ones too, oldest first per user.
    package func apiKeys() throws(StoreError) -> [APIKeyAccount] {
        try read {
            try Row.fetchAll($0, sql: "SELECT * FROM api_keys ORDER BY username, created_at, public_key").map(apiKey)
        }
    }

    package func apiKey(publicKey: PublicKey) throws(StoreError) -> APIKeyAccount? {
        try read {
            try Row.fetchOne($0, sql: "SELECT * FROM api_keys WHERE public_key = ?", arguments: [publicKey.data])
                .map(apiKey)
        }
    }

    /// The keys whose public key starts with the hexadecimal digits people know them by; more than one only when an
    /// abbreviation is ambiguous.
    package func apiKeys(idPrefix: String) throws(StoreError) -> [APIKeyAccount] {
        let wanted = idPrefix.lowercased()
        guard !wanted.isEmpty, wanted.utf8.allSatisfy({ hexValue($0) != nil }) else { return [] }
        return try read {
            try Row.fetchAll(
                $0, sql: "SELECT * FROM api_keys WHERE substr(lower(hex(public_key)), 1, ?) = ? ORDER BY public_key",
                arguments: [wanted.utf8.count, wanted]
            ).map(apiKey)
        }
    }

    /// Revokes a key; a second call keeps the first time.
    /// - Returns: false when there is no such key.
    @discardableResult
    package func revokeAPIKey(publicKey: PublicKey, at time: Timestamp) throws(StoreError) -> Bool {
        try write { database in
            try database.execute(
                sql: "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE public_key = ?",
                arguments: [time.milliseconds, publicKey.data])
            return database.changesCount > 0
        }
    }

    private func apiKey(_ row: Row) throws -> APIKeyAccount {
        let names: String = row["scopes"]
        // A scope this version does not know grants nothing.
        let scopes = names.split(separator: ",").compactMap { APIKeyScope(rawValue: String($0)) }
        guard let publicKey = PublicKey([UInt8](row: row, "public_key")),
            let ownerKey = PublicKey([UInt8](row: row, "owner_key"))
        else { throw damaged("an API key") }
        return APIKeyAccount(
            publicKey: publicKey, username: row["username"], ownerKey: ownerKey, label: row["label"], scopes: scopes,
            createdAt: Timestamp(milliseconds: row["created_at"]), expiresAt: Timestamp(row: row, "expires_at"),
            revokedAt: Timestamp(row: row, "revoked_at"), defaultModel: row["default_model"])
    }
}
