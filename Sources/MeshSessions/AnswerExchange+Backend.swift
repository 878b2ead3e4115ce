package import MeshDialects
package import MeshModel
package import MeshWire

/// The same answer where it comes without frames: from a backend that this node asks itself.
extension AnswerExchange {
    /// Somebody is at it, and may need as long as a worker that says so.
    package mutating func workGoesOn(now: Instant) {
        patience = max(patience, now.advanced(byMilliseconds: Limits.backendPatienceMs))
    }

    /// An answer in one piece.
    package mutating func answered(_ whole: WholeAnswer, now: Instant) -> [Action] {
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
    package mutating func broke(_ failure: AnswerFailure) -> [Action] {
        guard case .streaming = state else { return failed(failure.error(by: answerer)) }
        return failed(failure.lateError(by: answerer))
    }
}
