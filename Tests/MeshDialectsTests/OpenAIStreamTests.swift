import MeshDialects
import MeshModel
import MeshWire
import Testing

/// How a stream of events ends, as buyers' programs and older nodes read it.
@Suite struct OpenAIStreamTests {
    private static func text(_ end: ForwardAnswerEnd) -> String {
        String(decoding: OpenAIStream.end(end, requestID: "req_1"), as: UTF8.self)
    }

    @Test func aCompleteOneEndsWithItsMarker() {
        #expect(Self.text(.complete(AnswerTotals())) == "data: [DONE]\n\n")
        var told = AnswerTotals()
        told.isInBody = true
        #expect(Self.text(.complete(told)).isEmpty)
    }

    @Test func aFailureIsOneEvent() {
        #expect(
            Self.text(.failed(code: "worker_error", words: "a\nb"))
                == #"data: {"error":{"message":"a\nb","type":"server_error","param":null,"code":"worker_error","request_id":"req_1"}}"#
                + "\n\n")
        #expect(Self.text(.failed(code: "none of ours", words: "x")).contains("stream_interrupted"))
    }
}
