internal import Glibc
internal import MeshModel
internal import MeshStore
internal import NIOSSL

/// What would keep a node from running on a data directory: the same rules as at the start, tried without taking the
/// lock and without making or changing anything that stays.
package struct DataDirectoryCheck: Sendable {
    package enum Verdict: Sendable { case ok, note, failed }

    package struct Result: Sendable {
        package var verdict: Verdict
        package var check: String
        package var text: String
    }

    private let layout: DataDirectoryLayout
    private let looksAtDatabase: Bool

    /// - Parameter isRunning: whether a node runs on it; then the database is its own matter.
    package init(_ configuration: NodeConfiguration, isRunning: Bool) {
        layout = DataDirectoryLayout(root: configuration.dataDirectory)
        looksAtDatabase = !isRunning
    }

    package func run() -> [Result] {
        var status = stat()
        guard stat(layout.root, &status) == 0 else {
            guard errno == ENOENT else {
                return [.init(verdict: .failed, check: "data directory", text: errorText("cannot be reached"))]
            }
            return [.init(verdict: .note, check: "data directory", text: "not there yet; 'aisbf node init' creates it")]
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            return [.init(verdict: .failed, check: "data directory", text: "is a file, not a directory")]
        }
        guard access(layout.root, R_OK | W_OK | X_OK) == 0 else {
            return [
                .init(verdict: .failed, check: "data directory", text: errorText("is not writable for this user"))
            ]
        }
        var results = [Result(verdict: .ok, check: "data directory", text: "there and writable")]
        results.append(directories())
        results.append(disk())
        results += keys()
        if looksAtDatabase { results += database() }
        return results
    }

    private func errorText(_ what: String) -> String { "\(what): \(String(cString: strerror(errno)))" }

    private func directories() -> Result {
        for path in [layout.root, layout.keys, layout.owners] {
            var status = stat()
            guard stat(path, &status) == 0 else { continue }
            if status.st_mode & 0o022 != 0 {
                return .init(
                    verdict: .failed, check: "permissions",
                    text: "other users can write to \(path); look inside, then run chmod 700 on it")
            }
            if status.st_mode & 0o055 != 0 {
                return .init(
                    verdict: .note, check: "permissions",
                    text: "other users can read \(path); the node takes that away when it starts")
            }
        }
        return .init(verdict: .ok, check: "permissions", text: "private to this user")
    }

    /// Room is not only what the file system says: a quota shows when something is written.
    private func disk() -> Result {
        var status = statvfs()
        let free = statvfs(layout.root, &status) == 0 ? UInt64(status.f_bavail) * UInt64(status.f_frsize) : 0
        let text = "\(free >> 20) MiB free"
        if let problem = DataDirectory.writeProblem(layout) {
            return .init(
                verdict: .failed, check: "disk", text: "nothing can be written (\(problem)); \(text). Make some room")
        }
        guard free >= Limits.diskFreeBytes else {
            return .init(
                verdict: .failed, check: "disk",
                text: "only \(text); the node needs \(Limits.diskFreeBytes >> 20) MiB. Make some room")
        }
        return .init(verdict: .ok, check: "disk", text: text)
    }

    private func keys() -> [Result] {
        do {
            let found = try NodeIdentity.examine(layout)
            guard found > 0 else {
                return [.init(verdict: .note, check: "keys", text: "none yet; the first start makes them")]
            }
            return [.init(verdict: .ok, check: "keys", text: "\(found) key files, readable and whole")]
        } catch {
            return [.init(verdict: .failed, check: "keys", text: error.description)]
        }
    }

    private func database() -> [Result] {
        guard access(layout.database, F_OK) == 0 else { return [] }
        do {
            try MeshStore.examine(layout.database)
            return [.init(verdict: .ok, check: "database", text: "readable and whole")]
        } catch {
            return [.init(verdict: .failed, check: "database", text: error.description)]
        }
    }
}

/// The certificate of the public listener, as the next start would use it.
package enum CertificateCheck {
    /// - Parameter now: seconds since 1970.
    package static func run(_ files: NodeConfiguration.TLSFiles, now: Int64) -> DataDirectoryCheck.Result {
        let check = "certificate"
        do { _ = try ServerTLS.context(files) } catch {
            return .init(verdict: .failed, check: check, text: "\(error)")
        }
        guard let leaf = try? NIOSSLCertificate.fromPEMFile(files.certificate).first else {
            return .init(verdict: .failed, check: check, text: "\(files.certificate) holds no certificate")
        }
        let (from, until) = (Int64(leaf.notValidBefore), Int64(leaf.notValidAfter))
        let days = (until - now) / 86_400
        let dates = "good from \(day(from)) until \(day(until))"
        if now >= until { return .init(verdict: .failed, check: check, text: "expired: \(dates); renew it") }
        if now < from {
            return .init(verdict: .failed, check: check, text: "not good yet: \(dates); is the clock right?")
        }
        let text = "\(dates), \(days) days left"
        return days < Limits.certificateWarningDays
            ? .init(verdict: .note, check: check, text: "\(text); renew it soon")
            : .init(verdict: .ok, check: check, text: text)
    }

    private static func day(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        guard gmtime_r(&time, &parts) != nil else { return "?" }
        let month = parts.tm_mon < 9 ? "0\(parts.tm_mon + 1)" : "\(parts.tm_mon + 1)"
        return "\(parts.tm_year + 1_900)-\(month)-\(parts.tm_mday < 10 ? "0" : "")\(parts.tm_mday)"
    }
}
