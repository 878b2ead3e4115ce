package import MeshModel
package import MeshWire

/// The broker's side of one worker connection, as a pure machine.
///
/// States: `greeting` (silent, waiting for the client to speak first) → `greeted` (an old client that waited has
/// been sent the unsolicited `registered`) → `live` → `closed`. Rules:
/// - Nothing is sent before the client's `register`, except to a client that stays silent through the grace.
/// - No `register` within `Limits.workerRegisterMs`: closed.
/// - After each `register` the same `registered` frame is answered and the models are asked for, until a list comes, and
///   again every minute, after an answer that knows no model, and when the worker says that they changed; a worker that
///   told no capabilities is asked for them as well.
/// - A worker that shows no sign of life for `Limits.workerSilenceMs` is closed; pings go out every
///   `Limits.workerPingIntervalMs`, and a `heartbeat` when no other text frame went out for
///   `Limits.workerHeartbeatIntervalMs`: old clients do not see pings.
/// - An unusable frame costs that frame; `Limits.workerBadFrames` of them within `Limits.workerBadFrameWindowMs` cost
///   the session.
package struct BrokerSession: Sendable {
    package enum Action: Hashable, Sendable {
        case send([UInt8])
        case ping
        case close(CloseReason)
        /// The worker (re-)registered: replace what is known of it.
        case registered(WorkerProfile)
        case modelsListed([WorkerModel])
        /// How much of its memory is in use, and what else nobody but its status shows.
        case hardwareChanged(HardwareSummary)
        /// Something changed that the rest of the node has to hear of.
        case profileChanged(WorkerProfile)
        /// A reply to the request with this number; the frame belongs to its `AnswerExchange`.
        case reply(number: UInt64, WorkerFrame.ReplyEvent)
        /// A frame that could not be used, for the counter.
        case badFrame
    }

    private enum State: Sendable {
        case greeting(since: Instant)
        case greeted(since: Instant)
        case live
        case closed
    }

    package let identity: WorkerIdentity
    package let sessionID: String
    let identityFields: [UInt8]
    private let tokenText: String
    private let greetingGraceMs: Int64
    private let began: Now
    private var state: State
    private var lastSeen: Instant
    private var lastPing: Instant
    /// When the last text frame went out, to the accuracy of a tick.
    private var lastSent: Instant
    var hasSentSinceTick = false
    private var beats: UInt64 = 0
    /// One more than the largest number that was given to a request.
    private var requestsEnd = firstRequestNumber
    private var badFrames: (since: Instant, count: Int) = (Instant(nanoseconds: .min), 0)
    private var registerWindow: (since: Instant, count: Int) = (Instant(nanoseconds: .min), 0)
    private var questions: UInt64 = 0
    var models: WorkerQuestion
    /// What came so far of an answer to the node's own question that is too large for one frame.
    var gathered: GatheredAnswer?
    /// The last list of models as it came: who sends the same again has nothing to tell.
    var lastList: Fingerprint?
    var capabilities = WorkerQuestion("capabilities", attempts: Limits.workerCapabilityAttempts)
    private var hasNews = false
    private var lastNews: Instant?
    package internal(set) var profile = WorkerProfile()

    /// - Parameters:
    ///   - tokenText: the token of the handshake; a token inside a message must equal it. Compared, never sent.
    package init(identity: WorkerIdentity, sessionID: String, tokenText: String, greetingGraceMs: Int64, now: Now) {
        self.identity = identity
        self.sessionID = sessionID
        identityFields = Self.identityFields(identity)
        self.tokenText = tokenText
        self.greetingGraceMs = greetingGraceMs
        // Those that came at once need not all be asked at once.
        let spread = sessionID.utf8.reduce(Int64(0)) { ($0 &* 31 &+ Int64($1)) & 0xFFFF } % 10
        models = WorkerQuestion(
            "models.list", refreshMs: Limits.workerModelsRefreshMs - spread * Limits.workerModelsRefreshMs / 100)
        began = now
        state = .greeting(since: now.instant)
        lastSeen = now.instant
        lastPing = now.instant
        lastSent = now.instant
    }

    package var isLive: Bool {
        if case .live = state { return true }
        return false
    }

    package func heard(since instant: Instant) -> Bool { lastSeen >= instant }

    /// Any frame at all, control frames included, shows that the worker lives.
    package mutating func seen(now: Instant) { lastSeen = now }

    /// The request with this number was sent: from now on a reply to it is no invention.
    package mutating func requestSent(_ number: UInt64) {
        hasSentSinceTick = true
        requestsEnd = max(requestsEnd, number &+ 1)
    }

    /// A binary frame: `1`, the length of the request id (1 byte), the request id, then bytes of its answer.
    /// - Returns: the request and where its bytes start; nil for a frame that is none of ours.
    package mutating func binaryArrived(
        _ bytes: UnsafeRawBufferPointer, now: Instant
    ) -> Result<(number: UInt64, start: Int), NotForBuyers> {
        lastSeen = now
        guard isLive, bytes.count >= 3, bytes[0] == 1 else { return .failure(NotForBuyers(actions: bad(now))) }
        let end = 2 + Int(bytes[1])
        guard end <= bytes.count, let number = Self.requestNumber(String(decoding: bytes[2..<end], as: UTF8.self))
        else { return .failure(NotForBuyers(actions: bad(now))) }
        if number < Self.firstRequestNumber {
            let part = UnsafeRawBufferPointer(rebasing: bytes[end...])
            return .failure(NotForBuyers(actions: gather(part, of: number, now: now)))
        }
        guard number < requestsEnd else { return .failure(NotForBuyers(actions: bad(now))) }
        return .success((number, end))
    }

    /// A binary frame that is no part of a buyer's answer, and what follows from it.
    package struct NotForBuyers: Error {
        package var actions: [Action]
    }

    /// A worker answered that it knows no such model: what it lists may have changed.
    package mutating func doubtModels() { models.doubt() }

    package mutating func textArrived(
        _ frame: Result<WorkerFrame, JSONScanError>, in bytes: UnsafeRawBufferPointer, now: Now
    ) -> [Action] {
        lastSeen = now.instant
        if case .closed = state { return [] }
        if case .failure = frame, let mended = BareNumbers.mended(bytes),
            let actions = mended.withUnsafeBytes({ mendedArrived($0, now: now) })
        {
            return actions
        }
        return scanned(frame, bytes, now: now)
    }

    /// What a worker says of itself may hold bare numbers; answers are relayed byte for byte and may not. Nil for those.
    private mutating func mendedArrived(_ bytes: UnsafeRawBufferPointer, now: Now) -> [Action]? {
        guard let frame = try? WorkerFrame.scan(bytes) else { return nil }
        switch frame.kind {
        case .operation("register"), .operation("heartbeat"): break
        case .operation: return nil
        case .reply:
            let number = Self.requestNumber(frame.requestID) ?? .max
            guard isLive, number < Self.firstRequestNumber else { return nil }
        }
        return scanned(.success(frame), bytes, now: now)
    }

    private mutating func scanned(
        _ frame: Result<WorkerFrame, JSONScanError>, _ bytes: UnsafeRawBufferPointer, now: Now
    ) -> [Action] {
        switch state {
        case .closed: return []
        case .greeting, .greeted: return firstFrame(frame, bytes, now: now)
        case .live: return liveFrame(frame, bytes, now: now)
        }
    }

    /// Time passed: greets, pings, asks again, and closes what stays silent. Call about four times a second.
    package mutating func tick(now: Instant) -> [Action] {
        noteSent(now)
        defer { noteSent(now) }
        switch state {
        case .closed: return []
        case .greeting(let since):
            if now.milliseconds(since: since) >= greetingGraceMs {
                state = .greeted(since: since)
                let wall = began.wall.advanced(byMilliseconds: now.milliseconds(since: began.instant))
                return [send(registeredDocument(requestID: sessionID, wall: wall).bytes)]
            }
        case .greeted(let since):
            if now.milliseconds(since: since) >= Limits.workerRegisterMs { return close(.registrationTimeout) }
        case .live:
            if now.milliseconds(since: lastSeen) >= Limits.workerSilenceMs { return close(.silent) }
        }
        var actions: [Action] = []
        if now.milliseconds(since: lastPing) >= Limits.workerPingIntervalMs {
            lastPing = now
            actions.append(.ping)
        }
        return isLive ? actions + due(now) : actions
    }

    private mutating func noteSent(_ now: Instant) {
        if hasSentSinceTick { lastSent = now }
        hasSentSinceTick = false
    }

    /// What a live session has to say by now.
    private mutating func due(_ now: Instant) -> [Action] {
        var actions: [Action] = []
        if models.isDue(now: now) {
            models.ask(nextQuestion(), now: now)
            actions.append(send(question(models)))
        }
        if capabilities.isDue(now: now) {
            capabilities.ask(nextQuestion(), now: now)
            actions.append(send(question(capabilities)))
        }
        if hasNews, lastNews.map({ now.milliseconds(since: $0) >= Limits.workerHardwareNewsMs }) ?? true {
            hasNews = false
            lastNews = now
            actions.append(.profileChanged(profile))
        }
        if !hasSentSinceTick, now.milliseconds(since: lastSent) >= Limits.workerHeartbeatIntervalMs {
            actions.append(send(heartbeatFrame(beat: beats % Self.firstRequestNumber)))
            beats += 1
        }
        return actions
    }

    private mutating func send(_ frame: [UInt8]) -> Action {
        hasSentSinceTick = true
        return .send(frame)
    }

    package mutating func close(_ reason: CloseReason) -> [Action] {
        if case .closed = state { return [] }
        state = .closed
        return [.close(reason)]
    }

    private mutating func firstFrame(
        _ frame: Result<WorkerFrame, JSONScanError>, _ bytes: UnsafeRawBufferPointer, now: Now
    ) -> [Action] {
        switch frame {
        case .failure: return close(.notJSON)
        case .success(let frame):
            guard frame.kind == .operation("register") else { return close(.registerExpected) }
            return register(frame, bytes, now: now)
        }
    }

    private mutating func liveFrame(
        _ frame: Result<WorkerFrame, JSONScanError>, _ bytes: UnsafeRawBufferPointer, now: Now
    ) -> [Action] {
        guard case .success(let frame) = frame else { return bad(now.instant) }
        switch frame.kind {
        case .operation("register"): return register(frame, bytes, now: now)
        case .operation("heartbeat"): return heartbeat(frame, bytes, now: now)
        case .operation: return bad(now.instant)
        case .reply(.heartbeat): return []
        case .reply(.ignored): return bad(now.instant)
        case .reply(let event):
            guard let number = Self.requestNumber(frame.requestID) else { return bad(now.instant) }
            if number < Self.firstRequestNumber { return answered(number, event, frame, bytes, now: now.instant) }
            if number < requestsEnd { return [.reply(number: number, event)] }
            // Released clients answer a cancel and a heartbeat with an unsupported-operation error; nobody waits for it.
            let steered = UInt64.max - number
            return steered < (steered < Self.firstRequestNumber ? beats : requestsEnd) ? [] : bad(now.instant)
        }
    }

    private mutating func register(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, now: Now) -> [Action] {
        guard bytes.count <= Limits.workerRegisterBytes else {
            let words = "register is \(bytes.count) bytes; at most \(Limits.workerRegisterBytes) are taken"
            return isLive ? refused(frame.requestID, words, now: now.instant) : close(.registerTooLarge)
        }
        guard let message = try? JSONValue.parse(bytes, in: 0..<bytes.count) else {
            // A client that was told nothing would wait for its ack until the registration times out.
            return isLive ? bad(now.instant) : close(.registerExpected)
        }
        for token in [message["registration_token"]?.text, message["payload"]?["registration_token"]?.text] {
            guard let token, !SecretText.isSame(token, tokenText) else { continue }
            if isLive { return refused(frame.requestID, "token mismatch", now: now.instant) }
            return close(.tokenMismatch)
        }
        guard mayRegister(now: now.instant) else {
            return refused(frame.requestID, "registering too often; wait a few seconds", now: now.instant)
        }
        let old = profile
        profile = WorkerProfile(register: message)
        // What the mesh is told of it has changed.
        if isLive, profile.offer != old.offer { hasNews = true }
        state = .live
        return [
            send(registeredDocument(requestID: frame.requestID, wall: now.wall).bytes), .registered(profile),
        ] + ask(tellsCapabilities: WorkerProfile.capabilities(of: message) != nil, now: now.instant)
    }

    /// The worker is told why, unless this was the frame that ends the session.
    private mutating func refused(_ requestID: String, _ words: String, now: Instant) -> [Action] {
        let actions = bad(now)
        return isLive ? actions + [send(errorFrame(requestID, words))] : actions
    }

    private mutating func ask(tellsCapabilities: Bool, now: Instant) -> [Action] {
        models.begin(nextQuestion(), now: now)
        capabilities.settle()
        guard !tellsCapabilities else { return [send(question(models))] }
        capabilities.begin(nextQuestion(), now: now)
        return [send(question(models)), send(question(capabilities))]
    }

    /// A worker may register again whenever its models change, but each time costs the whole mesh something.
    private mutating func mayRegister(now: Instant) -> Bool {
        if registerWindow.count == 0 || now.milliseconds(since: registerWindow.since) >= Limits.workerRegisterWindowMs {
            registerWindow = (now, 0)
        }
        registerWindow.count += 1
        return registerWindow.count <= Limits.workerRegistersPer10s
    }

    /// Numbers of the node's own questions stay below this; buyers' requests start here.
    package static let firstRequestNumber: UInt64 = 1_000_000

    private mutating func nextQuestion() -> UInt64 {
        questions = questions % (Self.firstRequestNumber - 1) + 1
        return questions
    }

    private mutating func heartbeat(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, now: Now) -> [Action] {
        var actions: [Action] = []
        if let payload = frame.payload, payload.range.count <= Limits.workerRegisterBytes,
            let value = try? JSONValue.parse(bytes, in: payload.range)
        {
            if value["models_changed"]?.flag == true { models.doubt() }
            let update = HardwareSummary(payload: value)
            if !update.isEmpty {
                let known = profile.offer.hardware
                profile.hardware.merge(update)
                // Told at the next tick, and seldom: the whole mesh hears of it.
                if profile.offer.hardware != known { hasNews = true }
                actions.append(.hardwareChanged(profile.hardware))
            }
        }
        return [send(heartbeatAnswer(frame.requestID, wall: now.wall))] + actions
    }

    /// Who sends a bad frame now and then stays; a flood of them ends the session.
    mutating func bad(_ now: Instant) -> [Action] {
        if badFrames.count == 0 || now.milliseconds(since: badFrames.since) >= Limits.workerBadFrameWindowMs {
            badFrames = (now, 0)
        }
        badFrames.count += 1
        guard badFrames.count < Limits.workerBadFrames else { return [.badFrame] + close(.tooManyBadFrames) }
        return [.badFrame]
    }
}
