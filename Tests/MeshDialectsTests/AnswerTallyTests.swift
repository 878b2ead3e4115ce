import MeshDialects
import Testing

@Suite struct AnswerTallyTests {
    private static func tokens(_ text: String, pieces: Int = .max, isResponses: Bool = false) -> Int64 {
        var tally = AnswerTally(isResponses: isResponses)
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            Array(rest.prefix(pieces)).withUnsafeBytes { tally.add($0) }
            rest = rest.dropFirst(pieces)
        }
        return tally.tokens
    }

    private static let text = "The quick brown fox jumps over 12 lazy dogs, doesn't it?"
    private static let events = ["The quick", " brown fox", " jumps over 12", " lazy dogs, doesn't it?"].map {
        #"data: {"id":"content","choices":[{"index":0,"delta":{"role":"assistant", "content" : "\#($0)"}}]}"# + "\n\n"
    }.joined()

    @Test func eventsCountAsTheirText() {
        let expected = TokenEstimate.tokens(of: Self.text)
        #expect(Self.tokens(Self.events) == expected)
        #expect(Self.tokens(#"{"choices":[{"message":{"content":"\#(Self.text)"}}],"usage":null}"#) == expected)
    }

    @Test(arguments: [1, 2, 3, 7, 64]) func itMayBeCutAnywhere(pieces: Int) {
        #expect(Self.tokens(Self.events, pieces: pieces) == Self.tokens(Self.events))
        let escaped = #"{"content":"a \"quoted\" word\nand \\ more"}"#
        #expect(Self.tokens(escaped, pieces: pieces) > 0)
        #expect(Self.tokens(escaped + escaped, pieces: pieces) > Self.tokens(escaped, pieces: pieces))
    }

    @Test(arguments: [
        #"{"id":"chatcmpl-content","model":"text","role":"assistant"}"#, #"{"content":null,"text":17,"arguments":{}}"#,
        #"{"a\"content":"hidden"}"#, #"["content","text"]"#, ": waiting\n\n", "data: [DONE]\n\n", "",
    ])
    func whatNoModelWroteCountsNothing(text: String) { #expect(Self.tokens(text) == 0) }

    @Test func responsesAreCountedOnce() {
        let text =
            #"{"type":"response.output_text.delta","delta":"Hello there"}{"type":"response.output_text.done","text":"Hello there"}"#
        #expect(Self.tokens(text, isResponses: true) == TokenEstimate.tokens(of: "Hello there"))
    }

    @Test(arguments: [
        (#"data: {"id":"chatcmpl-1","choices":[{"id":"x"}]}"#, "chatcmpl-1"), (#"{"object":"id","id" : "a"}"#, "a"),
        (#"{"type":"response.created","response":{"id":"resp_1"}}"#, "resp_1"), (#"{"id":17}"#, nil),
        (#"{"id":""}"#, nil), (#"{"id":"a\"b","model":"m"}"#, nil),
    ])
    func theAnswersOwnID(text: String, id: String?) {
        var tally = AnswerTally()
        for byte in text.utf8 { withUnsafeBytes(of: byte) { tally.add($0) } }
        #expect(tally.answerID == id)
    }
}
