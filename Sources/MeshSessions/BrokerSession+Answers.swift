import MeshDialects
import MeshModel
import MeshWire

/// Answers to the node's own questions.
extension BrokerSession {
    /// Only the answers to the newest questions count, and each only once.
    mutating func answered(
        _ number: UInt64, _ event: WorkerFrame.ReplyEvent, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer,
        now: Instant
    ) -> [Action] {
        let isForModels = models.isAsked(number)
        guard isForModels || capabilities.isAsked(number) else { return bad(now) }
        switch event {
        case .answer, .done, .error: break
        case .start:
            let status = WorkerAnswer.start(frame, in: bytes)?.status ?? 502
            gathered = isForModels ? GatheredAnswer(number: number, status: status) : nil
            return []
        case .pending, .credit, .chunk, .progress, .heartbeat, .ignored: return []
        }
        models.close(number)
        capabilities.close(number)
        if isForModels { return modelsAnswered(number, event, frame, bytes, now: now) }
        let document =
            event == .error
            ? nil
            : Self.body(frame, bytes, limit: Limits.workerRegisterBytes)
                .flatMap(BareNumbers.parse)
        if let document, profile.take(answer: document) {
            capabilities.settle()
            return [.profileChanged(profile)]
        }
        capabilities.failed(now: now)
        // An error is an answer, if not a good one. What cannot be read is counted.
        return event == .error || Self.isRefusal(frame, bytes) ? [] : bad(now)
    }

    private mutating func modelsAnswered(
        _ number: UInt64, _ event: WorkerFrame.ReplyEvent, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer,
        now: Instant
    ) -> [Action] {
        let parts = gathered?.number == number ? gathered : nil
        gathered = nil
        var body: [UInt8]?
        switch (event, parts) {
        case (.error, _): break
        case (_, .some(let parts)): body = parts.status < 400 ? parts.body : nil
        case (_, nil): body = Self.body(frame, bytes, limit: Limits.workerListAnswerBytes)
        }
        if let body {
            let fingerprint = Fingerprint(body)
            if fingerprint == lastList {
                models.answered(now: now)
                return []
            }
            if let listed = WorkerModel.list(of: body) {
                models.answered(now: now)
                lastList = fingerprint
                return [.modelsListed(listed)]
            }
        }
        models.failed(now: now)
        // An error is an answer, if not a good one. What cannot be read is counted.
        let isRefused = event == .error || (parts?.status).map { $0 >= 400 } ?? Self.isRefusal(frame, bytes)
        return isRefused ? [] : bad(now)
    }

    /// Bytes of an answer to a question of the node. They are kept up to a bound, and paid for with credit at once.
    mutating func gather(_ part: UnsafeRawBufferPointer, of number: UInt64, now: Instant) -> [Action] {
        guard gathered?.number == number, models.isAsked(number) else { return bad(now) }
        guard (gathered?.body.count ?? 0) + part.count <= Limits.workerListAnswerBytes else {
            gathered = nil
            models.close(number)
            models.failed(now: now)
            return bad(now)
        }
        gathered?.body.append(contentsOf: part)
        return part.isEmpty ? [] : [.send(creditFrame(number: number, bytes: part.count))]
    }

    private static func body(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, limit: Int) -> [UInt8]? {
        guard let whole = WorkerAnswer.whole(frame, in: bytes), whole.head.status < 400, whole.body.count <= limit
        else { return nil }
        return whole.body
    }

    private static func isRefusal(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer) -> Bool {
        WorkerAnswer.whole(frame, in: bytes).map { $0.head.status >= 400 } ?? false
    }
}

/// An answer that comes in binary frames.
struct GatheredAnswer: Sendable {
    var number: UInt64
    var status: Int
    var body: [UInt8] = []
}

/// Tells two documents apart (FNV-1a and the length). Who makes two that look alike fools nobody but itself.
struct Fingerprint: Hashable, Sendable {
    private var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    private var count: Int

    init(_ bytes: [UInt8]) {
        count = bytes.count
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    }
}
