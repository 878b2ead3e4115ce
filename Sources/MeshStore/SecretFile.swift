import Glibc
import MeshCrypto
import MeshModel

/// Small files that must be whole or absent, and readable by their owner only.
enum SecretFile {
    /// Unfinished files carry this prefix until they are renamed; a crash leaves one behind, and the next start
    /// removes it.
    static let unfinishedPrefix = ".unfinished-"

    /// Writes `bytes` to `path` (mode 0600): a new file beside it, fsync, rename, fsync of the directory. A reader sees
    /// the old content or the new, whatever happens in between.
    static func write(_ bytes: [UInt8], to path: String) throws(StoreError) {
        let (directory, name) = split(path)
        let unfinished = "\(directory)/\(unfinishedPrefix)\(name)-\(hexText(Sodium.shared.randomBytes(6)))"
        let file = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure(path) }
        var failed = writeAll(bytes, to: file, path)
        if failed == nil && fsync(file) != 0 { failed = failure(path) }
        if close(file) != 0 && failed == nil { failed = failure(path) }
        if failed == nil && rename(unfinished, path) != 0 { failed = failure(path) }
        if let failed {
            _ = unlink(unfinished)
            throw failed
        }
        try synchronizeDirectory(directory)
    }

    /// The content of a secret file, nil when there is none. Refuses files that group or others may read, that are no
    /// plain files, or that are longer than `Limits.keyFileBytes`.
    static func read(_ path: String) throws(StoreError) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw .unusable(path: path, reason: lastErrorText())
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw .unusable(path: path, reason: lastErrorText()) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .unusable(path: path, reason: "not a plain file") }
        guard status.st_mode & 0o077 == 0 else { throw .readableByOthers(path: path) }
        guard status.st_size <= Limits.keyFileBytes else {
            throw .damagedKey(path: path, reason: "it is longer than any key file")
        }
        return try readAll(file, path: path)
    }

    /// Removes what a crash left half written in `directory`. Only for the holder of the directory's lock.
    static func removeUnfinished(in directory: String) {
        for name in names(in: directory) where name.hasPrefix(unfinishedPrefix) { _ = unlink("\(directory)/\(name)") }
    }

    /// What lies in `directory`, in order; nothing when it cannot be read.
    static func names(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names.sorted()
    }

    /// What the last call's error means for `path`.
    private static func failure(_ path: String) -> StoreError {
        errno == ENOSPC || errno == EDQUOT ? .full(path: path) : .unusable(path: path, reason: lastErrorText())
    }

    static func lastErrorText() -> String { String(cString: strerror(errno)) }

    static func synchronizeDirectory(_ directory: String) throws(StoreError) {
        let file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard file >= 0 else { throw .unusable(path: directory, reason: lastErrorText()) }
        defer { close(file) }
        guard fsync(file) == 0 else { throw .unusable(path: directory, reason: lastErrorText()) }
    }

    private static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    /// Why it failed, nil when all was written.
    private static func writeAll(_ bytes: [UInt8], to file: Int32, _ path: String) -> StoreError? {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return failure(path) }
            written += count
        }
        return nil
    }

    private static func readAll(_ file: Int32, path: String) throws(StoreError) -> [UInt8] {
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: Limits.keyFileBytes)
        // A file that grows while it is read still ends here.
        while content.count <= Limits.keyFileBytes {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .unusable(path: path, reason: lastErrorText()) }
            if count == 0 { break }
            content += chunk.prefix(count)
        }
        return content
    }
}
