import MeshDialects
import Testing

/// Behind what another worker may go on with an answer.
@Suite struct StreamContinuationTests {
    private static func chunk(_ choices: String) -> String { #"data: {"choices":[\#(choices)]}"# + "\n\n" }
    private static func content(_ text: String) -> String { chunk(#"{"index":0,"delta":{"content":"\#(text)"}}"#) }

    private static func read(_ events: String...) -> StreamContinuation {
        var continuation = StreamContinuation()
        for event in events { continuation.append(Array(event.utf8)) }
        return continuation
    }

    @Test func theTextOfTheOneChoice() {
        let read = Self.read(
            ": waiting\n", Self.chunk(#"{"index":0,"delta":{"role":"assistant","content":""}}"#),
            Self.content("Gr\\u00fc\\n") + Self.content("ße 🌍"), Self.chunk(""),
            Self.chunk(#"{"index":0,"delta":{"content":"!","refusal":null,"tool_calls":[]},"finish_reason":null}"#))
        #expect(String(decoding: read.text, as: UTF8.self) == "Grü\nße 🌍!")
        #expect(read.isPossible)
    }

    @Test(arguments: [
        chunk(#"{"index":1,"delta":{"content":"b"}}"#), chunk(#"{"index":0,"delta":{}},{"index":1,"delta":{}}"#),
        chunk(#"{"index":0,"delta":{"tool_calls":[{"index":0}]}}"#), chunk(#"{"index":0,"delta":{"reasoning":"hm"}}"#),
        chunk(#"{"index":0,"delta":{"audio":{"id":"x"}}}"#), chunk(#"{"index":0,"delta":{},"finish_reason":"stop"}"#),
        "data: {\"error\":{}}\n\n", "data: {broken\n\n", chunk("7"), content(String(repeating: "x", count: 256 << 10)),
    ])
    func whatElseEndsIt(event: String) {
        #expect(Self.read(Self.content("a")).isPossible)
        #expect(!Self.read(Self.content("a"), event, Self.content("b")).isPossible)
    }

    @Test func nothingToGoOnBehind() {
        #expect(!Self.read().isPossible)
        #expect(!Self.read(Self.content("")).isPossible)
    }
}
