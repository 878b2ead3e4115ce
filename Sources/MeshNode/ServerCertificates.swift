import Foundation
import MeshModel
import MeshRuntime
import MeshTransport
import NIOSSL
import Synchronization

/// The public listener's certificate and key: read again when they are told to, or when their files change. A pair that
/// cannot be used is refused, and the one in use goes on.
final class ServerCertificates: Sendable {
    private struct State {
        var files: NodeConfiguration.TLSFiles
        var context: NIOSSLContext
        var facts: CertificateFacts?
        var loadedAt: Timestamp
        var stamp: [String]
        /// Why the files that are there now are not in use.
        var problem: String?
    }

    private let state: Mutex<State>

    /// - Throws: `NodeStartError` in words.
    init(_ files: NodeConfiguration.TLSFiles) throws {
        state = Mutex(try Self.loaded(files))
    }

    /// For the next connection.
    var context: NIOSSLContext { state.withLock { $0.context } }

    /// Reads `files`, or the same ones again.
    func load(_ files: NodeConfiguration.TLSFiles? = nil) throws {
        let files = files ?? state.withLock { $0.files }
        do {
            let loaded = try Self.loaded(files)
            state.withLock { $0 = loaded }
        } catch {
            let stamp = Self.stamp(files)
            state.withLock { state in
                state.problem = "\(error)"
                // Said once for each change.
                state.stamp = stamp
            }
            throw error
        }
    }

    /// Whether a file changed since it was last looked at.
    var hasChanged: Bool {
        let (files, stamp) = state.withLock { ($0.files, $0.stamp) }
        return Self.stamp(files) != stamp
    }

    /// For the operator.
    var view: CertificateView {
        let state = state.withLock { $0 }
        return CertificateView(
            use: "api", file: state.files.certificate, names: state.facts?.names ?? [],
            notBefore: state.facts?.notBefore, notAfter: state.facts?.notAfter, loadedAt: state.loadedAt,
            problem: state.problem)
    }

    private static func loaded(_ files: NodeConfiguration.TLSFiles) throws -> State {
        // Before they are read: a change in between is noticed the next time.
        let stamp = stamp(files)
        return State(
            files: files, context: try ServerTLS.context(files), facts: CertificateFacts(pemFile: files.certificate),
            loadedAt: SystemClock.wall, stamp: stamp)
    }

    private static func stamp(_ files: NodeConfiguration.TLSFiles) -> [String] {
        [files.certificate, files.key].map { path in
            // Through links, as certificate tools move them.
            let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
            let attributes = try? FileManager.default.attributesOfItem(atPath: real)
            let changed = (attributes?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
            return "\(real) \(changed) \((attributes?[.size] as? NSNumber)?.int64Value ?? -1)"
        }
    }
}
