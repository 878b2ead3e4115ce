import GRDB
package import MeshModel

extension MeshStore {
    /// - Throws: `.conflict` when the name or the owner key is taken, `.invalid` for a name that breaks `NameRule`.
    package func createUser(_ user: UserAccount) throws(StoreError) {
        guard NameRule.isValid(user.username), user.username != OwnerScope.global.username else {
            throw .invalid("'\(user.username)' cannot be a username: use \(NameRule.text), and not 'global'")
        }
        try write { database in
            let count = try Int.fetchOne(database, sql: "SELECT count(*) FROM users") ?? 0
            guard count < Limits.usersStored else {
                throw StoreError.invalid("this node has \(count) users, which is its limit")
            }
            let taken = try String.fetchOne(
                database, sql: "SELECT username FROM users WHERE username = ? OR owner_key = ?",
                arguments: [user.username, user.ownerKey.data])
            if let taken {
                throw StoreError.conflict(
                    taken == user.username
                        ? "user '\(user.username)' exists already" : "another user has this owner key already")
            }
            try database.execute(
                sql: "INSERT INTO users (username, owner_key, created_at, disabled) VALUES (?, ?, ?, ?)",
                arguments: [user.username, user.ownerKey.data, user.createdAt.milliseconds, user.disabled])
        }
    }

    /// All users by name.
    package func users() throws(StoreError) -> [UserAccount] {
        try read { try Row.fetchAll($0, sql: "SELECT * FROM users ORDER BY username").map(user) }
    }

    package func user(named username: String) throws(StoreError) -> UserAccount? {
        try read {
            try Row.fetchOne($0, sql: "SELECT * FROM users WHERE username = ?", arguments: [username]).map(user)
        }
    }

    package func user(ownerKey: PublicKey) throws(StoreError) -> UserAccount? {
        try read {
            try Row.fetchOne($0, sql: "SELECT * FROM users WHERE owner_key = ?", arguments: [ownerKey.data]).map(user)
        }
    }

    /// - Throws: `.notFound`.
    package func setUserDisabled(_ username: String, _ disabled: Bool) throws(StoreError) {
        try write { database in
            try database.execute(
                sql: "UPDATE users SET disabled = ? WHERE username = ?", arguments: [disabled, username])
            guard database.changesCount > 0 else { throw StoreError.notFound("there is no user '\(username)'") }
        }
    }

    /// Removes a user with its API keys and its providers, in one step.
    /// - Throws: `.notFound`.
    package func removeUser(_ username: String) throws(StoreError) {
        try write { database in
            try database.execute(sql: "DELETE FROM users WHERE username = ?", arguments: [username])
            guard database.changesCount > 0 else { throw StoreError.notFound("there is no user '\(username)'") }
            try database.execute(sql: "DELETE FROM api_keys WHERE username = ?", arguments: [username])
            try database.execute(sql: "DELETE FROM providers WHERE scope = ?", arguments: [username])
        }
    }

    private func user(_ row: Row) throws -> UserAccount {
        guard let ownerKey = PublicKey([UInt8](row: row, "owner_key")) else { throw damaged("a user") }
        return UserAccount(
            username: row["username"], ownerKey: ownerKey, createdAt: Timestamp(milliseconds: row["created_at"]),
            disabled: row["disabled"])
    }
}
