import Foundation
import GRDB
import Glibc
import MeshModel

/// What one node must not forget, in one SQLite file: accounts, its own records and versions, peers, and the records
/// of others as a cache for the next start. Secrets are never in it: public keys only.
///
/// Every method blocks until SQLite answered (writes: until the disk did), so none may be called on an event loop or
/// on the cooperative pool. All methods may be called from any thread; writes queue behind one another.
/// Every error is a `StoreError`.
package struct MeshStore: Sendable {
    let pool: DatabasePool
    package let path: String
    package let health: StoreHealth

    /// Opens or creates the database at `path` (mode 0600) and brings its tables up to date.
    /// - Parameter maximumPages: bound of the file in pages of 4 KiB, nil for SQLite's own.
    /// - Throws: `StoreError.corrupt`, `.newerSchema`, `.unusable`, `.full`, `.database`.
    package static func open(_ path: String, maximumPages: Int? = nil) throws(StoreError) -> MeshStore {
        try createPrivateFile(path)
        do {
            try check(path)
            let pool = try DatabasePool(path: path, configuration: configuration(maximumPages: maximumPages))
            // FULL, where GRDB's default with a write-ahead log is NORMAL: after a power cut a version that was signed
            // with must not be handed out again, nor a revoked key come back. The database is off the hot path, so one
            // rule for all tables costs nothing that anybody waits for.
            try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            try Schema.migrator.migrate(pool)
            return MeshStore(pool: pool, path: path, health: StoreHealth())
        } catch {
            throw StoreError(error, path: path)
        }
    }

    /// Waits for running calls, moves the write-ahead log into the database, so that one file is the whole backup of a
    /// stopped node, and closes it. Without room for that the log stays as it is, and the next start reads it. Calls
    /// made afterwards throw.
    package func close() throws(StoreError) {
        do {
            do { _ = try pool.writeWithoutTransaction { try $0.checkpoint(.truncate) } } catch {
                guard StoreError(error, path: path).isLackOfRoom else { throw error }
            }
            try pool.close()
        } catch {
            throw StoreError(error, path: path)
        }
    }

    /// Looks at a database that no node has open, as `open` would, changing nothing.
    /// - Throws: `StoreError.corrupt`, `.newerSchema`, `.unusable`, `.database`.
    package static func examine(_ path: String) throws(StoreError) {
        do { try check(path) } catch { throw StoreError(error, path: path) }
    }

    private static func configuration(maximumPages: Int?) -> GRDB.Configuration {
        var configuration = GRDB.Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(Double(Limits.storeBusyMs) / 1_000)
        configuration.maximumReaderCount = Limits.storeReaders
        configuration.label = "mesh.store"
        configuration.prepareDatabase { database in
            guard !database.configuration.readonly else { return }
            if let maximumPages { try database.execute(sql: "PRAGMA max_page_count = \(maximumPages)") }
        }
        return configuration
    }

    /// SQLite gives the write-ahead log the mode of the database, so this one call covers all three files. A file that
    /// others may read (restored from a backup, say) is closed to them.
    private static func createPrivateFile(_ path: String) throws(StoreError) {
        let file = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw .unusable(path: path, reason: SecretFile.lastErrorText()) }
        defer { Glibc.close(file) }
        guard fchmod(file, 0o600) == 0 else { throw .unusable(path: path, reason: SecretFile.lastErrorText()) }
    }

    /// Looks at the file through a connection that cannot write, so that a damaged or newer one stays as it is.
    private static func check(_ path: String) throws {
        var status = stat()
        guard stat(path, &status) == 0, status.st_size > 0 else { return }
        var configuration = GRDB.Configuration()
        configuration.readonly = true
        configuration.label = "mesh.store.check"
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        try queue.read { database in
            let answer = try String.fetchOne(database, sql: "PRAGMA quick_check(1)") ?? "no answer"
            guard answer == "ok" else { throw StoreError.corrupt(path: path, detail: answer) }
            if try Schema.migrator.hasBeenSuperseded(database) { throw StoreError.newerSchema(path: path) }
        }
        try queue.close()
    }

    /// One transaction: all of `body` or nothing.
    func write<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        do {
            let value = try pool.write(body)
            health.committed()
            return value
        } catch {
            let failure = StoreError(error, path: path)
            health.failed(failure)
            throw failure
        }
    }

    /// A view of the database that no write changes meanwhile.
    func read<Value>(_ body: (Database) throws -> Value) throws(StoreError) -> Value {
        do { return try pool.read(body) } catch { throw StoreError(error, path: path) }
    }

    func damaged(_ what: String) -> StoreError { .corrupt(path: path, detail: "\(what) cannot be read back") }
}

extension PublicKey {
    var data: Data { Data(bytes) }
}

extension RecordKey {
    var data: Data { Data(bytes) }
}
