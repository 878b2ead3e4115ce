package import MeshCrypto
package import MeshExchange
package import MeshModel
import MeshRouting
import MeshSessions
import MeshTransport
import MeshWire
import NIOCore
import Synchronization

/// The entry node's side: signs a request, sends it to the node that hosts the worker, and hands the answer on. Requests
/// that leave in one turn of an event loop share a signature where the hosts' links take that.
package final class ForwardClient: RemoteDispatch {
    private let links: NodeLinks
    private let departures = LoopBatch<Departure>(most: Limits.sharedSignatureMessages)
    private let open: ForwardOpening

    /// A request that leaves at the end of this turn.
    private struct Departure: Sendable {
        let request: WorkRequest
        let place: ForwardPlace
        let attempt: Int
        let receiver: any AnswerReceiver
        let link: Link
        let pending: PendingForward
    }

    package init(links: NodeLinks, signer: SigningKey, signers: Signers) {
        self.links = links
        open = ForwardOpening(signer: signer, signers: signers)
    }

    package func isLinked(_ node: PublicKey) -> Bool { links.link(to: node) != nil }

    package func forward(
        _ request: WorkRequest, to place: ForwardPlace, attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle {
        let pending = PendingForward()
        if let link = links.link(to: place.host, on: receiver.eventLoop) {
            guard link.sharesSignatures else { return open.alone(request, to: place, attempt, receiver, over: link) }
            departures.add(
                Departure(
                    request: request, place: place, attempt: attempt, receiver: receiver, link: link, pending: pending),
                on: receiver.eventLoop
            ) { [self] in depart($0) }
            return pending
        }
        links.reach(place.host, on: receiver.eventLoop) { [open] link in
            pending.begin {
                guard let link else {
                    return ForwardOpening.refuse(
                        receiver,
                        MeshError(
                            .nodeUnreachable, "the node that hosts this provider cannot be reached now",
                            retryAfterSeconds: 2))
                }
                return open.alone(request, to: place, attempt, receiver, over: link)
            }
        }
        return pending
    }

    private func depart(_ departures: [Departure]) {
        let wanted = departures.filter(\.pending.isWanted)
        let drafts = wanted.map { open.draft($0.request, to: $0.place, $0.attempt) }
        var signed = open.sign(drafts.compactMap { $0 })[...]
        for (departure, draft) in zip(wanted, drafts) {
            let headers = draft == nil ? nil : signed.popFirst()
            departure.pending.begin {
                guard let draft, let headers else { return ForwardOpening.refuseUnproven(departure.receiver) }
                return open.send(draft, headers, departure.receiver, over: departure.link)
            }
        }
    }
}

/// How one forward is put together, signed and sent.
private struct ForwardOpening: Sendable {
    /// All of a request but its signature.
    struct Draft: Sendable {
        let request: WorkRequest
        let unsigned: ForwardSignature.Unsigned
        let head: ForwardHead
        let body: ByteBuffer
        let node: String
        let hasKey: Bool
    }

    private let signer: SigningKey
    private let proofs: PrincipalProofs
    private let nonces = RandomPool()

    init(signer: SigningKey, signers: Signers) {
        self.signer = signer
        proofs = PrincipalProofs(signers: signers, entry: signer.publicKey)
    }

    /// With a signature of its own.
    func alone(
        _ request: WorkRequest, to place: ForwardPlace, _ attempt: Int, _ receiver: any AnswerReceiver, over link: Link
    ) -> any AttemptHandle {
        guard let draft = draft(request, to: place, attempt), let headers = sign([draft]).first else {
            return Self.refuseUnproven(receiver)
        }
        return send(draft, headers, receiver, over: link)
    }

    /// Nil where this node cannot prove for whom it asks.
    func draft(_ request: WorkRequest, to place: ForwardPlace, _ attempt: Int) -> Draft? {
        guard let proof = proofs.proof(of: place.asker.principal.owner, wall: SystemClock.wall) else { return nil }
        let body = request.content.document(model: place.model).joined
        let hasUpload = request.upload != nil
        return Draft(
            request: request,
            unsigned: ForwardSignature.Unsigned(
                fields: ForwardFields(
                    requestID: place.asker.requestID, attempt: attempt, destination: place.host, principal: proof,
                    spend: ForwardSpend.text(once: place.asker.once), maxHops: Limits.forwardHops),
                profile: hasUpload ? .upload : .whole,
                path: ForwardPath(provider: place.provider.key, operation: request.content.operation).text,
                contentDigest: body.withUnsafeReadableBytes { Sodium.shared.sha256($0) },
                nonce: hexText(nonces.take(12))),
            head: ForwardHead(deadlines: request.deadlines, payloadBytes: hasUpload ? body.readableBytes : nil),
            body: body, node: place.provider.nodeName(place.host), hasKey: place.asker.once != nil)
    }

    /// The headers of each.
    func sign(_ drafts: [Draft]) -> [[HeaderField]] {
        ForwardSignature.sign(together: drafts.map(\.unsigned), signer: signer, created: SystemClock.wall)
    }

    func send(
        _ draft: Draft, _ headers: [HeaderField], _ receiver: any AnswerReceiver, over link: Link
    ) -> any AttemptHandle {
        let upload = draft.request.upload.map { RemoteUpload($0, fields: draft.unsigned.fields, signer: signer) }
        let answer = RemoteAnswer(
            node: draft.node, isChat: draft.request.form != .bytes, hasKey: draft.hasKey, receiver: receiver,
            upload: upload)
        let call = link.openForward(
            path: draft.unsigned.path, headers: headers + draft.head.fields, body: draft.body,
            hasUpload: upload != nil, receiver: answer)
        upload?.attach(call)
        answer.attach(call)
        return RemoteAttempt(call: call)
    }

    static func refuseUnproven(_ receiver: any AnswerReceiver) -> any AttemptHandle {
        refuse(receiver, MeshError(.internalError, "the key of this account's owner is missing on this node"))
    }

    static func refuse(_ receiver: any AnswerReceiver, _ error: MeshError) -> any AttemptHandle {
        receiver.deliver([.fail(error)])
        return FinishedAttempt()
    }
}

private final class RemoteAttempt: AttemptHandle {
    let call: ForwardCall

    init(call: ForwardCall) {
        self.call = call
    }

    func cancel() { call.cancel() }
    func pause() { call.pauseReading() }
    func resume() { call.resumeReading() }
}
