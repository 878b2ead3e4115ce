import Foundation
import GRDB
package import MeshModel
import MeshWire

/// One change of the tables that follow the control plane. Records are verbatim bytes; the key is taken out of them.
package enum StoreChange: Hashable, Sendable {
    /// A record of somebody else, or of this node, as it stands in the mesh: a cache for the next start.
    case saveRecord([UInt8])
    case deleteRecord(RecordKey)
    /// A record this node signed and must know again after a restart.
    case saveOwnRecord([UInt8])
    case deleteOwnRecord(RecordKey)
    case savePeer(PeerEntry)
    case deletePeer(PublicKey)
    /// A value of the node's own; nil deletes it.
    case setMeta(key: String, value: String?)
}

extension MeshStore {
    /// All of `changes` in their order and in one transaction, or none of them.
    /// - Throws: `.invalid` for bytes that are no record.
    package func apply(_ changes: [StoreChange]) throws(StoreError) {
        guard !changes.isEmpty else { return }
        try write { database in
            for change in changes { try apply(change, database) }
        }
    }

    package func saveRecords(_ records: [[UInt8]]) throws(StoreError) {
        try apply(records.map(StoreChange.saveRecord))
    }

    package func deleteRecords(_ keys: [RecordKey]) throws(StoreError) {
        try apply(keys.map(StoreChange.deleteRecord))
    }

    /// The cached records, at most `Limits.recordsStored`, in key order. They were verified once; whoever loads them
    /// verifies them again, because a file is no proof.
    package func loadRecords() throws(StoreError) -> [[UInt8]] { try recordBytes(in: "records") }

    package func saveOwnRecord(_ bytes: [UInt8]) throws(StoreError) { try apply([.saveOwnRecord(bytes)]) }

    package func deleteOwnRecord(_ key: RecordKey) throws(StoreError) { try apply([.deleteOwnRecord(key)]) }

    package func ownRecords() throws(StoreError) -> [[UInt8]] { try recordBytes(in: "own_records") }

    /// The next version for a record of `signer`, on disk before it is returned. Strictly greater than every version
    /// handed out for this signer before, even when `epoch` (see `RecordVersion.epoch(at:)`) went back with the clock.
    package func allocateVersion(signer: PublicKey, epoch: UInt32) throws(StoreError) -> RecordVersion {
        try write { try allocateVersion(VersionClaim(signer: signer), epoch, $0) }
    }

    /// Somebody who needs a version.
    package struct VersionClaim: Hashable, Sendable {
        package var signer: PublicKey
        /// The version has to be above this one too: the mesh may know of versions that a restored backup forgot.
        package var above: RecordVersion?

        package init(signer: PublicKey, above: RecordVersion? = nil) {
            self.signer = signer
            self.above = above
        }
    }

    /// A record that was made with a version of its own.
    package struct MadeRecord: Sendable {
        package var bytes: [UInt8]
        /// Whether this node must know it again after a restart.
        package var isKept: Bool

        package init(bytes: [UInt8], isKept: Bool) {
            self.bytes = bytes
            self.isKept = isKept
        }
    }

    /// Makes one record per claim, in order, each with its signer's next version, and stores them: versions and records
    /// in one transaction, so that many cost the disk as much as one. Nothing may be told to anybody before this returns.
    /// - Parameter make: gets the place in `claims` and the version; nil where there is nothing to be said after all.
    /// - Returns: what was made; nil also for a signer that has no versions left.
    package func makeRecords(
        _ claims: [VersionClaim], epoch: UInt32, make: (Int, RecordVersion) -> MadeRecord?
    ) throws(StoreError) -> [[UInt8]?] {
        try write { database in
            try claims.enumerated().map { place, claim in
                let version: RecordVersion
                do { version = try allocateVersion(claim, epoch, database) } catch StoreError.invalid { return nil }
                guard let made = make(place, version) else { return nil }
                if made.isKept { try save(made.bytes, in: "own_records", database) }
                return made.bytes
            }
        }
    }

    private func allocateVersion(_ claim: VersionClaim, _ epoch: UInt32, _ database: Database) throws -> RecordVersion {
        let row = try Row.fetchOne(
            database.cachedStatement(sql: "SELECT epoch, sequence FROM versions WHERE signer = ?"),
            arguments: [claim.signer.data])
        let last = [row.map(Self.version), claim.above].compactMap { $0 }.max()
        guard let next = RecordVersion.next(after: last, epoch: epoch) else {
            throw StoreError.invalid("this signer has used up its record versions; a new key is needed")
        }
        try database.cachedStatement(
            sql: """
                INSERT INTO versions (signer, epoch, sequence) VALUES (?, ?, ?)
                ON CONFLICT (signer) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence
                """
        ).execute(arguments: [claim.signer.data, Int64(next.epoch), Int64(next.sequence)])
        return next
    }

    private static func version(_ row: Row) -> RecordVersion {
        RecordVersion(
            epoch: UInt32(clamping: row["epoch"] as Int64), sequence: UInt64(clamping: row["sequence"] as Int64))
    }

    /// The greatest version handed out for `signer`, nil before the first.
    package func lastVersion(signer: PublicKey) throws(StoreError) -> RecordVersion? {
        try read { database in
            try Row.fetchOne(
                database, sql: "SELECT epoch, sequence FROM versions WHERE signer = ?", arguments: [signer.data]
            ).map(Self.version)
        }
    }

