import MeshDialects
package import MeshExchange
import MeshModel
package import MeshWire
package import NIOCore

/// Hears one answer and counts the tokens of it, for whoever's account it is: the buyer's at the entry node, the seller's
/// where there is a quota.
///
/// Most workers tell at the end how many there were. The bytes of a document are therefore kept until then, and counted
/// only when nobody told; a stream, and a document above `Limits.meteredDocumentBytes`, is counted while it passes.
package struct AnswerMeter: Sendable {
    /// Whether what comes back is a text of tokens that are paid for.
    private let answersText: Bool
    private var tally: AnswerTally
    private var held: [ByteBuffer] = []
    private var heldBytes = 0
    private var keeps = false
    /// Whether the answer is one that counts: a refusal that came through is none of the seller's work.
    package private(set) var isServed = false
    /// Whether its text is counted where nobody tells.
    package private(set) var isRead = false

    package init(_ request: WorkRequest) {
        answersText = request.need.answersText
        tally = AnswerTally(isResponses: request.need.endpoint?.family == .responses)
    }

    package mutating func began(_ head: AnswerHead) {
        isServed = head.status < 400
        isRead = answersText && AnswerTally.counts(head)
        keeps = !head.isEventStream
    }

    package mutating func delivered(_ bytes: ByteBuffer) {
        guard isRead else { return }
        guard keeps else { return tally.add(bytes) }
        heldBytes += bytes.readableBytes
        held.append(bytes)
        if heldBytes > Limits.meteredDocumentBytes {
            keeps = false
            countHeld()
        }
    }

    /// Nothing of it was passed on.
    package mutating func withdrawn() { isServed = false }

    /// The tokens that were written.
    /// - Parameter told: what whoever answered says; nil where nobody told.
    package mutating func tokens(told: Int64?) -> Int64 {
        if let told { return told }
        countHeld()
        return tally.tokens
    }

    /// How the answer calls itself. Ask once, behind `tokens`.
    package mutating func answerID() -> String? {
        for bytes in held where tally.answerID == nil { bytes.withUnsafeReadableBytes { tally.findID($0) } }
        held = []
        return tally.answerID
    }

    private mutating func countHeld() {
        for bytes in held { tally.add(bytes) }
        held = []
    }
}

extension AnswerTally {
    fileprivate mutating func add(_ bytes: ByteBuffer) { bytes.withUnsafeReadableBytes { add($0) } }
}
