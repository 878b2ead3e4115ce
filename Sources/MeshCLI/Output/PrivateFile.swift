internal import Foundation

/// Files that hold secrets: mode 0600 from their first byte, replaced as a whole or not at all.
enum PrivateFile {
    /// A file that was to be made and could not be (sysexits(3): EX_CANTCREAT).
    static let cannotCreate: Int32 = 73

    static func write(_ text: String, to path: String) throws {
        try PendingFile.replacing(path).commit(text)
    }
}

/// A file that does not exist yet, made before there is anything to put into it: what is shown only once is not asked
/// for until there is a place to keep it.
struct NewFile {
    let path: String
    private let handle: FileHandle

    /// - Throws: a failure when something is there already, which is left as it is.
    static func reserve(_ path: String) throws -> NewFile {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let message =
                errno == EEXIST
                ? "\(path) exists already and was left as it is; name another file, or leave out --out to print"
                : "cannot write \(path): \(String(cString: strerror(errno)))"
            throw CommandFailure(message, exitCode: PrivateFile.cannotCreate)
        }
        return NewFile(path: path, handle: FileHandle(fileDescriptor: descriptor, closeOnDealloc: false))
    }

    func commit(_ text: String) throws {
        do {
            try handle.write(contentsOf: Data(text.utf8))
            try handle.synchronize()
            try handle.close()
        } catch {
            abandon()
            throw CommandFailure("cannot write \(path): \(systemReason(error))", exitCode: PrivateFile.cannotCreate)
        }
    }

    /// There will be nothing to write.
    func abandon() {
        unlink(path)
        try? handle.close()
    }
}

/// New content for a file, written beside it and put into its place in one step.
struct PendingFile {
    private let path: String
    private let temporary: String
    private let handle: FileHandle

    /// - Parameter keepingModeOf: the file whose owner and mode the new one gets; else it is the caller's with 0600.
    static func replacing(_ path: String, keepingModeOf old: stat? = nil) throws -> PendingFile {
        let temporary = "\(path).\(UInt32.random(in: 0 ... .max)).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw CommandFailure(
                "cannot write \(path): \(String(cString: strerror(errno)))", exitCode: PrivateFile.cannotCreate)
        }
        if let old {
            // A service that reads the file as another user goes on reading it; where that cannot be, the mode is strict.
            if fchown(descriptor, old.st_uid, old.st_gid) == 0 { _ = fchmod(descriptor, old.st_mode & 0o770) }
        }
        return PendingFile(
            path: path, temporary: temporary, handle: FileHandle(fileDescriptor: descriptor, closeOnDealloc: false))
    }

    func commit(_ text: String) throws {
        do {
            try handle.write(contentsOf: Data(text.utf8))
            try handle.synchronize()
            try handle.close()
            guard rename(temporary, path) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        } catch {
            abandon()
            throw CommandFailure("cannot write \(path): \(systemReason(error))", exitCode: PrivateFile.cannotCreate)
        }
    }

    func abandon() {
        unlink(temporary)
        try? handle.close()
    }
}

/// What the system said, where it said anything.
private func systemReason(_ error: any Error) -> String {
    if let error = error as? POSIXError { return String(cString: strerror(error.code.rawValue)) }
    if let inner = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError, inner.domain == NSPOSIXErrorDomain {
        return String(cString: strerror(Int32(truncatingIfNeeded: inner.code)))
    }
    return "the disk may be full, or the directory not writable"
}
