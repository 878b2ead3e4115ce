package import MeshCrypto
package import MeshModel
package import MeshRouting
import MeshSessions
import MeshTransport
import MeshWire
import NIOCore
import Synchronization

/// The entry node's side: signs a request, sends it to the node that hosts the worker, and hands the answer on.
package final class ForwardClient: RemoteDispatch {
    private let links: NodeLinks
    private let signer: SigningKey
    private let proofs: PrincipalProofs

    package init(links: NodeLinks, signer: SigningKey, signers: Signers) {
        self.links = links
        self.signer = signer
        proofs = PrincipalProofs(signers: signers, entry: signer.publicKey)
    }

    package func isReachable(_ node: PublicKey) -> Bool { links.link(to: node) != nil }

    package func forward(
        _ request: WorkRequest, to node: PublicKey, provider: RecordKey, principal: Principal,
        requestID: String, attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle {
        let wall = SystemClock.wall
        guard let link = links.link(to: node) else {
            return Self.refuse(
                receiver,
                MeshError(
                    .nodeUnreachable, "the node that hosts this provider cannot be reached now", retryAfterSeconds: 2))
        }
        guard let proof = proofs.proof(of: principal.owner, wall: wall) else {
            return Self.refuse(
                receiver, MeshError(.internalError, "the key of this account's owner is missing on this node"))
        }
        let path = ForwardPath(provider: provider, operation: request.operation).text
        let fields = ForwardFields(
            requestID: requestID, attempt: attempt, destination: node, principal: proof, spend: "none",
            maxHops: Limits.forwardHops)
        var headers = ForwardSignature.sign(
            fields: fields, profile: request.upload == nil ? .whole : .upload, path: path,
            contentDigest: request.body.withUnsafeReadableBytes { Sodium.shared.sha256($0) },
            signer: signer, created: wall,
            nonce: hexText(Sodium.shared.randomBytes(12)))
        headers.append(("content-type", "application/json"))
        headers.append(("aisbf-deadline-first", String(request.deadlines.firstContentMs)))
        headers.append(("aisbf-deadline-idle", String(request.deadlines.idleMs)))
        headers.append(("aisbf-deadline-total", String(request.deadlines.totalMs)))
        let upload = request.upload.map { RemoteUpload($0, fields: fields, signer: signer) }
        if upload != nil { headers.append(("aisbf-payload-length", String(request.body.readableBytes))) }
        let answer = RemoteAnswer(receiver: receiver, upload: upload)
        let call = link.openForward(
            path: path, headers: headers, body: request.body, hasUpload: upload != nil, receiver: answer)
        upload?.attach(call)
        return RemoteAttempt(call: call)
    }

    private static func refuse(_ receiver: any AnswerReceiver, _ error: MeshError) -> any AttemptHandle {
        receiver.deliver([.fail(error)])
        return FinishedAttempt()
    }
}

/// `/mesh/v1/forward/<provider record key>/<operation>`: inside the signature, as the path is.
package struct ForwardPath: Hashable, Sendable {
    package var provider: RecordKey
    package var operation: WorkerOperation

    package init(provider: RecordKey, operation: WorkerOperation) {
        self.provider = provider
        self.operation = operation
    }

    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0].isEmpty, parts[1...3] == ["mesh", "v1", "forward"],
            let key = bytesOfHex(parts[4]).flatMap({ RecordKey($0) }),
            let operation = WorkerOperation(rawValue: String(parts[5]))
        else { return nil }
        self.init(provider: key, operation: operation)
    }

    package var text: String { "/mesh/v1/forward/\(provider)/\(operation.rawValue)" }
}

struct FinishedAttempt: AttemptHandle {
    func cancel() {}
    func pause() {}
    func resume() {}
}

private struct RemoteAttempt: AttemptHandle {
    let call: ForwardCall

    func cancel() { call.cancel() }
    func pause() { call.pauseReading() }
    func resume() { call.resumeReading() }
}

