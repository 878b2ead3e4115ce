import Foundation
import GRDB
import MeshModel
package import MeshRouting

extension MeshStore {
    /// What names mean at this node, in the order in which they were learnt.
    package func names() throws(StoreError) -> [NamePin] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM names ORDER BY position").compactMap { row in
                let text: String = row["name"]
                guard let name = MeshName(text), let home = PublicKey([UInt8](row: row, "home")) else {
                    // Strangers choose what their models are called: none of it may keep this node from starting.
                    if MeshName.isOfModel(text) { return nil }
                    throw damaged("a name")
                }
                let holder: Data? = row["holder"]
                return NamePin(
                    name: name, holder: holder.map { [UInt8]($0) }, order: UInt64(clamping: row["position"] as Int64),
                    home: home, learnt: Timestamp(milliseconds: row["learnt"]),
                    seen: Timestamp(milliseconds: row["seen"]), isUsed: row["used"], isOwn: row["own"])
            }
        }
    }

    /// All of `changes` in their order and in one transaction, or none of them.
    package func saveNames(_ changes: [NameChange]) throws(StoreError) {
        guard !changes.isEmpty else { return }
        try write { database in
            for change in changes {
                switch change {
                case .remove(let name):
                    try database.cachedStatement(sql: "DELETE FROM names WHERE name = ?").execute(arguments: [name.text]
                    )
                case .save(let pin): try save(pin, database)
                }
            }
        }
    }

    private func save(_ pin: NamePin, _ database: Database) throws {
        try database.cachedStatement(
            sql: """
                INSERT INTO names (name, holder, position, home, learnt, seen, used, own)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, position = excluded.position,
                    home = excluded.home, learnt = excluded.learnt, seen = excluded.seen, used = excluded.used,
                    own = excluded.own
                """
        ).execute(
            arguments: [
                pin.name.text, pin.holder.map { Data($0) }, Int64(clamping: pin.order), pin.home.data,
                pin.learnt.milliseconds, pin.seen.milliseconds, pin.isUsed, pin.isOwn,
            ])
    }
}

extension Schema {
    /// What each name means here. It must not be lost: who comes later would get what was sent to who came first.
    static let names = """
        CREATE TABLE names (
            name TEXT NOT NULL PRIMARY KEY,
            holder BLOB CHECK (length(holder) IN (0, 16, 32)),
            position INTEGER NOT NULL,
            home BLOB NOT NULL CHECK (length(home) = 32),
            learnt INTEGER NOT NULL,
            seen INTEGER NOT NULL,
            used INTEGER NOT NULL,
            own INTEGER NOT NULL
        ) WITHOUT ROWID, STRICT;
        """
}
