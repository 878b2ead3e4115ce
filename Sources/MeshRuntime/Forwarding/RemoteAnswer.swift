import MeshExchange
import MeshModel
import MeshRouting
import MeshSessions
import MeshTransport
import MeshWire
import NIOCore
import Synchronization

/// Turns the hosting node's HTTP answer into answer events. Errors of that node carry `aisbf-error`; anything else
/// with a status is said to be its worker's own answer.
///
/// Nothing of it is taken at its word: codes, words, headers, type and length pass as far as a hosting node may rightly
/// set them.
final class RemoteAnswer: ForwardReceiver {
    private struct State {
        var error: HostError?
        var errorBody = ByteBuffer()
        var isStarted = false
        var isStream = false
        /// The answer was refused here: what still comes of it is nobody's.
        var isRefused = false
        /// Bytes still to come where the head told the length: it goes to the buyer as `content-length`, and one byte
        /// more would be read as the beginning of the next answer on that connection.
        var owed: Int?
        var call: ForwardCall?
    }

    private struct HostError: Sendable {
        var code: ErrorCode
        var retryAfterSeconds: Int?
        var cause: FailureCause?
    }

    private let calledNode: String
    /// Its name for the words of a failure.
    private var node: String { ForeignWords.cleaned(calledNode, limit: 64) }
    private let isChat: Bool
    private let hasKey: Bool
    private let receiver: any AnswerReceiver
    private let upload: RemoteUpload?
    private let state = Mutex(State())

    /// - Parameters:
    ///   - node: what the hosting node is called.
    ///   - hasKey: whether the request has an idempotency key.
    init(node: String, isChat: Bool, hasKey: Bool, receiver: any AnswerReceiver, upload: RemoteUpload?) {
        calledNode = node
        self.isChat = isChat
        self.hasKey = hasKey
        self.receiver = receiver
        self.upload = upload
    }

    func attach(_ call: ForwardCall) {
        let isRefused = state.withLock { state in
            state.call = call
            return state.isRefused
        }
        if isRefused { call.cancel() }
    }

    func forwardContinues() { upload?.begin() }

    func forwardWaits() { receiver.deliver([.pending]) }

    func forwardHead(status: Int, headers: [HeaderField]) {
        switch ForwardAnswerHead.read(status: status, fields: headers) {
        case nil: refuse("it answered with a status that is none")
        case .failure(let code, _, let seconds, let cause):
            let error = HostError(
                code: ErrorCode(ofHost: code, hasUpload: upload != nil, hasKey: hasKey), retryAfterSeconds: seconds,
                cause: cause)
            state.withLock { $0.error = error }
        case .answer(var head, let worker):
            // Of a chat nothing is read that a browser would run.
            if isChat, head.status < 400, head.isPage { return refuse("it answered with a web page") }
            if let worker, WorkerMark.isMark(worker) { head.fields.append(HeaderField("aisbf-worker", worker)) }
            let (length, isStream) = (head.length, head.isEventStream && head.status < 400)
            state.withLock {
                $0.isStarted = true
                $0.isStream = isStream
                $0.owed = length
            }
            receiver.deliver([.head(head)])
        }
    }

    func forwardBody(_ bytes: ByteBuffer) {
        let count = bytes.readableBytes
        enum Step {
            case drop
            case pass
            case refuse
        }
        let step = state.withLock { state -> Step in
            if state.error != nil, state.errorBody.readableBytes + count <= Limits.hostErrorBytes {
                state.errorBody.writeImmutableBuffer(bytes)
            }
            guard state.isStarted, !state.isRefused else { return .drop }
            guard let owed = state.owed else { return .pass }
            state.owed = owed - min(count, owed)
            return count <= owed ? .pass : .refuse
        }
        switch step {
        case .drop: break
        case .pass: receiver.deliver([.bytes(bytes)])
        case .refuse: refuse("its answer is longer than it said")
        }
    }

    func forwardEnded(_ failure: ForwardFailure?, trailers: [HeaderField]) {
        let state = state.withLock { state in
            // They know each other through this.
            defer { state.call = nil }
            return state
        }
        if state.isRefused { return }
        if let error = state.error { return receiver.deliver([.fail(meshError(error, state.errorBody))]) }
        guard let failure else {
            guard state.isStarted else { return refuse("it answered without a status") }
            return wholeArrived(state, trailers)
        }
        let error = broken(failure)
        receiver.deliver([
            .fail(state.isStarted ? MeshError(.streamInterrupted, error.message, retryAfterSeconds: 2) : error)
        ])
    }

    /// The stream ended as it should. Whether the answer did, the trailers say; of a node that sends none the end of a
    /// stream of events stands in the stream.
    private func wholeArrived(_ state: State, _ trailers: [HeaderField]) {
        switch ForwardAnswerEnd(trailers: trailers) {
        case .failed(let code, let words):
            let said = ForeignWords.cleaned(words)
            receiver.deliver([
                .fail(
                    MeshError(
                        ErrorCode(ofHostInMidAnswer: code),
                        said.isEmpty ? "node \(node) broke off the answer" : "node \(node) says: \(said)"))
            ])
        case .complete(let totals):
            if let owed = state.owed, owed > 0 { return refuse("its answer is shorter than it said") }
            receiver.deliver([.end(totals)])
        case nil:
            if let owed = state.owed, owed > 0 { return refuse("its answer is shorter than it said") }
            var totals = AnswerTotals()
            totals.isInBody = state.isStream
            receiver.deliver([.end(totals)])
        }
    }

    private func broken(_ failure: ForwardFailure) -> MeshError {
        switch failure {
        case .refusedStream, .goaway, .notEstablished:
            MeshError(.nodeUnreachable, "node \(node) takes no requests now", retryAfterSeconds: 2)
        case .headTooLarge:
            MeshError(
                .invalidRequest,
                "the path and what goes with it are too long to be forwarded to node \(node): at most "
                    + "\(Limits.linkHeaderBytes) bytes")
        case .timeout: MeshError(.workerTimeout, "node \(node) did not answer in time")
        case .linkLost: MeshError(.workerLost, "node \(node) was lost", retryAfterSeconds: 2)
        case .reset, .cancelled, .bodyTooLarge, .malformed:
            MeshError(.workerLost, "node \(node) broke off the answer", retryAfterSeconds: 2)
        }
    }

    /// The answer is none that a buyer may get.
    private func refuse(_ words: String) {
        let (isStarted, call) = state.withLock { state in
            state.isRefused = true
            return (state.isStarted, state.call)
        }
        let code = isStarted ? ErrorCode.streamInterrupted : .nodeError
        receiver.deliver([.fail(MeshError(code, "the answer of node \(node) cannot be passed on: \(words)"))])
        call?.cancel()
    }

    private func meshError(_ error: HostError, _ body: ByteBuffer) -> MeshError {
        let said = (try? JSONValue.parse(Array(body.readableBytesView)))?["error"]
        let words = ForeignWords.cleaned(said?["message"]?.text ?? "")
        return MeshError(
            error.code, words.isEmpty ? "node \(node) refused the request" : "node \(node) says: \(words)",
            parameter: said?["param"]?.text == "model" ? "model" : nil, retryAfterSeconds: error.retryAfterSeconds,
            // Of its seller's, and only where the failure is its seller's.
            cause: error.code == .workerError ? error.cause : nil)
    }
}
