import MeshDialects
import MeshModel
import Testing

/// Where the answer itself begins in a stream of events.
@Suite struct FirstContentTests {
    static let role = #"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#

    static func finding(_ text: String) -> FirstContent.Finding {
        var content = FirstContent()
        return content.append(Array(text.utf8))
    }

    @Test(arguments: [
        role, ": a comment", "event: ping", #"data: {"choices":[]}"#,
        #"data: {"choices":[{"delta":{}}]}"#, #"data: {"choices":[{"delta":{"content":null,"tool_calls":[]}}]}"#,
        #"data: {"choices":[{"delta":{"role":"assistant","content":"","reasoning_content":"","refusal":null}}]}"#,
        #"data: {"choices":[{"text":"","finish_reason":null}]}"#,
        #"data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
        #"data: {"id":"chatcmpl-load","choices":[{"delta":{"content":"loading 10%"}}]}"#,
    ])
    func noContent(event: String) {
        #expect(Self.finding(event + "\n\n") == .none)
        #expect(Self.finding(event + "\r\n\r\n") == .none)
        // It is kept for when there is some.
        var content = FirstContent()
        _ = content.append(Array((event + "\n\n").utf8))
        #expect(content.append(Array("data: x\n\n".utf8)) == .content)
        #expect(content.release() == Array((event + "\n\ndata: x\n\n").utf8))
    }

    @Test(arguments: [
        "data: x", "data: 1", "data: [DONE]", #"data: {"a":1}"#, #"data: {"type":"response.created"}"#,
        #"data: {"choices":[{"delta":{"content":" "}}]}"#, #"data: {"choices":[{"delta":{"reasoning":"hm"}}]}"#,
        #"data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]}}]}"#,
        #"data: {"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}"#,
        #"data: {"choices":[{"text":"a"}]}"#, #"data: {"choices":[{"delta":{}},{"delta":{"content":"b"}}]}"#,
    ])
    func content(event: String) { #expect(Self.finding(event + "\n\n") == .content) }

    @Test func anErrorBehindARoleIsAFailure() {
        let error = "data: {\"error\":{\"message\":\"full\",\"code\":\"overloaded\"}}\n\n"
        guard case .failure(let failure) = Self.finding(Self.role + "\n\n" + error) else {
            Issue.record("no failure")
            return
        }
        #expect(failure.code == .workerBusy && failure.message.contains("full"))
        // Without its blank line it is one at the end.
        var cut = FirstContent()
        #expect(cut.append(Array((Self.role + "\n\n" + error.dropLast(2)).utf8)) == .none)
        guard case .failure = cut.finish() else {
            Issue.record("no failure at the end")
            return
        }
    }

    @Test func anySplitFindsTheSame() {
        let bytes = Array(
            (Self.role + "\n\n: x\n\n" + Self.role + "\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n")
                .utf8)
        for cut in 1..<bytes.count {
            var content = FirstContent()
            let first = content.append(Array(bytes[..<cut]))
            #expect(first == .none)
            #expect(content.append(Array(bytes[cut...])) == .content)
            #expect(content.release() == bytes)
        }
    }

    @Test func whatIsHeldIsBounded() {
        var many = FirstContent()
        for _ in 0..<Limits.eventsBeforeContent { #expect(many.append(Array(": x\n\n".utf8)) == .none) }
        #expect(many.append(Array(": x\n\n".utf8)) == .content)
        var large = FirstContent()
        #expect(large.append([UInt8](repeating: 0x3A, count: Limits.streamBufferBytes)) == .none)
        #expect(large.append([0x3A]) == .content)
        // A role is no content, however long it is.
        let front = #"data: {"choices":[{"delta":{"role":""#
        let back = #""}}]}"#
        let room = 4_096 - front.utf8.count - back.utf8.count
        #expect(Self.finding(front + String(repeating: "r", count: room) + back + "\n\n") == .none)
        #expect(Self.finding(front + String(repeating: "r", count: room + 1) + back + "\n\n") == .none)
    }
}
