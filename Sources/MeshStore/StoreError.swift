import GRDB

/// Why the data directory, a key file or the database cannot be used. `description` says what is wrong, where, and
/// what to do; nothing is ever deleted or repaired behind the operator's back.
package enum StoreError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The data directory or something in it cannot be created, read or written.
    case unusable(path: String, reason: String)
    /// Another node runs on the directory; its process id where it could be read.
    case inUse(path: String, pid: Int32?)
    /// A secret file that others may read.
    case readableByOthers(path: String)
    /// A key file that is no key file, of another kind, or whose checksum does not match.
    case damagedKey(path: String, reason: String)
    /// A key file that must exist and does not.
    case missingKey(path: String, reason: String)
    /// The database file is no database, or its pages contradict each other.
    case corrupt(path: String, detail: String)
    /// The database was written by a newer version of this program.
    case newerSchema(path: String)
    /// No room left on the disk, or in this user's part of it.
    case full(path: String)
    /// Any other answer of SQLite.
    case database(path: String, detail: String)
    /// What should be created is there already.
    case conflict(String)
    /// What should be changed is not there.
    case notFound(String)
    /// A value that may not be stored.
    case invalid(String)

    package var description: String {
        switch self {
        case .unusable(let path, let reason):
            "cannot use \(path): \(reason); check that the directory exists, belongs to this user and is on a writable disk"
        case .inUse(let path, let pid):
            "another node\(pid.map { " (process \($0))" } ?? "") is running on \(path); stop it, or give this node "
                + "another data directory"
        case .readableByOthers(let path):
            "\(path) holds a secret and can be read by other users; run 'chmod 600 \(path)', and replace the key if "
                + "somebody else may have seen it"
        case .damagedKey(let path, let reason):
            "\(path) cannot be used as a key file: \(reason); restore it from a backup (it was left as it is)"
        case .missingKey(let path, let reason):
            "\(path) is missing: \(reason)"
        case .corrupt(let path, let detail):
            "the database \(path) is damaged (\(detail)); it was left as it is. Stop the node, keep a copy, then restore a "
                + "backup or recover it with 'sqlite3 \(path) .recover'"
        case .newerSchema(let path):
            "the database \(path) was written by a newer version of this program; run that version, or restore a backup "
                + "made before the upgrade"
        case .full(let path):
            "there is no room for \(path) to grow; free some disk space and try again"
        case .database(let path, let detail):
            "the database \(path) answered: \(detail)"
        case .conflict(let text), .notFound(let text), .invalid(let text):
            text
        }
    }

    package var isLackOfRoom: Bool {
        if case .full = self { return true }
        return false
    }

    /// Whether the store may take the same later, without anybody's doing at this node.
    package var isPassing: Bool {
        switch self {
        case .full, .unusable: true
        case .inUse, .readableByOthers, .damagedKey, .missingKey, .corrupt, .newerSchema, .database, .conflict,
            .notFound, .invalid:
            false
        }
    }

    /// What an error of GRDB means to the operator; errors of this type pass unchanged.
    init(_ error: any Error, path: String) {
        if let own = error as? StoreError {
            self = own
            return
        }
        guard let failure = error as? DatabaseError else {
            self = .database(path: path, detail: String(describing: error))
            return
        }
        // The SQL and its arguments stay out of the message: they may hold other tenants' names.
        let detail = failure.message ?? "SQLite error \(failure.extendedResultCode.rawValue)"
        switch failure.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: self = .corrupt(path: path, detail: detail)
        case .SQLITE_FULL: self = .full(path: path)
        // A disk that is full shows at other places too: the index of the write-ahead log, for one.
        case .SQLITE_IOERR where FreeSpace.isExhausted(beside: path),
            .SQLITE_CANTOPEN where FreeSpace.isExhausted(beside: path):
            self = .full(path: path)
        case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_IOERR:
            self = .unusable(path: path, reason: detail)
        default: self = .database(path: path, detail: detail)
        }
    }
}
