import Glibc
package import MeshCrypto
package import MeshModel
import Synchronization

/// Where a node keeps what is its own. Knowing the paths needs no lock: a command that only wants to find the admin
/// socket of a running node uses this.
package struct DataDirectoryLayout: Hashable, Sendable {
    package let root: String

    /// A trailing slash is dropped.
    package init(root: String) {
        self.root = root.count > 1 && root.hasSuffix("/") ? String(root.dropLast()) : root
    }

    package var lock: String { "\(root)/lock" }
    package var keys: String { "\(root)/keys" }
    package var owners: String { "\(root)/keys/owners" }
    /// The keys of upstreams that this node asks itself.
    package var upstreams: String { "\(root)/keys/upstreams" }
    package var nodeKey: String { "\(root)/keys/node.key" }
    package var operatorKey: String { "\(root)/keys/operator.key" }
    /// Certificate and private key of the link listener.
    package var linkCertificate: String { "\(root)/link.pem" }
    package var database: String { "\(root)/mesh.sqlite" }
    /// The Unix socket a running node answers its own operator on.
    package var adminSocket: String { "\(root)/admin.sock" }

    /// The file of a custodial owner key.
    /// - Throws: `StoreError.invalid` for a name that breaks `NameRule` or is reserved: nothing else keeps it inside
    ///   the directory.
    package func ownerKey(_ username: String) throws(StoreError) -> String {
        guard NameRule.isValid(username), username != "global" else {
            throw .invalid("'\(username)' cannot be a username: use \(NameRule.text), and not 'global'")
        }
        return "\(owners)/\(username).key"
    }

    /// The file of the key of a provider's upstream.
    /// - Throws: `StoreError.invalid` for names that break `NameRule`: nothing else keeps it inside the directory.
    package func upstreamKey(_ scope: OwnerScope, _ providerID: String) throws(StoreError) -> String {
        guard NameRule.isValid(scope.username), NameRule.isValid(providerID) else {
            throw .invalid("'\(providerID)' cannot be a provider id: use \(NameRule.text)")
        }
        // No name has a tilde in it.
        return "\(upstreams)/\(scope.username)~\(providerID).key"
    }

    /// The process that holds the lock as it wrote it down; nil when nobody did. For messages only.
    package var lockHolder: Int32? {
        guard let content = try? SecretFile.read(lock) else { return nil }
        return Int32(String(decoding: content.prefix { $0 != 0x0A }, as: UTF8.self))
    }
}

