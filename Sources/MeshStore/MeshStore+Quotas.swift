import GRDB
package import MeshAccounting
package import MeshModel

/// A quota as it is stored.
package struct StoredQuota: Hashable, Sendable {
    package var subject: QuotaSubject
    /// In JSON.
    package var document: [UInt8]
    package var changedAt: Timestamp

    package init(subject: QuotaSubject, document: [UInt8], changedAt: Timestamp) {
        self.subject = subject
        self.document = document
        self.changedAt = changedAt
    }
}

extension MeshStore {
    /// All of them, by subject.
    package func quotas() throws(StoreError) -> [StoredQuota] {
        try read { database in
            try Row.fetchAll(database, sql: "SELECT * FROM quotas ORDER BY subject").map { row in
                let (subject, document): (String, String) = (row["subject"], row["document"])
                guard let subject = QuotaSubject(subject) else { throw damaged("a limit") }
                return StoredQuota(
                    subject: subject, document: Array(document.utf8),
                    changedAt: Timestamp(milliseconds: row["changed_at"]))
            }
        }
    }

    /// - Throws: `.invalid` when there are as many as there may be.
    package func saveQuota(_ quota: StoredQuota) throws(StoreError) {
        try write { database in
            let others = try Int.fetchOne(
                database, sql: "SELECT count(*) FROM quotas WHERE subject <> ?",
                arguments: [quota.subject.description])
            guard others ?? 0 < Limits.quotas else {
                throw StoreError.invalid("a node has limits for \(Limits.quotas) subjects at most; remove one first")
            }
            try database.execute(
                sql: """
                    INSERT INTO quotas (subject, document, changed_at) VALUES (?, ?, ?)
                    ON CONFLICT (subject) DO UPDATE SET document = excluded.document, changed_at = excluded.changed_at
                    """,
                arguments: [
                    quota.subject.description, String(decoding: quota.document, as: UTF8.self),
                    quota.changedAt.milliseconds,
                ])
        }
    }

    /// - Returns: false when there is none.
    @discardableResult
    package func removeQuota(_ subject: QuotaSubject) throws(StoreError) -> Bool {
        try write { database in
            try database.execute(sql: "DELETE FROM quotas WHERE subject = ?", arguments: [subject.description])
            return database.changesCount > 0
        }
    }

    /// Takes slices of what may be used of periods, all in one transaction; those below zero are given back. Periods that
    /// are over are forgotten on the way.
    /// - Returns: for each, what is taken of its period now.
    package func take(_ slices: [QuotaSlice], now: Timestamp) throws(StoreError) -> [Int64] {
        try write { database in
            let taken = try slices.map { slice -> Int64 in
                try Int64.fetchOne(
                    database.cachedStatement(
                        sql: """
                            INSERT INTO quota_slices (subject, measure, period, taken) VALUES (?1, ?2, ?3, max(?4, 0))
                            ON CONFLICT (subject, measure, period) DO UPDATE SET taken = max(taken + ?4, 0)
                            RETURNING taken
                            """),
                    arguments: [
                        slice.subject.description, slice.measure.rawValue, slice.period.description, slice.amount,
                    ]) ?? 0
            }
            // As texts they are in the order of time. A month of one kind is never a day of the other.
            for kind in QuotaPeriod.Kind.allCases {
                let last = QuotaPeriod(QuotaPeriod(kind, at: now).kind, number: QuotaPeriod(kind, at: now).number - 1)
                try database.cachedStatement(
                    sql: "DELETE FROM quota_slices WHERE length(period) = ? AND period < ?"
                ).execute(arguments: [last.description.utf8.count, last.description])
            }
            return taken
        }
    }
}

extension Schema {
    static let quotas = """
        CREATE TABLE quotas (
            subject TEXT NOT NULL PRIMARY KEY,
            document TEXT NOT NULL,
            changed_at INTEGER NOT NULL
        ) WITHOUT ROWID, STRICT;
        CREATE TABLE quota_slices (
            subject TEXT NOT NULL,
            measure TEXT NOT NULL CHECK (measure IN ('tokens', 'money')),
            period TEXT NOT NULL,
            taken INTEGER NOT NULL,
            PRIMARY KEY (subject, measure, period)
        ) WITHOUT ROWID, STRICT;
        """
}
