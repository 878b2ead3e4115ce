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
        if let link = links.link(to: place.host, on: receiver.eventLoop) {
            return open(request, to: place, attempt, receiver, over: link)
        }
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
            spend: ForwardSpend.text(once: place.asker.once),
            maxHops: Limits.forwardHops)
        let upload = request.upload.map { RemoteUpload($0, fields: fields, signer: signer) }
        let head = ForwardHead(
            deadlines: request.deadlines, payloadBytes: upload == nil ? nil : body.readableBytes)
        let headers =
            ForwardSignature.sign(
                fields: fields, profile: upload == nil ? .whole : .upload, path: path,
                contentDigest: body.withUnsafeReadableBytes { Sodium.shared.sha256($0) },
                signer: signer, created: wall,
                nonce: hexText(Sodium.shared.randomBytes(12))) + head.fields
        let answer = RemoteAnswer(
            node: place.provider.nodeName(place.host), isChat: request.form != .bytes, hasKey: place.asker.once != nil,
            receiver: receiver, upload: upload)
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

private struct RemoteAttempt: AttemptHandle {
    let call: ForwardCall

    func cancel() { call.cancel() }
    func pause() { call.pauseReading() }
    func resume() { call.resumeReading() }
}