/// A node's data directory, opened and locked for this process until it is released, or the value goes away.
package final class DataDirectory: Sendable {
    package let layout: DataDirectoryLayout
    private let lockFile: Mutex<Int32?>

    private init(layout: DataDirectoryLayout, lockFile: Int32) {
        self.layout = layout
        self.lockFile = Mutex(lockFile)
    }

    deinit { release() }

    /// Gives up the lock. A stopped node calls it: parts of it may be held on to for a moment by what still closes.
    package func release() {
        let file = lockFile.withLock { file in
            defer { file = nil }
            return file
        }
        if let file { close(file) }
    }

    /// Creates the directory where it is missing (mode 0700, with its parents), takes the lock and removes what a
    /// crash left half written.
    /// - Throws: `StoreError.unusable`, `.inUse`, `.readableByOthers`.
    package static func open(_ root: String) throws(StoreError) -> DataDirectory {
        let layout = DataDirectoryLayout(root: root)
        try createDirectories(layout.root)
        try requirePrivate(layout.root)
        // Before the key directories: the lock decides who may touch them.
        let lockFile = try takeLock(layout)
        let directory = DataDirectory(layout: layout, lockFile: lockFile)
        for path in [layout.keys, layout.owners, layout.upstreams] {
            try createDirectory(path)
            try requirePrivate(path)
            SecretFile.removeUnfinished(in: path)
        }
        SecretFile.removeUnfinished(in: layout.root)
        return directory
    }

    /// The custodial key of a user, nil when this node has none.
    package func ownerKey(_ username: String) throws(StoreError) -> SigningKey? {
        try KeyFile.owner.load(try layout.ownerKey(username))
    }

    /// Keeps `key` as the custodial key of a user; another key under the name is a conflict, never overwritten.
    package func saveOwnerKey(_ key: SigningKey, username: String) throws(StoreError) {
        let path = try layout.ownerKey(username)
        if let present = try KeyFile.owner.load(path) {
            guard present.publicKey == key.publicKey else {
                throw .conflict("user '\(username)' has another owner key already; it was kept")
            }
            return
        }
        try KeyFile.owner.save(key, to: path)
    }

    /// The custodial key of a user, made on first use.
    package func ownerKeyCreatingIfMissing(_ username: String) throws(StoreError) -> SigningKey {
        if let key = try ownerKey(username) { return key }
        let key = SigningKey.random()
        try saveOwnerKey(key, username: username)
        return key
    }

    /// Puts the key file of a removed user aside, under a name that no user has. What it signed stays true.
    package func retireOwnerKey(_ username: String, at time: Timestamp) throws(StoreError) {
        let path = try layout.ownerKey(username)
        guard rename(path, "\(path).removed-\(time.milliseconds)") == 0 || errno == ENOENT else {
            throw .unusable(path: path, reason: SecretFile.lastErrorText())
        }
        try SecretFile.synchronizeDirectory(layout.owners)
    }

    /// What a provider's upstream is asked with, nil when this node has nothing of the kind.
    package func upstreamSecrets(_ scope: OwnerScope, _ providerID: String) throws(StoreError) -> UpstreamSecrets? {
        try UpstreamKeyFile.load(try layout.upstreamKey(scope, providerID))
    }

    /// Keeps `secrets` in the place of those before; nil: none are kept any more.
    package func setUpstreamSecrets(
        _ secrets: UpstreamSecrets?, _ scope: OwnerScope, _ providerID: String
    ) throws(StoreError) {
        let path = try layout.upstreamKey(scope, providerID)
        if let secrets { return try UpstreamKeyFile.save(secrets, to: path) }
        guard unlink(path) == 0 || errno == ENOENT else {
            throw .unusable(path: path, reason: SecretFile.lastErrorText())
        }
        try SecretFile.synchronizeDirectory(layout.upstreams)
    }

    /// Why nothing can be written to the directory now; nil when it can. Leaves nothing behind: what a crash leaves is
    /// removed at the next start.
    package static func writeProblem(_ layout: DataDirectoryLayout) -> String? {
        let path = "\(layout.root)/\(SecretFile.unfinishedPrefix)probe-\(getpid())"
        defer { _ = unlink(path) }
        do throws(StoreError) {
            try SecretFile.write([UInt8](repeating: 0, count: Limits.diskProbeBytes), to: path)
            return nil
        } catch {
            if case .unusable(_, let reason) = error { return reason }
            return error.description
        }
    }

    private static func takeLock(_ layout: DataDirectoryLayout) throws(StoreError) -> Int32 {
        let file = Glibc.open(layout.lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .unusable(path: layout.root, reason: SecretFile.lastErrorText()) }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let taken = errno == EWOULDBLOCK
            let reason = SecretFile.lastErrorText()
            close(file)
            throw taken
                ? .inUse(path: layout.root, pid: layout.lockHolder) : .unusable(path: layout.lock, reason: reason)
        }
        // For messages only: the lock holds without it, also on a disk that is full.
        let text = Array("\(getpid())\n".utf8)
        if ftruncate(file, 0) == 0 { _ = pwrite(file, text, text.count, 0) }
        return file
    }

    private static func createDirectories(_ path: String) throws(StoreError) {
        guard !path.isEmpty else { throw .unusable(path: "''", reason: "the data directory has no name") }
        var status = stat()
        if stat(path, &status) != 0, errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try createDirectories(String(path[..<slash]))
        }
        try createDirectory(path)
    }

    private static func createDirectory(_ path: String) throws(StoreError) {
        if mkdir(path, 0o700) == 0 { return }
        let (code, reason) = (errno, SecretFile.lastErrorText())
        var status = stat()
        let isDirectory = stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        if isDirectory { return }
        throw .unusable(path: path, reason: code == EEXIST ? "it is a file, not a directory" : reason)
    }

    /// An existing directory may be older than this program: one that others can write to could have its keys
    /// exchanged, so it is refused; read permission is taken away.
    private static func requirePrivate(_ path: String) throws(StoreError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw .unusable(path: path, reason: SecretFile.lastErrorText()) }
        guard status.st_mode & 0o022 == 0 else {
            throw .unusable(
                path: path, reason: "other users can write to it; run 'chmod 700 \(path)' after a look inside")
        }
        if status.st_mode & 0o055 != 0, chmod(path, 0o700) != 0 {
            throw .unusable(path: path, reason: SecretFile.lastErrorText())
        }
        guard access(path, R_OK | W_OK | X_OK) == 0 else {
            throw .unusable(path: path, reason: SecretFile.lastErrorText())
        }
    }
}
