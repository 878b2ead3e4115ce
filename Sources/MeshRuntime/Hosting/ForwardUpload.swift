import MeshCrypto
import MeshExchange
import MeshModel
import MeshTransport
import NIOCore

/// The hosting node's side of a streamed upload: asks the entry node for it when the worker has room, holds it to
/// the request it belongs to, and lets the worker know that it is whole only when the entry node has signed for every
/// byte. Lives on the link's event loop.
final class ForwardUpload: ForwardBodyReceiver {
    private struct State {
        var check: UploadCheck
        var digest = Sodium.shared.sha256Stream()
        /// Nil when the request is over. It knows this object.
        var flow: UploadFlow?
        /// What becomes of the request when the upload is not what it should be.
        var failed: ((MeshError) -> Void)?
    }

    private let verified: VerifiedForward
    private let state: NIOLoopBoundBox<State>

    /// On the link's event loop.
    init(_ forward: IncomingForward, verified: VerifiedForward, check: UploadCheck) {
        self.verified = verified
        state = NIOLoopBoundBox(State(check: check), eventLoop: forward.eventLoop)
        state.value.flow = UploadFlow(
            eventLoop: forward.eventLoop, begin: { [self] in forward.continueBody(self) },
            setReading: { forward.setReading($0) })
    }

    /// What of the upload waits for a worker.
    var flow: UploadFlow? { state.value.flow }

    func onFailure(_ body: @escaping (MeshError) -> Void) { state.value.failed = body }

    func requestBody(_ bytes: ByteBuffer) {
        guard let flow = state.value.flow else { return }
        bytes.withUnsafeReadableBytes { state.value.digest.update($0) }
        do throws(MeshError) { try state.value.check.pass(bytes) } catch { return fail(error) }
        flow.arrived(bytes)
    }

    func bodyEnded(trailers: [HeaderField]) {
        guard let flow = state.value.flow else { return }
        do throws(MeshError) { try state.value.check.end() } catch { return fail(error) }
        // Once per upload of more than a megabyte: not worth another thread.
        guard
            UploadSignature.holds(
                trailers: trailers, contentDigest: state.value.digest.digest(), fields: verified.fields,
                signer: verified.signer)
        else { return fail(MeshError(.forwardRefused, "the entry node did not sign for the upload")) }
        flow.ended()
    }

    /// The request is over.
    func close() {
        state.value.failed = nil
        let flow = state.value.flow
        state.value.flow = nil
        flow?.discard()
    }

    private func fail(_ error: MeshError) {
        let failed = state.value.failed
        close()
        failed?(error)
    }
}
