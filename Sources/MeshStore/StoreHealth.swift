import Glibc
import MeshModel
import Synchronization

/// Whether what is written to the store gets there. A store that cannot be written to can still be read, and a node
/// that cannot remember anything new can still serve its buyers.
package final class StoreHealth: Sendable {
    package enum State: Int, Sendable {
        case writable
        /// No room on the disk, or in the quota of this user.
        case full
        /// It answers reads, and refuses writes for another reason: a file system that was mounted anew read-only, say.
        case unwritable
    }

    private let raw = Atomic<Int>(State.writable.rawValue)
    private let failures = Atomic<Int>(0)
    private let successes = Atomic<Int>(0)

    package var state: State { State(rawValue: raw.load(ordering: .relaxed)) ?? .writable }
    /// Writes that failed, since the store was opened.
    package var failedWrites: Int { failures.load(ordering: .relaxed) }

    /// Transactions that got to the disk, since the store was opened.
    package var commits: Int { successes.load(ordering: .relaxed) }

    func committed() { successes.add(1, ordering: .relaxed) }

    func succeeded() {
        if state != .writable { raw.store(State.writable.rawValue, ordering: .relaxed) }
    }

    func failed(_ error: StoreError) {
        switch error {
        case .full: note(.full)
        case .unusable: note(.unwritable)
        case .inUse, .readableByOthers, .damagedKey, .missingKey, .corrupt, .newerSchema, .database, .conflict,
            .notFound, .invalid:
            break
        }
    }

    private func note(_ state: State) {
        raw.store(state.rawValue, ordering: .relaxed)
        failures.add(1, ordering: .relaxed)
    }
}

extension MeshStore {
    /// Bytes that this user may still write to the file system of the database; nil when nobody can tell.
    package var freeBytes: Int64? { FreeSpace.bytes(beside: path) }

    /// Tries a small write where the last one failed.
    /// - Returns: whether the store is writable now. False, too, while there is less room than `Limits.storeRoomBytes`:
    ///   the write-ahead log has room of its own, so that a small write succeeds on a disk that is full.
    package func probe() -> Bool {
        guard health.state != .writable else { return true }
        if let free = freeBytes, free < Limits.storeRoomBytes { return false }
        do throws(StoreError) {
            try setMeta("probe", "x")
            try setMeta("probe", nil)
        } catch { return false }
        health.succeeded()
        return true
    }
}

enum FreeSpace {
    static func bytes(beside path: String) -> Int64? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        return Int64(
            clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue)
    }

    /// Whether an error that names no reason has this one.
    static func isExhausted(beside path: String) -> Bool {
        bytes(beside: path).map { $0 < Limits.storeLeastRoomBytes } ?? false
    }
}
