internal import Foundation

/// Files that hold secrets: mode 0600 from their first byte, replaced as a whole or not at all.
enum PrivateFile {
    static func write(_ text: String, to path: String) throws {
        let temporary = "\(path).\(UInt32.random(in: 0 ... .max)).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw CommandFailure("cannot write \(path): \(String(cString: strerror(errno)))") }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false)
        do {
            try handle.write(contentsOf: Data(text.utf8))
            try handle.synchronize()
            try handle.close()
            guard rename(temporary, path) == 0 else { throw CocoaError(.fileWriteUnknown) }
        } catch {
            unlink(temporary)
            throw CommandFailure("cannot write \(path): the disk may be full, or the directory not writable")
        }
    }
}
