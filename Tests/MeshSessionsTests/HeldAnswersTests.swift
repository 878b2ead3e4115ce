import MeshModel
import MeshSessions
import Testing

@Suite struct HeldAnswersTests {
    @Test func unfinishedAnswersOfOneWorkerAreBoundedTogether() {
        var held = HeldAnswers(limit: 100)
        func take(_ steps: [(bytes: Int, request: UInt64)]) -> [Bool] {
            steps.map { held.takes($0.bytes, of: $0.request) }
        }
        #expect(take([(60, 1), (40, 2), (1, 3)]) == [true, true, false])
        held.ended(3)
        // One that shrinks is never the one too many.
        #expect(take([(39, 2), (1, 4), (61, 1), (59, 1)]) == [true, true, false, true])
        held.ended(1)
        held.ended(1)
        held.ended(9)
        #expect(take([(60, 5), (61, 5)]) == [true, false])
    }

    @Test func anExchangeTellsWhatItHolds() {
        let half = #"{"event":"chunk","payload":"data: {\"a\":\"xxxx"}"#
        var stream = AnswerExchange(stream: true)
        #expect(stream.heldBytes == 0)
        _ = stream.receive(half)
        #expect(stream.heldBytes == 16)
        _ = stream.receive(#"{"event":"chunk","payload":"\"}\n\n"}"#)
        #expect(stream.heldBytes == 0)
        var document = AnswerExchange(stream: false)
        _ = document.receive(half)
        #expect(document.heldBytes == 16)
        var other = AnswerExchange(stream: true)
        _ = other.receive(#"{"event":"chunk","payload":"{\"a\":"}"#)
        #expect(other.heldBytes == 5)
    }
}
