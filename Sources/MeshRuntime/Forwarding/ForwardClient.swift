package import MeshCrypto
package import MeshExchange
package import MeshModel
package import MeshRouting
import MeshSessions
import MeshTransport
package import MeshWire
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

    package func isLinked(_ node: PublicKey) -> Bool { links.link(to: node) != nil }

    package func forward(
        _ request: WorkRequest, to place: ForwardPlace, attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle {
        if let link = links.link(to: place.host) { return open(request, to: place, attempt, receiver, over: link) }
        let pending = PendingForward()
        links.reach(place.host, on: receiver.eventLoop) { [self] link in
            pending.begin {
                guard let link else {
                    return Self.refuse(
                        receiver,
                        MeshError(
                            .nodeUnreachable, "the node that hosts this provider cannot be reached now",
                            retryAfterSeconds: 2))
                }
                return open(request, to: place, attempt, receiver, over: link)
            }
        }
        return pending
    }

    private func open(
        _ request: WorkRequest, to place: ForwardPlace, _ attempt: Int, _ receiver: any AnswerReceiver,
        over link: Link
    ) -> any AttemptHandle {
        let wall = SystemClock.wall
        guard let proof = proofs.proof(of: place.asker.principal.owner, wall: wall) else {
            return Self.refuse(
                receiver, MeshError(.internalError, "the key of this account's owner is missing on this node"))
        }
        let body = request.content.document(model: place.model).joined
        let path = ForwardPath(provider: place.provider.key, operation: request.content.operation).text
        let fields = ForwardFields(
            requestID: place.asker.requestID, attempt: attempt, destination: place.host, principal: proof,
            spend: "none",
            maxHops: Limits.forwardHops)
        var headers = ForwardSignature.sign(
            fields: fields, profile: request.upload == nil ? .whole : .upload, path: path,
            contentDigest: body.withUnsafeReadableBytes { Sodium.shared.sha256($0) },
            signer: signer, created: wall,
            nonce: hexText(Sodium.shared.randomBytes(12)))
        headers.append(("content-type", "application/json"))
        headers.append(ForwardAnswerEnd.request)
        headers.append(("aisbf-deadline-first", String(request.deadlines.firstContentMs)))
        headers.append(("aisbf-deadline-idle", String(request.deadlines.idleMs)))
        headers.append(("aisbf-deadline-total", String(request.deadlines.totalMs)))
        let upload = request.upload.map { RemoteUpload($0, fields: fields, signer: signer) }
        if upload != nil { headers.append(("aisbf-payload-length", String(body.readableBytes))) }
        let answer = RemoteAnswer(
            node: place.provider.nodeName(place.host), isChat: request.form != .bytes, receiver: receiver,
            upload: upload)
        let call = link.openForward(
            path: path, headers: headers, body: body, hasUpload: upload != nil, receiver: answer)
        upload?.attach(call)
        answer.attach(call)
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

private struct RemoteAttempt: AttemptHandle {
    let call: ForwardCall

    func cancel() { call.cancel() }
    func pause() { call.pauseReading() }
    func resume() { call.resumeReading() }
}
