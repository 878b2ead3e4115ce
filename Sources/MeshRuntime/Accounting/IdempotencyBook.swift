package import MeshAccounting
import MeshCrypto
import MeshExchange
package import MeshModel
import MeshWire
package import NIOCore
import Synchronization

/// An answer as it was given, to be given again.
package struct KeptAnswer: Sendable {
    package var status: Int
    package var fields: [HeaderField]
    package var body: ByteBuffer
    package var totals: AnswerTotals

    /// Says of an answer that it was given before.
    package static let mark = HeaderField.replayed
}

/// The requests that were asked with an idempotency key, at one side of this node: the shell of `IdempotencyTable`.
package final class IdempotencyBook: Sendable {
    package enum Verdict: Sendable {
        /// It is to be done, and watched.
        case first(IdempotentRequest)
        case replay(KeptAnswer)
        case refused(MeshError)
    }

    private let table = Mutex(IdempotencyTable<KeptAnswer>())

    package init() {}

    /// - Parameter mayRepeat: whether doing it again does no harm, when nobody knows what became of it.
    package func begin(_ mark: IdempotencyMark, _ fingerprint: Bytes32, mayRepeat: Bool) -> Verdict {
        switch table.withLock({ $0.begin(mark, fingerprint, now: SystemClock.instant) }) {
        case .first(let ticket): .first(IdempotentRequest(self, ticket, mark, mayRepeat: mayRepeat))
        case .kept(let answer): .replay(answer)
        case .underWay:
            .refused(
                MeshError(
                    .idempotencyInProgress,
                    "a request with this idempotency key is under way; ask again with it for the answer",
                    retryAfterSeconds: 1, retries: .init(shouldRetry: true, afterMs: 1_000)))
        case .spent:
            .refused(
                MeshError(
                    .idempotencyNoAnswer,
                    "a request with this idempotency key was done, and there is no answer of it to give again; use another key to have it done anew",
                    retries: .init(shouldRetry: false)))
        case .reused:
            .refused(
                MeshError(
                    .idempotencyKeyReused, "this idempotency key was used for another request; use a new one for each",
                    parameter: "idempotency-key", retries: .init(shouldRetry: false)))
        case .full:
            .refused(
                MeshError(
                    .rateLimited, "too many requests with idempotency keys are under way", retryAfterSeconds: 1))
        }
    }

    fileprivate func end(_ ticket: IdempotencyTable<KeptAnswer>.Ticket, _ ending: IdempotencyTable<KeptAnswer>.Ending) {
        table.withLock { $0.end(ticket, ending, now: SystemClock.instant) }
    }
}

/// One request that was asked with an idempotency key: keeps its answer while it passes. Whatever lets go of it without a
/// word ends it.
package final class IdempotentRequest: Sendable {
    private enum Phase {
        case waiting
        case answering(KeptAnswer)
        /// It is larger than what is kept.
        case tooLarge
        case over
    }

    /// What other nodes know it by.
    package let mark: IdempotencyMark
    private let book: IdempotencyBook
    private let ticket: IdempotencyTable<KeptAnswer>.Ticket
    private let mayRepeat: Bool
    private let phase = Mutex(Phase.waiting)

    fileprivate init(
        _ book: IdempotencyBook, _ ticket: IdempotencyTable<KeptAnswer>.Ticket, _ mark: IdempotencyMark,
        mayRepeat: Bool
    ) {
        self.book = book
        self.ticket = ticket
        self.mark = mark
        self.mayRepeat = mayRepeat
    }

    deinit { end(.forgotten) }

    package func began(status: Int, fields: [HeaderField]) {
        phase.withLock { phase in
            guard case .waiting = phase else { return }
            phase = .answering(KeptAnswer(status: status, fields: fields, body: ByteBuffer(), totals: AnswerTotals()))
        }
    }

    package func delivered(_ bytes: ByteBuffer) {
        phase.withLock { phase in
            guard case .answering(var answer) = phase else { return }
            phase = .tooLarge
            guard answer.body.readableBytes + bytes.readableBytes <= Limits.idempotencyAnswerBytes else { return }
            answer.body.writeImmutableBuffer(bytes)
            phase = .answering(answer)
        }
    }

    /// Whether the answer is longer than what is kept: whoever comes again for it gets nothing of it.
    package var isTooLarge: Bool {
        phase.withLock { phase in if case .tooLarge = phase { true } else { false } }
    }

    /// The answer is whole.
    package func ended(_ totals: AnswerTotals) {
        let ending = phase.withLock { phase -> IdempotencyTable<KeptAnswer>.Ending in
            switch phase {
            // Whoever asks again may be luckier.
            case .answering(let answer) where answer.status >= 500 || answer.status == 429 || answer.status == 408:
                return .forgotten
            case .answering(var answer):
                answer.totals = totals
                return .kept(answer, bytes: answer.body.readableBytes + Self.overhead)
            case .tooLarge: return .spent
            case .waiting, .over: return .forgotten
            }
        }
        end(ending)
    }

    /// There is no answer, or no more of it.
    package func failed(_ code: ErrorCode) {
        let isUndone = phase.withLock { phase -> Bool in
            if case .waiting = phase { return code.retry != .ifRepeatable }
            return false
        }
        end(isUndone || mayRepeat ? .forgotten : .spent)
    }

    private func end(_ ending: IdempotencyTable<KeptAnswer>.Ending) {
        let isFirst = phase.withLock { phase -> Bool in
            if case .over = phase { return false }
            phase = .over
            return true
        }
        if isFirst { book.end(ticket, ending) }
    }

    /// What an answer takes beside its body, about.
    private static let overhead = 2_048
}
