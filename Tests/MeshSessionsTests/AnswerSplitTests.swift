import MeshModel
import MeshSessions
import MeshWire
import Testing

/// Chunks are raw reads: wherever they are cut, the buyer sees the same.
@Suite struct AnswerSplitTests {
    private static let parts = [
        "data: a", "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\": ä😀\"}}]}", "data: {\"error\":null}",
        "data: {\"error\":\"no\"}", "data: {\"error\":{\"code\":\"busy\",\"message\":\"no\"}}", "data: [DONE]", ": hi",
        "data: {\"id\":\"chatcmpl-load\"}", "event: x", "id: 1", "data: {\"usage\":{\"total_tokens\":3}}", "",
    ].map { Array($0.utf8) }
    private static let breaks = ["\n", "\n\n", "\n\n", "\n\n", "\r\n\r\n", "\r\r", "\r\n"].map { Array($0.utf8) }

    private static func pick<Element>(_ elements: [Element], _ random: inout SeededGenerator) -> Element {
        elements[Int(random.next() % UInt64(elements.count))]
    }

    /// `stream` in chunks of any size, as text where a cut splits no character, as base64 elsewhere or at random.
    private static func chunks(_ stream: [UInt8], _ random: inout SeededGenerator) -> [String] {
        var frames: [String] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let read = Array(rest.prefix(1 + Int(random.next() % 24)))
            rest = rest.dropFirst(read.count)
            guard String(validating: read, as: UTF8.self) != nil, random.next() % 3 > 0 else {
                let text = SessionFixtures.text(Base64.text(read))
                frames.append(#"{"event":"chunk","payload":{"data_base64":"\#(text)"}}"#)
                continue
            }
            var quoted: [UInt8] = []
            JSONText.appendQuoted(read, to: &quoted)
            frames.append(#"{"event":"chunk","payload":{"chunk":\#(SessionFixtures.text(quoted))}}"#)
        }
        return frames
    }

    @Test(arguments: [UInt64(1), 2, 3]) func anySplitOfAnyStreamHasTheSameOutcome(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for round in 0..<1_500 {
            var stream: [UInt8] = []
            for _ in 0..<Int(random.next() % 10) {
                // Errors and end markers now and then: most streams are content for a while.
                let rare = random.next() % 4 == 0
                stream += rare ? Self.pick(Self.parts, &random) : Self.parts[Int(random.next() % 3)]
                stream += Self.pick(Self.breaks, &random)
            }
            let end = random.next() % 4 == 0 ? #"{"ok":false,"error":"gone"}"# : AnswerStreamTests.end
            var quoted: [UInt8] = []
            JSONText.appendQuoted(stream, to: &quoted)
            let one = [#"{"event":"chunk","payload":\#(SessionFixtures.text(quoted))}"#, end]
            let expected = Outcome(stream: true, one)
            #expect(Outcome(stream: true, Self.chunks(stream, &random) + [end]) == expected, "round \(round)")
            #expect(expected.ends + expected.failures.count == 1)
            #expect(expected.body.components(of: "[DONE]") <= 1)
            guard end == AnswerStreamTests.end, !stream.isEmpty else { continue }
            let whole =
                #"{"payload":{"status_code":200,"content_type":"text/event-stream","body":\#(SessionFixtures.text(quoted))}}"#
            #expect(Outcome(stream: true, [whole]) == expected, "round \(round)")
        }
    }
}

extension String {
    /// How often `part`, which does not overlap itself, stands in the text.
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = utf8[...]
        while !rest.isEmpty {
            if rest.starts(with: part.utf8) { count += 1 }
            rest = rest.dropFirst()
        }
        return count
    }
}
