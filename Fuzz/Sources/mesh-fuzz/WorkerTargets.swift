import MeshDialects
import MeshModel
import MeshSessions
import MeshWire

/// One frame of a worker: nothing it holds leads outside it.
enum WorkerFrameTarget {
    static func run(_ input: [UInt8]) {
        input.withUnsafeBytes { bytes in
            guard let frame = try? WorkerFrame.scan(bytes) else { return }
            expect(frame.fields.allSatisfy { $0.value.range.upperBound < bytes.count }, "a field outside")
            if let whole = WorkerAnswer.whole(frame, in: bytes) {
                check(whole.head)
            }
            if let head = WorkerAnswer.start(frame, in: bytes) { check(head) }
            if let pieces = WorkerAnswer.pieces(frame, in: bytes) {
                expect(pieces.count <= Limits.chunkPieces, "\(pieces.count) pieces")
                let size = pieces.reduce(0) { $0 + $1.content.count }
                expect(size <= bytes.count, "a chunk larger than its frame")
            }
            var usage = UsageReading()
            if case .whole(let whole) = WorkerAnswer.ending(frame, in: bytes, usage: &usage) { check(whole.head) }
            let failure = AnswerFailure(frame, in: bytes).error()
            expect(failure.message.utf8.count < 1_024, "an error without an end")
        }
    }

    static func check(_ head: AnswerHead) {
        expect(AnswerHead.isAnswerStatus(Int64(head.status)), "status \(head.status)")
        expect(HeaderRule.isValue(head.contentType), "a content type that splits headers")
        expect((head.length ?? 0) >= 0, "a negative length")
        for field in head.fields {
            expect(HeaderRule.isValue(field.value) && AnswerFieldRule.passes(field.name), "field \(field)")
        }
    }
}

/// A whole session and one exchange in it. Byte 0 chooses what the buyer wants, 0xFF ends a frame and is followed by how
/// much time passes; a frame that starts with 0xFE is a binary one.
enum WorkerSessionTarget {
    private static let identity = WorkerIdentity(
        provider: RecordKey(.zero), providerID: "coderai", scope: .user("ada"), clientID: "gpu-1")

    static func run(_ input: [UInt8]) {
        var reader = InputReader(input)
        let form: AnswerForm = [.document, .events, .bytes][Int(reader.byte() % 3)]
        var now = Now(instant: Instant(nanoseconds: 1), wall: Timestamp(milliseconds: 1_746_960_000_000))
        var session = BrokerSession(
            identity: identity, sessionID: "s-1", tokenText: "secret", greetingGraceMs: 1_500,
            now: now)
        session.requestSent(BrokerSession.firstRequestNumber + 9)
        var exchange = AnswerExchange(form: form, deadlines: AnswerDeadlines(), now: now.instant)
        var ledger = Ledger(form: form)
        for frame in reader.rest.split(separator: 0xFF, omittingEmptySubsequences: false) {
            let passed = Int64(frame.first ?? 0) * 40
            now.instant = now.instant.advanced(byMilliseconds: passed)
            now.wall = now.wall.advanced(byMilliseconds: passed)
            ledger.take(session.tick(now: now.instant))
            if exchange.deadline <= now.instant { ledger.take(exchange.deadlinePassed()) }
            let rest = Array(frame.dropFirst())
            if rest.first == 0xFE {
                binary(Array(rest.dropFirst()), &exchange, &ledger, now)
            } else {
                step(rest, &session, &exchange, &ledger, now)
            }
        }
        ledger.take(exchange.failed(MeshError(.workerLost, "lost")))
        ledger.take(exchange.failed(MeshError(.workerLost, "lost")))
        expect(exchange.isFinished, "a failure does not finish an exchange")
        _ = exchange.sample(now: now.instant)
        ledger.finish()
        expect(session.identity == identity, "a worker changed who it is")
    }

    private static func binary(
        _ payload: [UInt8], _ exchange: inout AnswerExchange, _ ledger: inout Ledger, _ now: Now
    ) {
        let credit: Int?
        switch payload.withUnsafeBytes({ exchange.binaryArrived($0, now: now.instant) }) {
        case .pass:
            ledger.take([.bytes(payload)])
            credit = exchange.consumed(payload.count)
        case .actions(let actions):
            ledger.take(actions)
            credit = exchange.consumed(payload.count)
        }
        expect((0...Limits.answerWindowBytes).contains(credit ?? 0), "a credit of \(credit ?? 0)")
    }

    private static func step(
        _ frame: [UInt8], _ session: inout BrokerSession, _ exchange: inout AnswerExchange, _ ledger: inout Ledger,
        _ now: Now
    ) {
        frame.withUnsafeBytes { bytes in
            let scanned: Result<WorkerFrame, JSONScanError>
            do throws(JSONScanError) { scanned = .success(try WorkerFrame.scan(bytes)) } catch {
                scanned = .failure(error)
            }
            let actions = session.textArrived(scanned, in: bytes, now: now)
            ledger.take(actions)
            guard case .success(let frame) = scanned else { return }
            for case .reply(_, let event) in actions {
                ledger.take(exchange.replied(event, frame, in: bytes, now: now.instant))
            }
        }
    }
}

