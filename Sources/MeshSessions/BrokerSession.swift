package import MeshModel
package import MeshWire

/// The broker's side of one worker connection, as a pure machine.
///
/// States: `greeting` (silent, waiting for the client to speak first) → `greeted` (an old client that waited has
/// been sent the unsolicited `registered`) → `live` → `closed`. Rules:
/// - Nothing is sent before the client's `register`, except to a client that stays silent through the grace.
/// - No `register` within `Limits.workerRegisterMs`: closed.
/// - After each `register` the same `registered` frame is answered and the models are asked for.
/// - A worker that shows no sign of life for `Limits.workerSilenceMs` is closed; pings go out every
///   `Limits.workerPingIntervalMs`.
/// - An unreadable frame costs that frame; `Limits.workerBadFrames` of them cost the session.
package struct BrokerSession: Sendable {
    package enum Action: Hashable, Sendable {
        case send([UInt8])
        case ping
        case close(CloseReason)
        /// The worker (re-)registered: replace what is known of it.
        case registered(WorkerProfile)
        case modelsListed([WorkerModel])
        case hardwareChanged(HardwareSummary)
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
    private let identityFields: [UInt8]
    private let tokenText: String
    private let greetingGraceMs: Int64
    private let expiresAt: Timestamp
    private var state: State
    private var lastSeen: Instant
    private var lastPing: Instant
    private var badFrames = 0
    private var modelsRequest: UInt64 = 0
    private var isAskingForModels = false
    private var registerWindow: (since: Instant, count: Int) = (Instant(nanoseconds: .min), 0)
    package private(set) var profile = WorkerProfile()

    /// - Parameters:
    ///   - tokenText: the token of the handshake; a token inside a message must equal it. Compared, never sent.
    ///   - expiresAt: told to the worker as the end of its registration.
    package init(
        identity: WorkerIdentity, sessionID: String, tokenText: String, greetingGraceMs: Int64, expiresAt: Timestamp,
        now: Instant
    ) {
        self.identity = identity
        self.sessionID = sessionID
        identityFields = Self.identityFields(identity)
        self.tokenText = tokenText
        self.greetingGraceMs = greetingGraceMs
        self.expiresAt = expiresAt
        state = .greeting(since: now)
        lastSeen = now
        lastPing = now
    }

    package var isLive: Bool {
        if case .live = state { return true }
        return false
    }

    package func heard(since instant: Instant) -> Bool { lastSeen >= instant }

    /// Any frame at all, control frames included, shows that the worker lives.
    package mutating func seen(now: Instant) { lastSeen = now }

    /// A binary frame: `1`, the length of the request id (1 byte), the request id, then bytes of its answer.
    /// - Returns: the request and where its bytes start; nil for a frame that is none of ours.
    package mutating func binaryArrived(
        _ bytes: UnsafeRawBufferPointer, now: Instant
    ) -> Result<(number: UInt64, start: Int), UnusableFrame> {
        lastSeen = now
        guard isLive, bytes.count >= 3, bytes[0] == 1 else { return .failure(UnusableFrame(actions: bad())) }
        let end = 2 + Int(bytes[1])
        guard end <= bytes.count,
            let number = Self.requestNumber(String(decoding: bytes[2..<end], as: UTF8.self)),
            number >= Self.firstRequestNumber, number <= UInt64.max / 2
        else { return .failure(UnusableFrame(actions: bad())) }
        return .success((number, end))
    }

    package struct UnusableFrame: Error {
        package var actions: [Action]
    }

    package mutating func textArrived(
        _ frame: Result<WorkerFrame, JSONScanError>, in bytes: UnsafeRawBufferPointer, now: Now
    ) -> [Action] {
        lastSeen = now.instant
        switch state {
        case .closed: return []
        case .greeting, .greeted: return firstFrame(frame, bytes, now: now)
        case .live: return liveFrame(frame, bytes, now: now)
        }
    }

    /// Time passed: greets, pings, and closes what stays silent. Call about four times a second.
    package mutating func tick(now: Instant) -> [Action] {
        switch state {
        case .closed: return []
        case .greeting(let since):
            if now.milliseconds(since: since) >= greetingGraceMs {
                state = .greeted(since: since)
                return [.send(registeredFrame(requestID: sessionID))]
            }
        case .greeted(let since):
            if now.milliseconds(since: since) >= Limits.workerRegisterMs { return close(.registrationTimeout) }
        case .live: break
        }
        if now.milliseconds(since: lastSeen) >= Limits.workerSilenceMs, isLive { return close(.silent) }
        if now.milliseconds(since: lastPing) >= Limits.workerPingIntervalMs {
            lastPing = now
            return [.ping]
        }
        return []
    }

    package mutating func close(_ reason: CloseReason) -> [Action] {
        if case .closed = state { return [] }
        state = .closed
        return [.close(reason)]
    }

    /// The frame that asks the worker to do `operation`; `payload` is spliced in as it is and must be one JSON value.
    package func requestFrame(number: UInt64, operation: String, payload: some Collection<UInt8>) -> [UInt8] {
        var frame = requestHead(number: number, operation: operation)
        frame.reserveCapacity(frame.count + payload.count + 1)
        frame += payload
        frame.append(UInt8(ascii: "}"))
        return frame
    }

    /// Everything of a request frame before its payload; a closing brace follows the payload.
    package func requestHead(number: UInt64, operation: String) -> [UInt8] {
        var frame: [UInt8] = []
        frame.reserveCapacity(64 + identityFields.count)
        frame.append(contentsOf: #"{"v":1,"op":""#.utf8)
        frame.append(contentsOf: operation.utf8)
        frame.append(contentsOf: #"","request_id":"q"#.utf8)
        frame.append(contentsOf: String(number).utf8)
        frame.append(contentsOf: identityFields)
        return frame
    }

    /// The part of a request that is the same in every frame, made once.
    private static func identityFields(_ identity: WorkerIdentity) -> [UInt8] {
        var bytes = Array(#"","provider_id":"#.utf8)
        JSONText.appendQuoted(identity.providerID.utf8, to: &bytes)
        bytes += Array(#","client_id":"#.utf8)
        JSONText.appendQuoted(identity.clientID.utf8, to: &bytes)
        bytes += Array(#","payload":"#.utf8)
        return bytes
    }

    /// Frames that steer one request: `cancel`, `pause`, `resume`.
    package func controlFrame(_ operation: String, number: UInt64) -> [UInt8] {
        requestFrame(
            number: UInt64.max - number, operation: operation, payload: Array(#"{"request_id":"q\#(number)"}"#.utf8))
    }

    /// Gives the worker room for `bytes` more of a binary answer.
    package func creditFrame(number: UInt64, bytes: Int) -> [UInt8] {
        requestFrame(
            number: UInt64.max - number, operation: "credit",
            payload: Array(#"{"request_id":"q\#(number)","bytes":\#(bytes)}"#.utf8))
    }

    /// Our request number in a `request_id`, nil when it is none of ours.
    package static func requestNumber(_ requestID: String) -> UInt64? {
        guard requestID.utf8.first == UInt8(ascii: "q") else { return nil }
        return UInt64(requestID.dropFirst())
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
        guard case .success(let frame) = frame else { return bad() }
        switch frame.kind {
        case .operation("register"): return register(frame, bytes, now: now)
        case .operation("heartbeat"): return heartbeat(frame, bytes, now: now)
        case .operation: return bad()
        case .reply(let event):
            if event == .ignored || event == .heartbeat { return [] }
            guard let number = Self.requestNumber(frame.requestID) else { return bad() }
            // Released clients answer a cancel with an unsupported-operation error; nobody waits for it.
            if number > UInt64.max / 2 { return [] }
            if number < Self.firstRequestNumber {
                // Only the answer to the newest question counts, and only once.
                guard isAskingForModels, number == modelsRequest else { return bad() }
                return models(frame, event, bytes)
            }
            return [.reply(number: number, event)]
        }
    }

    private mutating func register(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, now: Now) -> [Action] {
        guard bytes.count <= Limits.workerRegisterBytes,
            let message = try? JSONValue.parse(bytes, in: 0..<bytes.count)
        else {
            // A client that was told nothing would wait for its ack until the registration times out.
            return isLive ? bad() : close(.registerExpected)
        }
        for token in [message["registration_token"]?.text, message["payload"]?["registration_token"]?.text] {
            guard let token, !SecretText.isSame(token, tokenText) else { continue }
            if isLive { return [.send(errorFrame(frame.requestID, "token mismatch"))] }
            return close(.tokenMismatch)
        }
        guard mayRegister(now: now.instant) else {
            return bad() + [.send(errorFrame(frame.requestID, "registering too often; wait a few seconds"))]
        }
        state = .live
        profile = WorkerProfile(register: message)
        modelsRequest &+= 1
        isAskingForModels = true
        return [
            .send(registeredFrame(requestID: frame.requestID)), .registered(profile),
            .send(requestFrame(number: modelsRequest, operation: "models.list", payload: Array("{}".utf8))),
        ]
    }

    /// A worker may register again whenever its models change, but each time costs the whole mesh something.
    private mutating func mayRegister(now: Instant) -> Bool {
        if registerWindow.count == 0 || now.milliseconds(since: registerWindow.since) >= 10_000 {
            registerWindow = (now, 0)
        }
        registerWindow.count += 1
        return registerWindow.count <= Limits.workerRegistersPer10s
    }

    /// Numbers of `models.list` requests stay below this; buyers' requests start here.
    package static let firstRequestNumber: UInt64 = 1_000_000

    private mutating func heartbeat(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, now: Now) -> [Action] {
        var actions: [Action] = []
        if let payload = frame.payload, payload.range.count <= Limits.workerRegisterBytes,
            let value = try? JSONValue.parse(bytes, in: payload.range)
        {
            let update = HardwareSummary(payload: value)
            if !update.gpus.isEmpty {
                profile.hardware.merge(update)
                actions.append(.hardwareChanged(profile.hardware))
            }
        }
        let answer: JSONValue = [
            "v": 1, "request_id": .string(frame.requestID), "status": "ok", "event": "heartbeat",
            "payload": ["ts": .integer(now.wall.seconds)],
        ]
        return [.send(answer.bytes)] + actions
    }

    private mutating func models(
        _ frame: WorkerFrame, _ event: WorkerFrame.ReplyEvent, _ bytes: UnsafeRawBufferPointer
    ) -> [Action] {
        if event == .error { isAskingForModels = false }
        guard event == .answer else { return [] }
        isAskingForModels = false
        guard let whole = WorkerAnswer.whole(frame, in: bytes), whole.head.status < 400,
            whole.body.count <= Limits.workerRegisterBytes, let document = try? JSONValue.parse(whole.body),
            let models = WorkerModel.list(document)
        else { return bad() }
        return [.modelsListed(models)]
    }

    private mutating func bad() -> [Action] {
        badFrames += 1
        guard badFrames < Limits.workerBadFrames else { return [.badFrame] + close(.tooManyBadFrames) }
        return [.badFrame]
    }

    private func registeredFrame(requestID: String) -> [UInt8] {
        registeredDocument(requestID: requestID).bytes
    }

    /// The `registered` document, also the answer of the dry-run register routes.
    package func registeredDocument(requestID: String) -> JSONValue {
        [
            "v": 1, "event": "registered", "status": "ok", "accepted": true, "request_id": .string(requestID),
            "session_id": .string(sessionID), "provider_id": .string(identity.providerID),
            "client_id": .string(identity.clientID), "username": .string(identity.scope.username),
            "scope_name": .string(identity.scope == .global ? "global" : "user"),
            "owner_user_id": identity.scope == .global ? .null : .string(identity.scope.username),
            "expires_at": .integer(expiresAt.seconds),
            // Ours; released clients look at none of it.
            "features": ["binary_frames", "flow_control"], "answer_window_bytes": .integer(Limits.answerWindowBytes),
        ]
    }

    private func errorFrame(_ requestID: String, _ text: String) -> [UInt8] {
        let answer: JSONValue = [
            "v": 1, "request_id": .string(requestID), "status": "error", "error": .string(text),
        ]
        return answer.bytes
    }
}
