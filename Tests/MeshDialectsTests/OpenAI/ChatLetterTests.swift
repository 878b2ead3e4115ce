import MeshDialects
import MeshModel
import MeshWire
import Testing

/// A chat's stream as programs hold it to the letter, whatever the worker sends.
@Suite struct ChatLetterTests {
    private static func passed(_ deltas: [String], hasTools: Bool = true) -> [String] {
        var letter = ChatLetter(hasTools: hasTools)
        return deltas.map { delta in
            let chunk =
                delta.hasPrefix("=")
                ? String(delta.dropFirst()) : #"{"id":"chatcmpl-7f","choices":[{"index":0,"delta":\#(delta)}]}"#
            let events = Array(": a\n\ndata: \(chunk)\n\ndata: 1\n\n".utf8)
            let passed = events.withUnsafeBytes { letter.mended($0) } ?? events
            let event = String(decoding: passed, as: UTF8.self)
            #expect(event.hasPrefix(": a\n\ndata: ") && event.hasSuffix("\n\ndata: 1\n\n"))
            let text = event.dropFirst(": a\n\ndata: ".count).dropLast("\n\ndata: 1\n\n".count)
            guard !delta.hasPrefix("="), let start = text.firstRange(of: #""delta":"#)?.upperBound else {
                return "=" + text
            }
            return String(text[start...].dropLast(3))
        }
    }

    struct Row: Sendable, CustomStringConvertible {
        var description: String
        var sent: [String]
        /// Nil: as it was sent.
        var passed: [String]?
    }

    static let rows = [
        Row(description: "all of it is there", sent: [#"{"role":"assistant","content":""}"#, #"{"content":"a"}"#]),
        Row(description: "in one piece", sent: [#"{"role":"assistant","content":"a"}"#, #"{"content":"b"}"#]),
        Row(
            description: "nobody speaks", sent: [#"{"content":"a"}"#, #"{"content":"b"}"#],
            passed: [#"{"role":"assistant","content":"a"}"#, #"{"content":"b"}"#]),
        Row(
            description: "calls to the letter",
            sent: [
                #"{"role":"assistant","content":null}"#,
                #"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#,
                #"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#,
                #"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}"#,
            ]),
        Row(
            description: "no numbers and no types",
            sent: [
                #"{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}"#,
                #"{"tool_calls":[{"function":{"arguments":"}"}}]}"#,
                #"{"tool_calls":[{"id":"b","function":{"name":"g","arguments":"{}"}}]}"#,
            ],
            passed: [
                #"{"role":"assistant","tool_calls":[{"index":0,"type":"function","id":"a","function":{"name":"f","arguments":"{"}}]}"#,
                #"{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}"#,
                #"{"tool_calls":[{"index":1,"type":"function","id":"b","function":{"name":"g","arguments":"{}"}}]}"#,
            ]),
        Row(
            description: "each piece of a call has an id of its own",
            sent: [
                #"{"role":"assistant","tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{"}}]}"#,
                #"{"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"","arguments":"1"}}]}"#,
                #"{"tool_calls":[{"index":0,"id":"y","function":{"arguments":"}"}}]}"#,
                #"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}"#,
            ],
            passed: [
                #"{"role":"assistant","tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{"}}]}"#,
                #"{"tool_calls":[{"index":0,"id":null,"type":"function","function":{"name":"","arguments":"1"}}]}"#,
                #"{"tool_calls":[{"index":0,"id":null,"function":{"arguments":"}"}}]}"#,
                #"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}"#,
            ]),
        Row(
            description: "every call has the same number",
            sent: [
                #"{"role":"assistant","tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}"#,
                #"{"tool_calls":[{"index":0,"id":"b","type":"function","function":{"name":"g","arguments":"{"}}]}"#,
                #"{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}"#,
            ],
            passed: [
                #"{"role":"assistant","tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}"#,
                #"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{"}}]}"#,
                #"{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}"#,
            ]),
        Row(
            description: "no id, and numbers that begin at one",
            sent: [
                #"{"role":"assistant","tool_calls":[{"index":1,"id":null,"function":{"name":"f","arguments":"{}"}},{"index":2}]}"#
            ],
            passed: [
                #"{"role":"assistant","tool_calls":[{"type":"function","index":0,"id":"call_chatcmpl7f_0_0","function":{"name":"f","arguments":"{}"}},{"id":"call_chatcmpl7f_0_1","type":"function","function":{},"index":1}]}"#
            ]),
        Row(
            description: "several choices, each with calls of its own",
            sent: [
                #"{"role":"assistant","content":"x"}"#,
                #"={"choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"id":"b","type":"function","function":{"name":"g"}}]}},{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f"}}]}}]}"#,
            ]),
        Row(
            description: "streams of others are none of it",
            sent: [#"={"type":"response.created","role":"x"}"#, #"={"type":"x","tool_calls":[{}]}"#]),
    ]

    @Test(arguments: rows) func everyStream(row: Row) {
        let passed = Self.passed(row.sent)
        #expect(passed == row.passed ?? row.sent, "\(passed)")
    }

    /// Where no tools were given nothing is looked at behind the beginning.
    @Test func whatCannotCallIsDone() {
        #expect(
            Self.passed([#"{"content":"a"}"#, #"{"tool_calls":[{}]}"#], hasTools: false) == [
                #"{"role":"assistant","content":"a"}"#, #"{"tool_calls":[{}]}"#,
            ])
        var letter = ChatLetter(hasTools: false)
        #expect(!letter.isDone)
        let nothing = Array(": waiting\n".utf8).withUnsafeBytes { letter.mended($0) }
        #expect(nothing == nil && !letter.isDone)
        _ = Array(#"data: {"choices":[{"delta":{"role":"assistant"}}]}"#.utf8).withUnsafeBytes { letter.mended($0) }
        #expect(letter.isDone)
    }
}