/// Turns the hosting node's HTTP answer into answer events. Errors of that node carry `aisbf-error`; anything else
/// with a status is the worker's own answer and passes as it is.
private final class RemoteAnswer: ForwardReceiver {
    private struct State {
        var error: (code: ErrorCode, status: Int, retryAfter: Int?)?
        var errorBody = ByteBuffer()
        var isStarted = false
    }

    private let receiver: any AnswerReceiver
    private let upload: RemoteUpload?
    private let state = Mutex(State())

    init(receiver: any AnswerReceiver, upload: RemoteUpload?) {
        self.receiver = receiver
        self.upload = upload
    }

    func forwardContinues() { upload?.begin() }

    func forwardHead(status: Int, headers: [(String, String)]) {
        func value(_ name: String) -> String? { headers.first { $0.0 == name }?.1 }
        let contentType = value("content-type").flatMap { HeaderRule.isValue($0) ? $0 : nil } ?? "application/json"
        if let code = value("aisbf-error") {
            let retryAfter = value("retry-after").flatMap { Int($0) }.map { min(max($0, 0), 3_600) }
            state.withLock { $0.error = (ErrorCode(rawValue: code) ?? .workerError, status, retryAfter) }
            return
        }
        guard WorkerAnswer.isAnswerStatus(Int64(status)) else { return }
        var head = AnswerHead(status: status, contentType: contentType)
        head.length = value("content-length").flatMap { Int64($0) }.flatMap {
            (0...Limits.answerBytes).contains($0) ? Int($0) : nil
        }
        head.fields = AnswerFieldRule.passing(headers)
        if let mark = value("aisbf-worker"), WorkerMark.isMark(mark) {
            head.fields.append(AnswerField("aisbf-worker", mark))
        }
        state.withLock { $0.isStarted = true }
        receiver.deliver([.head(head)])
    }

    func forwardBody(_ bytes: ByteBuffer) {
        let isStarted = state.withLock { state in
            if state.error != nil, state.errorBody.readableBytes + bytes.readableBytes <= 16_384 {
                state.errorBody.writeImmutableBuffer(bytes)
            }
            return state.isStarted
        }
        if isStarted { receiver.deliver([.body(bytes)]) }
    }

    func forwardEnded(_ failure: ForwardFailure?, trailers: [(String, String)]) {
        let state = state.withLock { $0 }
        if let error = state.error { return receiver.deliver([.fail(Self.meshError(error, state.errorBody))]) }
        guard let failure else {
            return receiver.deliver(
                state.isStarted
                    ? [.end] : [.fail(MeshError(.workerBadAnswer, "the hosting node answered without a status"))])
        }
        let error =
            switch failure {
            case .refusedStream, .goaway, .notEstablished:
                MeshError(
                    .nodeUnreachable, "the node that hosts this provider takes no requests now", retryAfterSeconds: 2)
            case .timeout: MeshError(.workerTimeout, "the node that hosts this provider did not answer in time")
            case .linkLost: MeshError(.workerLost, "the node that hosts this provider was lost", retryAfterSeconds: 2)
            case .reset, .cancelled, .bodyTooLarge, .malformed:
                MeshError(.workerLost, "the node that hosts this provider broke off the answer", retryAfterSeconds: 2)
            }
        receiver.deliver([
            .fail(state.isStarted ? MeshError(.streamInterrupted, error.message, retryAfterSeconds: 2) : error)
        ])
    }

    private static func meshError(
        _ error: (code: ErrorCode, status: Int, retryAfter: Int?), _ body: ByteBuffer
    ) -> MeshError {
        let document = try? JSONValue.parse(Array(body.readableBytesView))
        let message = document?["error"]?["message"]?.text ?? "the hosting node refused the request"
        // A misdirected or refused forward is this mesh's affair: for the buyer another host may do.
        switch error.code {
        case .misdirected, .forwardRefused:
            return MeshError(.nodeUnreachable, "the hosting node refused the request: \(message)", retryAfterSeconds: 2)
        default:
            return MeshError(
                error.code, message, parameter: document?["error"]?["param"]?.text, retryAfterSeconds: error.retryAfter)
        }
    }
}
