internal import Foundation

/// The file of this very program.
enum OwnExecutable {
    /// Nil where nobody tells.
    static var path: String? { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") }
}
