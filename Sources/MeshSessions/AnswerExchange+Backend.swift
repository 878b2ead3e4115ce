package import MeshModel

/// The same answer where it comes without frames: from a backend that this node asks itself.
extension AnswerExchange {
    /// Somebody is at it, and may need as long as a worker that says so.
    package mutating func workGoesOn(now: Instant) {
        patience = max(patience, now.advanced(byMilliseconds: Limits.backendPatienceMs))
    }

    /// An answer in one piece.
    package mutating func answered(_ whole: WorkerAnswer.Whole, now: Instant) -> [Action] {
        isFinished ? [] : noted(wholeArrived(whole), now)
    }

    /// The head of an answer whose bytes follow, as `binaryArrived` takes them.
    package mutating func began(_ head: AnswerHead, now: Instant) -> [Action] {
        guard !isFinished else { return [] }
        partArrived(now: now)
        return noted(startArrived(head), now)
    }

    /// Text of a stream of events, cut anywhere.
    package mutating func eventsArrived(_ text: [UInt8], now: Instant) -> [Action] {
        guard !isFinished else { return [] }
        partArrived(now: now)
        return noted(chunkArrived([.text(text)], nil, UnsafeRawBufferPointer(start: nil, count: 0)), now)
    }

    /// The backend has said all it says.
    package mutating func ended(now: Instant) -> [Action] { isFinished ? [] : noted(doneArrived(), now) }

    /// There is no answer, or no more of it.
    package mutating func broke(_ failure: WorkerFailure) -> [Action] {
        guard case .streaming = state else { return failed(failure.error()) }
        return failed(failure.lateError())
    }
}

extension WorkerAnswer.Whole {
    /// An answer that came over HTTP. Nil for a status that no answer with a body can have.
    package init?(status: Int, contentType: String, fields: [AnswerField], body: [UInt8]) {
        // "Done, nothing to say": an empty body of status 200 says the same, and cannot be framed in two ways.
        let status = body.isEmpty && (status == 204 || status == 205) ? 200 : status
        guard WorkerAnswer.isAnswerStatus(Int64(status)) else { return nil }
        let head = AnswerHead(status: status, contentType: contentType, length: body.count, fields: fields)
        let type = contentType.lowercased()
        let isText = head.isText || type.contains("json") || type.contains("xml")
        self.init(head: head, body: body, source: isText ? .text : .bytes)
    }
}
