import MeshCrypto
import MeshExchange
import MeshModel
import MeshTransport
import NIOCore
import Synchronization

/// The entry node's side of a streamed upload: passes the buyer's bytes to the hosting node as fast as the link takes
/// them, and signs for them at the end.
final class RemoteUpload: UploadSink {
    private struct State {
        var call: ForwardCall?
        var isWanted = false
        var hasBegun = false
    }

    private let source: any UploadSource
    private let fields: ForwardFields
    private let signer: SigningKey
    private let state = Mutex(State())
    private let digest = Mutex(Sodium.shared.sha256Stream())

    init(_ source: any UploadSource, fields: ForwardFields, signer: SigningKey) {
        self.source = source
        self.fields = fields
        self.signer = signer
    }

    func attach(_ call: ForwardCall) {
        state.withLock { $0.call = call }
        beginIfReady()
    }

    /// The hosting node's worker has room.
    func begin() {
        state.withLock { $0.isWanted = true }
        beginIfReady()
    }

    private func beginIfReady() {
        let begins = state.withLock { state in
            guard state.isWanted, state.call != nil, !state.hasBegun else { return false }
            state.hasBegun = true
            return true
        }
        if begins { source.grant(Limits.uploadWindowBytes, to: self) }
    }

    func uploadArrived(_ bytes: ByteBuffer) {
        digest.withLock { digest in bytes.withUnsafeReadableBytes { digest.update($0) } }
        let count = bytes.readableBytes
        // What the link's stream cannot take waits there, within this window.
        state.withLock { $0.call }?.write(bytes) { [self] in source.grant(count, to: self) }
    }

    func uploadEnded() {
        let trailers = UploadSignature.sign(
            contentDigest: digest.withLock { $0.digest() }, fields: fields, signer: signer, created: SystemClock.wall)
        let call = state.withLock { state in
            // They know each other through this.
            defer { state.call = nil }
            return state.call
        }
        call?.end(trailers: trailers)
    }
}