/// What a buyer and a worker have seen, and what they must never see.
private struct Ledger {
    let form: AnswerForm
    private var heads: [AnswerHead] = []
    private var isOver = false
    private var isClosed = false
    private var body: [UInt8] = []

    init(form: AnswerForm) { self.form = form }

    /// Whether the buyer reads a stream of events, in which errors are events too.
    private var isStream: Bool { form == .events && heads.first.map { $0.isEventStream && $0.status < 400 } ?? false }

    mutating func take(_ actions: [BrokerSession.Action]) {
        for action in actions {
            expect(!isClosed, "something after the close")
            switch action {
            case .send(let frame):
                let value = try? JSONValue.parse(frame)
                expect(value?.members != nil, "a frame that is no object: \(String(decoding: frame, as: UTF8.self))")
                // The worker's own request id comes back to it, whatever it is.
                let own = (value?.members ?? []).filter { $0.name != "request_id" }
                expect(!JSONValue.object(own).bytes.contains("secret".utf8), "the token was sent")
                expect(frame.count <= Limits.workerRequestFrameBytes * 8, "a frame of \(frame.count) bytes")
            case .close: isClosed = true
            case .modelsListed(let models):
                expect(models.count <= Limits.workerModels, "too many models")
                expect(models.allSatisfy { HeaderRule.isValue($0.id) && !$0.id.isEmpty }, "a model name")
            case .hardwareChanged(let hardware): HardwareTarget.check(hardware)
            case .registered(let profile), .profileChanged(let profile): HardwareTarget.check(profile)
            default: break
            }
        }
    }

    mutating func take(_ actions: [AnswerExchange.Action]) {
        for action in actions {
            expect(!isOver, "something after the end: \(action)")
            switch action {
            case .head(let head):
                heads.append(head)
                expect(heads.count == 1, "two heads")
                WorkerFrameTarget.check(head)
            case .bytes(let bytes):
                expect(heads.count == 1, "a body before the head")
                body += bytes
                expect(body.count <= heads.last?.length ?? .max, "a body longer than its content-length")
            case .end:
                expect(heads.count == 1, "an end before the head")
                expect(body.count == heads.last?.length ?? body.count, "a body shorter than its content-length")
                isOver = true
            case .fail: isOver = true
            }
        }
    }

    func finish() {
        expect(isOver, "an exchange without an end")
        let lines = body.split { $0 == 0x0A || $0 == 0x0D }
        let markers = lines.filter { $0.elementsEqual("data: [DONE]".utf8) }.count
        expect(!isStream || markers == 0, "\(markers) end markers in the body of a stream")
    }
}

/// Hardware in any spelling: within bounds, and told twice it is the same.
enum HardwareTarget {
    static func run(_ input: [UInt8]) {
        guard let message = try? JSONValue.parse(input) else { return }
        check(WorkerProfile(register: message))
        var hardware = HardwareSummary(payload: message["payload"] ?? message)
        check(hardware)
        let update = HardwareSummary(payload: message["update"] ?? message)
        hardware.merge(update)
        check(hardware)
        let once = hardware
        hardware.merge(update)
        let isSame = hardware.memory == once.memory && hardware.gpus.map(\.memory) == once.gpus.map(\.memory)
        expect(isSame && hardware.headline == once.headline, "the same beat twice is another hardware")
        _ = WorkerModel.list(message)
    }

    static func check(_ profile: WorkerProfile) {
        check(profile.hardware)
        expect(profile.server.utf8.count <= 128, "a long server name")
        let offer = profile.offer
        expect(offer.endpoints.count <= 64 && offer.endpoints.allSatisfy { $0.utf8.count <= 128 }, "endpoints")
        expect(offer == offer.bounded(), "an offer that is larger than what a node keeps")
        expect(profile.capabilities.count <= Limits.workerCapabilityBytes, "much kept of capabilities")
        expect((0...Limits.workerSlots).contains(Int(offer.slots)), "\(offer.slots) slots")
        expect(profile.maxFrameBytes <= Limits.workerFrameBytes, "a frame size nobody takes")
    }

    static func check(_ hardware: HardwareSummary) {
        expect(hardware.gpus.count <= 64, "too many GPUs")
        expect(hardware.hostname.utf8.count <= 128 && hardware.platform.utf8.count <= 128, "long names")
        expect(hardware.totalVramMb >= 0 && hardware.gpuCount >= 0, "negative memory")
        let extra = hardware.gpus.reduce(hardware.extra.count) { $0 + $1.extra.count }
        expect(extra <= Limits.workerHardwareExtraBytes, "\(extra) bytes of other fields")
        for gpu in hardware.gpus {
            for size in [gpu.totalMb, gpu.availableMb, gpu.usedMb] {
                expect((0...(128 << 20)).contains(size ?? 0), "\(size ?? 0) MiB")
            }
        }
    }
}

extension [UInt8] {
    fileprivate func contains(_ needle: String.UTF8View) -> Bool {
        let wanted = Array(needle)
        guard count >= wanted.count else { return false }
        return indices.prefix(count - wanted.count + 1).contains { self[$0...].starts(with: wanted) }
    }
}
