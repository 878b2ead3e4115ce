import MeshDialects
import MeshModel
import Testing

/// The numbers of a Responses stream that passes.
@Suite struct ResponsesNumbersTests {
    private static func passed(_ numbers: inout ResponsesNumbers, _ events: String) -> String {
        let bytes = Array(events.utf8)
        let mended = bytes.withUnsafeBytes { numbers.mended($0) }
        return String(decoding: mended ?? bytes, as: UTF8.self)
    }

    @Test func whatIsInOrderPassesAsItCame() {
        var numbers = ResponsesNumbers()
        let bytes = Array(
            "event: a\ndata: {\"type\":\"a\",\"sequence_number\":0}\n\ndata: {\"sequence_number\": 4}\n\n".utf8)
        #expect(bytes.withUnsafeBytes { numbers.mended($0) } == nil)
    }

    @Test func whatComesBehindAKeepAliveCountsOn() {
        var numbers = ResponsesNumbers()
        _ = Self.passed(&numbers, "data: {\"sequence_number\":6}\n\n")
        let quiet = "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":"
        #expect(String(decoding: numbers.keepAlive(), as: UTF8.self) == quiet + "7}\n\n")
        #expect(String(decoding: numbers.keepAlive(), as: UTF8.self) == quiet + "8}\n\n")
        #expect(
            Self.passed(&numbers, "data: {\"sequence_number\":7,\"a\":1}\n\ndata: {\"sequence_number\":8}\n\n")
                == "data: {\"sequence_number\":9,\"a\":1}\n\ndata: {\"sequence_number\":10}\n\n")
        let failure = numbers.failure(MeshError(.workerLost, "x"), requestID: "req_1")
        #expect(String(decoding: failure, as: UTF8.self).contains("\"sequence_number\":11"))
    }

    /// One that has none, or the same again.
    @Test func whatHasNoNumberGetsOne() {
        var numbers = ResponsesNumbers()
        #expect(
            Self.passed(
                &numbers, "data: {\"type\":\"a\"}\n\ndata: {}\n\ndata: {\"sequence_number\":1}\n\ndata: [1]\n\n")
                == "data: {\"sequence_number\":0,\"type\":\"a\"}\n\ndata: {\"sequence_number\":1}\n\ndata: {\"sequence_number\":2}\n\ndata: [1]\n\n"
        )
        let before = String(
            decoding: ResponsesNumbers().failure(MeshError(.workerLost, "x"), requestID: nil), as: UTF8.self)
        #expect(before.contains("\"sequence_number\":0"))
    }
}
