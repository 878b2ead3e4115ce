package import MeshModel
package import MeshWire
package import NIOCore

/// Who gets an answer: a buyer's connection, or another node's. Called on the exchange's event loop.
package protocol AnswerWriter: AnyObject {
    /// Whether the connection takes more now.
    var isWritable: Bool { get }

    /// Whoever answers says that it is at work.
    func answerIsPending()
    func answerBegan(_ head: AnswerHead, from source: AnswerSource)
    /// Bytes of the answer; of a stream of events whole ones, without an end marker.
    func answerContinued(_ bytes: ByteBuffer)
    /// What stands in a stream where another place goes on with it.
    func markOfResumption(from source: AnswerSource) -> ByteBuffer
    /// What was written may wait no longer.
    func flush()
    /// The answer is complete. Nothing follows.
    func answerEnded(_ totals: AnswerTotals)
    /// There is no answer, or, behind a head, no more of it. Nothing follows.
    func answerFailed(_ error: MeshError, from source: AnswerSource)
    /// The reader was too slow. Nothing follows.
    /// - Parameter closing: what brings the event under way to its end; nil where nothing can.
    func answerWasCut(closing: ByteBuffer?)
}

extension AnswerWriter {
    package func markOfResumption(from source: AnswerSource) -> ByteBuffer { ByteBuffer() }
}

/// Where an answer comes from, or whose failure it is.
package struct AnswerSource: Sendable {
    /// Nil when none was found.
    package var place: (any Place)?
    /// How many places were asked.
    package var attempts: Int
    /// How the request has waited for a place; nil where it has not.
    package var wait: QueueWait?
}

/// A request's waiting for somebody who is free, or back.
package struct QueueWait: Hashable, Sendable {
    /// Its place in the line when it came, from 1.
    package var position: Int
    package var milliseconds: Int64

    package init(position: Int, milliseconds: Int64) {
        self.position = position
        self.milliseconds = milliseconds
    }
}
