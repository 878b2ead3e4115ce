import Foundation
import GRDB
package import MeshModel

/// What an owner has set up for buyers: a pool of sellers or a policy that chooses among them.
package struct MarketEntry: Hashable, Sendable {
    package enum Kind: String, CaseIterable, Hashable, Sendable {
        case rotation
        case policy
    }

    package var kind: Kind
    package var scope: OwnerScope
    package var name: String
    /// As its owner wrote it, in JSON.
    package var document: [UInt8]
    package var changedAt: Timestamp
    /// As the mesh is told of it; nil for what is not published.
    package var published: [UInt8]?

    package init(
        kind: Kind, scope: OwnerScope, name: String, document: [UInt8], changedAt: Timestamp, published: [UInt8]? = nil
    ) {
        self.published = published
        self.kind = kind
        self.scope = scope
        self.name = name
        self.document = document
        self.changedAt = changedAt
    }
}

extension MeshStore {
    /// All of them, by scope and name.
    package func marketEntries() throws(StoreError) -> [MarketEntry] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM market ORDER BY kind, scope, name").map { row in
                let (kind, scope): (String, String) = (row["kind"], row["scope"])
                guard let kind = MarketEntry.Kind(rawValue: kind) else { throw damaged("a rotation or policy") }
                let document: String = row["document"]
                let published: String? = row["published"]
                return MarketEntry(
                    kind: kind, scope: OwnerScope(username: scope), name: row["name"],
                    document: Array(document.utf8), changedAt: Timestamp(milliseconds: row["changed_at"]),
                    published: published.map { Array($0.utf8) })
            }
        }
    }

    /// All of the changes in one transaction, or none of them: `saved` are made or replaced, `removed` are gone after it.
    package func changeMarket(
        saved: [MarketEntry], removed: [(kind: MarketEntry.Kind, scope: OwnerScope, name: String)] = []
    ) throws(StoreError) {
        try write { database in
            for entry in removed {
                try database.cachedStatement(sql: "DELETE FROM market WHERE kind = ? AND scope = ? AND name = ?")
                    .execute(arguments: [entry.kind.rawValue, entry.scope.username, entry.name])
            }
            for entry in saved {
                try database.cachedStatement(
                    sql: """
                        INSERT INTO market (kind, scope, name, document, changed_at, published) VALUES (?, ?, ?, ?, ?, ?)
                        ON CONFLICT (kind, scope, name) DO UPDATE SET document = excluded.document,
                            changed_at = excluded.changed_at, published = excluded.published
                        """
                ).execute(
                    arguments: [
                        entry.kind.rawValue, entry.scope.username, entry.name,
                        String(decoding: entry.document, as: UTF8.self), entry.changedAt.milliseconds,
                        entry.published.map { String(decoding: $0, as: UTF8.self) },
                    ])
            }
        }
    }
}

extension Schema {
    static let publications = "ALTER TABLE market ADD COLUMN published TEXT;"

    static let market = """
        CREATE TABLE market (
            kind TEXT NOT NULL CHECK (kind IN ('rotation', 'policy')),
            scope TEXT NOT NULL,
            name TEXT NOT NULL,
            document TEXT NOT NULL,
            changed_at INTEGER NOT NULL,
            PRIMARY KEY (kind, scope, name)
        ) WITHOUT ROWID, STRICT;
        """
}
