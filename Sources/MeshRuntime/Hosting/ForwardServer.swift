import MeshAccounting
import MeshCrypto
import MeshExchange
package import MeshModel
import MeshRouting
import MeshSessions
package import MeshTransport
import MeshWire
import Metrics
import NIOCore
import NIOPosix
import Synchronization

/// The hosting node's side: checks everything again that the entry node checked, then drives its own worker. It
/// trusts nothing because of who sent it, and it never passes a request on.
package final class ForwardServer: Sendable {
    private let node: PublicKey
    private let catalog: CatalogHolder
    private let dispatcher: Dispatcher
    private let proofs: PrincipalProofs
    private let replays = ReplayGuard()
    private let signatures = SharedSignatureChecks()
    private let distrusted = Mutex(DistrustedPeers())
    /// Its plan bounds what is done in a turn.
    private let arrivals = LoopBatch<Arrival>(most: .max)
    private let idempotent = IdempotencyBook()
    private let deadlines: AnswerDeadlines
    private let journal: Journal
    private let usage: UsageBook
    private let quotas: Quotas
    private let duration = Timer(label: "aisbf_forward_seconds")
    private let draining = Atomic<Bool>(false)
    private let requests: RequestCount
    private let refusals = Counter(label: "aisbf_forwards_refused_total")
    private let checkedApart = Counter(label: "aisbf_forwards_checked_apart_total")
    private let served = Counter(label: "aisbf_forwards_served_total")

    package init(
        node: PublicKey, catalog: CatalogHolder, dispatcher: Dispatcher, signers: Signers,
        deadlines: AnswerDeadlines, journal: Journal, usage: UsageBook = UsageBook(), quotas: Quotas = Quotas(),
        requests: RequestCount = RequestCount()
    ) {
        self.usage = usage
        self.quotas = quotas
        self.node = node
        self.catalog = catalog
        self.dispatcher = dispatcher
        proofs = PrincipalProofs(signers: signers, entry: node)
        self.deadlines = deadlines
        self.journal = journal
        self.requests = requests
    }

    package var requestsInFlight: Int { requests.current }

    /// No new requests from now on; the running ones go on.
    package func drain() { draining.store(true, ordering: .relaxed) }

    /// A forward that is whole, and that nobody has checked.
    private struct Arrival: Sendable {
        let forward: IncomingForward
        let head: ForwardHead
        let body: ByteBuffer
    }

    package func arrived(_ forward: IncomingForward) {
        guard !draining.load(ordering: .relaxed) else {
            return refuse(forward, MeshError(.draining, "this node is shutting down", retryAfterSeconds: 2))
        }
        guard let head = ForwardHead.read(forward.headers, own: deadlines) else {
            return refuse(
                forward, MeshError(.forwardRefused, "the length of the payload before an upload is not usable"))
        }
        forward.collectBody(
            limit: Limits.workerFrameBytes, prefix: head.payloadBytes, deadlineMs: Limits.requestBodyMs
        ) { [self] body in
            switch body {
            case .success(let body):
                arrivals.add(Arrival(forward: forward, head: head, body: body), on: forward.eventLoop) { [self] in
                    check($0)
                }
            case .failure(.bodyTooLarge):
                refuse(forward, MeshError(.bodyTooLarge, "the forwarded body is larger than this node takes"))
            case .failure: forward.reset()
            }
        }
    }

    /// What arrived together is checked together, one behind the other: they may share a signature.
    private func check(_ arrivals: [Arrival]) {
        guard let eventLoop = arrivals.first?.forward.eventLoop else { return }
        let now = SystemClock.now
        let plan = ForwardCheckPlan(
            arrivals.map { .init(bytes: $0.body.readableBytes, isPrompt: isPrompt($0.forward, now)) })
        for places in plan.apart {
            let arrivals = places.map { arrivals[$0] }
            checkedApart.increment(by: arrivals.count)
            NIOThreadPool.singleton.submit { [self] state in
                guard case .active = state else { return arrivals.forEach { $0.forward.reset() } }
                let verified = verified(arrivals)
                eventLoop.execute { [self] in begin(arrivals, verified) }
            }
        }
        let here = plan.here.map { arrivals[$0] }
        begin(here, verified(here))
    }

    /// Whether nothing but its signature is to be checked, which those that came with it may have as well.
    private func isPrompt(_ forward: IncomingForward, _ now: Now) -> Bool {
        let peer = forward.link.peer
        guard !distrusted.withLock({ $0.contains(peer, now: now.instant) }) else { return false }
        let proof = forward.headers.value("aisbf-principal") ?? ""
        return proofs.knownOwner(provenBy: proof, node: peer, wall: now.wall) != nil
    }

    private func verified(_ arrivals: [Arrival]) -> [Result<Checked, MeshError>] {
        arrivals.map { arrival in
            Result { () throws(MeshError) in
                do throws(MeshError) { return try verify(arrival.forward, arrival.head, arrival.body) } catch {
                    if error.code == .forwardRefused || error.code == .misdirected {
                        distrusted.withLock { $0.distrust(arrival.forward.link.peer, now: SystemClock.instant) }
                    }
                    throw error
                }
            }
        }
    }

    private func begin(_ arrivals: [Arrival], _ verified: [Result<Checked, MeshError>]) {
        for (arrival, result) in zip(arrivals, verified) {
            switch result {
            case .success(let checked): start(arrival.forward, arrival.head, checked)
            case .failure(let error): refuse(arrival.forward, error)
            }
        }
    }

    private struct Checked: Sendable {
        var provider: CatalogProvider
        var request: WorkRequest
        /// What the buyer's idempotency key is known by, and the request itself.
        var once: (mark: IdempotencyMark, fingerprint: Bytes32)?
        /// Nil where the body is whole.
        var upload: (check: UploadCheck, verified: VerifiedForward)?
    }

    private func verify(
        _ forward: IncomingForward, _ head: ForwardHead, _ body: ByteBuffer
    ) throws(MeshError) -> Checked {
        let now = SystemClock.now
        let digest = body.withUnsafeReadableBytes { Sodium.shared.sha256($0) }
        let hasUpload = head.payloadBytes != nil
        let verified = try signed(forward, hasUpload ? .upload : .whole, digest, now.wall)
        guard verified.fields.maxHops >= 1, verified.fields.maxHops <= Limits.forwardHops else {
            throw MeshError(.forwardRefused, "the request has come over too many nodes")
        }
        guard let owner = proofs.owner(provenBy: verified.fields.principal, node: verified.signer, wall: now.wall)
        else {
            throw MeshError(.forwardRefused, "the entry node could not prove for whom it asks")
        }
        guard let path = ForwardPath(forward.path) else { throw MeshError(.notFound, "there is no such operation") }
        let known = catalog.current
        let principal = Principal(
            owner: owner, username: nil, node: verified.signer, nodeOperator: known.node(verified.signer)?.operatorKey)
        guard let provider = known.provider(path.provider), provider.admits(principal) else {
            throw MeshError(.accessDenied, "the provider is not offered to this caller")
        }
        let payload = try Self.payload(body, path.operation, hasUpload: hasUpload)
        let need = WorkerNeed(
            model: payload.model, endpoint: payload.endpoint, worker: payload.worker,
            takesUploads: payload.upload != nil)
        // Request id and attempt are inside the signature, so a copy of a request carries the same mark.
        guard replays.take([Self.mark(of: verified)], now: now.instant) else {
            throw MeshError(.forwardRefused, "this request was taken already")
        }
        guard dispatcher.isServed(need, of: provider.key) else { throw Dispatcher.noWorker(need) }
        var upload: (check: UploadCheck, verified: VerifiedForward)?
        if let about = payload.upload {
            upload = (
                try UploadCheck(contentType: about.contentType, model: need.model, length: about.length),
                verified
            )
        }
        return Checked(
            provider: provider,
            request: WorkRequest(
                content: .document(body, path.operation), form: payload.form, need: need,
                mayRepeat: !(need.endpoint?.family.keepsState ?? false), deadlines: head.deadlines),
            once: hasUpload ? nil : Self.once(verified, owner, path: forward.path, digest), upload: upload)
    }

    private static func mark(of verified: VerifiedForward) -> [UInt8] {
        let (id, attempt) = (verified.fields.requestID, String(verified.fields.attempt))
        return [UInt8](size: 32 + id.utf8.count + 1 + attempt.utf8.count) { mark in
            verified.signer.bytes.withUnsafeBytes { mark.put($0) }
            mark.put(id)
            mark.put(UInt8(ascii: " "))
            mark.put(attempt)
        }
    }

    /// Requests come straight from their entry node: the signer is the peer of the link.
    private func signed(
        _ forward: IncomingForward, _ profile: ForwardSignature.Profile, _ digest: [UInt8], _ wall: Timestamp
    ) throws(MeshError) -> VerifiedForward {
        switch ForwardSignature.verify(
            headers: forward.headers, profile: profile, method: forward.method, path: forward.path, bodyDigest: digest,
            between: .init(signer: forward.link.peer, destination: node),
            shared: forward.link.sharesSignatures ? signatures : nil, now: wall)
        {
        case .success(let verified): return verified
        case .failure(.signer):
            throw MeshError(.forwardRefused, "the request is signed by another node than sent it")
        case .failure(.destination):
            throw MeshError(.misdirected, "the request is for another node, and nothing is re-routed here")
        case .failure(let reason):
            throw MeshError(.forwardRefused, "the signature does not hold: \(reason.rawValue)")
        }
    }

    /// Of an upload nobody knows yet what it will be.
    private static func once(
        _ verified: VerifiedForward, _ owner: PublicKey, path: String, _ digest: [UInt8]
    ) -> (mark: IdempotencyMark, fingerprint: Bytes32)? {
        guard let key = ForwardSpend.once(in: verified.fields.spend),
            let fingerprint = Bytes32(Sodium.shared.sha256(Array(path.utf8) + digest))
        else { return nil }
        return (IdempotencyMark(owner: owner, key: key), fingerprint)
    }

    private static func payload(
        _ body: ByteBuffer, _ operation: WorkerOperation, hasUpload: Bool
    ) throws(MeshError) -> WorkerPayload {
        try body.reading { raw throws(MeshError) in try WorkerPayload.read(raw, operation, hasUpload: hasUpload) }
    }

    private func start(_ forward: IncomingForward, _ head: ForwardHead, _ checked: Checked) {
        let verdict = checked.once.map {
            idempotent.begin($0.mark, $0.fingerprint, mayRepeat: checked.request.mayRepeat)
        }
        switch verdict {
        case .first(let once)?: serve(forward, head, checked, once)
        case .replay(let kept)?: ForwardAnswer.replay(kept, to: forward, readsTrailers: head.readsTrailers)
        case .refused(let error)?: refuse(forward, error)
        case nil: serve(forward, head, checked, nil)
        }
    }

    /// - Parameter once: keeps the answer, where the buyer gave an idempotency key.
    private func serve(
        _ forward: IncomingForward, _ head: ForwardHead, _ checked: Checked, _ once: IdempotentRequest?
    ) {
        let admission: SellerAdmission?
        do throws(MeshError) {
            // What this other node may ask for its buyers, all of them together.
            let subject = QuotaSubject(.peer, forward.link.peerID)
            admission = try SellerQuota.admit(
                checked.request, of: checked.provider, model: checked.request.need.model, for: [subject], quotas)
        } catch {
            count(
                forward, error.code, nil, since: SystemClock.instant, provider: checked.provider, checked.request.need)
            return refuse(forward, error)
        }
        requests.began()
        served.increment()
        let upload = checked.upload.map {
            ForwardUpload(forward, verified: $0.verified, check: $0.check)
        }
        let started = SystemClock.instant
        let (key, model) = (checked.provider.key, checked.request.need.model)
        let answer = ForwardAnswer(
            forward: forward, readsTrailers: head.readsTrailers, admission: admission, once: once
        ) { [self] code, totals in
            admission?.ended(totals)
            requests.ended()
            upload?.close()
            duration.recordNanoseconds(SystemClock.instant.nanoseconds &- started.nanoseconds)
            let provider = catalog.current.provider(key)
            report(forward, code, since: started, provider: provider?.fullName, model: model)
            count(forward, code, totals, since: started, provider: provider, checked.request.need)
        }
        upload?.onFailure { [weak answer] error in answer?.refuse(error) }
        answer.begin(
            dispatcher.hosting(
                checked.request, of: checked.provider, upload: upload?.flow, writer: answer,
                eventLoop: forward.eventLoop))
    }

    /// What the provider did for another node's buyer. Who that is, is that node's affair, and so is what is paid.
    private func count(
        _ forward: IncomingForward, _ code: ErrorCode?, _ totals: AnswerTotals?, since started: Instant,
        provider: CatalogProvider?, _ need: WorkerNeed
    ) {
        var amounts = UsageAmounts()
        amounts.requests = 1
        amounts.input = totals?.promptTokens ?? 0
        amounts.cached = totals?.cachedTokens ?? 0
        amounts.output = totals?.completionTokens ?? 0
        if code == nil, totals?.completionTokens == nil { amounts.estimated = 1 }
        amounts.milliseconds = SystemClock.instant.milliseconds(since: started)
        var currency = ""
        if code == nil, let model = need.model, let prices = provider?.prices[model: model] {
            let cost = prices.cost(
                of: PricedUse(
                    inputTokens: amounts.input, cachedTokens: amounts.cached, outputTokens: amounts.output))
            if cost.microUnits > 0 { (amounts.money, currency) = (cost.microUnits, cost.currency.description) }
        }
        usage.add(
            UsageGroup(
                side: .hosting, kind: UsageKind(need.endpoint), key: "", username: "",
                provider: provider?.fullName ?? "",
                model: need.model ?? "",
                node: catalog.current.name(of: forward.link.peer),
                outcome: code?.rawValue ?? UsageGroup.served, currency: currency), amounts)
    }

    private func refuse(_ forward: IncomingForward, _ error: MeshError) {
        refusals.increment()
        report(forward, error.code, since: SystemClock.instant, provider: nil, model: nil)
        ForwardAnswer.fail(forward, error)
    }

    /// Tells the log under the id that the buyer was given.
    private func report(
        _ forward: IncomingForward, _ code: ErrorCode?, since started: Instant, provider: String?, model: String?
    ) {
        var report = RequestReport(.hosting, requestID: forward.requestID ?? "unknown")
        report.code = code
        report.status = code?.status ?? 200
        report.provider = provider
        report.model = model
        report.nodeKey = forward.link.peer
        report.node = catalog.current.name(of: forward.link.peer)
        report.isAdmitted = true
        report.milliseconds = SystemClock.instant.milliseconds(since: started)
        journal.ended(report)
    }
}

extension IncomingForward {
    var requestID: String? { ForwardHead.requestID(of: headers) }
}