    /// Never hands out a version at or below `version` for `signer` from now on: what a node does that finds a newer
    /// record of its own in the mesh (its database was restored from a backup).
    package func raiseVersion(signer: PublicKey, to version: RecordVersion) throws(StoreError) {
        try write { database in
            try database.execute(
                sql: """
                    INSERT INTO versions (signer, epoch, sequence) VALUES (?, ?, ?)
                    ON CONFLICT (signer) DO UPDATE SET epoch = excluded.epoch, sequence = excluded.sequence
                    WHERE (excluded.epoch, excluded.sequence) > (epoch, sequence)
                    """,
                arguments: [signer.data, Int64(version.epoch), Int64(version.sequence)])
        }
    }

    package func savePeer(_ peer: PeerEntry) throws(StoreError) { try apply([.savePeer(peer)]) }

    /// Known peers, the most recently seen first.
    package func peers() throws(StoreError) -> [PeerEntry] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM peers ORDER BY last_seen DESC NULLS LAST, node_key")
                .map { row in
                    guard let key = PublicKey([UInt8](row: row, "node_key")) else { throw damaged("a peer") }
                    return PeerEntry(nodeKey: key, address: row["address"], lastSeen: Timestamp(row: row, "last_seen"))
                }
        }
    }

    package func setMeta(_ key: String, _ value: String?) throws(StoreError) {
        try apply([.setMeta(key: key, value: value)])
    }

    package func meta(_ key: String) throws(StoreError) -> String? {
        try read { try String.fetchOne($0, sql: "SELECT value FROM meta WHERE key = ?", arguments: [key]) }
    }

    private func recordBytes(in table: String) throws(StoreError) -> [[UInt8]] {
        try read { database in
            try Row.fetchAll(
                database, sql: "SELECT bytes FROM \(table) ORDER BY record_key LIMIT ?",
                arguments: [Limits.recordsStored]
            ).map { [UInt8](row: $0, "bytes") }
        }
    }

    private func apply(_ change: StoreChange, _ database: Database) throws {
        switch change {
        case .saveRecord(let bytes): try save(bytes, in: "records", database)
        case .deleteRecord(let key): try delete(key, from: "records", database)
        case .saveOwnRecord(let bytes): try save(bytes, in: "own_records", database)
        case .deleteOwnRecord(let key): try delete(key, from: "own_records", database)
        case .savePeer(let peer): try save(peer, database)
        case .deletePeer(let key):
            try database.execute(sql: "DELETE FROM peers WHERE node_key = ?", arguments: [key.data])
        case .setMeta(let key, let value): try set(key, value, database)
        }
    }

    private func save(_ bytes: [UInt8], in table: String, _ database: Database) throws {
        guard case .success(let envelope) = RecordEnvelope.parse(bytes) else {
            throw StoreError.invalid("only whole records can be stored")
        }
        let statement = try database.cachedStatement(
            sql: """
                INSERT INTO \(table) (record_key, bytes) VALUES (?, ?)
                ON CONFLICT (record_key) DO UPDATE SET bytes = excluded.bytes
                """)
        try statement.execute(arguments: [envelope.key.data, Data(bytes)])
    }

    private func delete(_ key: RecordKey, from table: String, _ database: Database) throws {
        try database.cachedStatement(sql: "DELETE FROM \(table) WHERE record_key = ?").execute(arguments: [key.data])
    }

    /// Keeps what is known of a peer where the entry does not say it. Beyond the limit the peers that were not seen
    /// for the longest time go.
    private func save(_ peer: PeerEntry, _ database: Database) throws {
        guard peer.address?.utf8.count ?? 0 <= Limits.labelBytes * 2 else {
            throw StoreError.invalid("a peer's address is too long")
        }
        try database.execute(
            sql: """
                INSERT INTO peers (node_key, address, last_seen) VALUES (?, ?, ?)
                ON CONFLICT (node_key) DO UPDATE SET address = coalesce(excluded.address, address),
                    last_seen = max(coalesce(excluded.last_seen, last_seen), coalesce(last_seen, excluded.last_seen))
                """,
            arguments: [peer.nodeKey.data, peer.address, peer.lastSeen?.milliseconds])
        let count = try Int.fetchOne(database, sql: "SELECT count(*) FROM peers") ?? 0
        guard count > Limits.peersStored else { return }
        try database.execute(
            sql: """
                DELETE FROM peers WHERE node_key IN (
                    SELECT node_key FROM peers WHERE node_key <> ? ORDER BY last_seen NULLS FIRST LIMIT ?)
                """,
            arguments: [peer.nodeKey.data, count - Limits.peersStored])
    }

    private func set(_ key: String, _ value: String?, _ database: Database) throws {
        guard let value else {
            return try database.execute(sql: "DELETE FROM meta WHERE key = ?", arguments: [key])
        }
        guard key.utf8.count <= Limits.labelBytes, value.utf8.count <= Limits.metaValueBytes else {
            throw StoreError.invalid("the value of '\(key.prefix(Limits.labelBytes))' is too long to be stored")
        }
        try database.execute(
            sql: "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            arguments: [key, value])
    }
}
