import MeshModel
import MeshWire
import Testing

/// The head and the end of a forwarded answer, as they stand on the wire.
@Suite struct ForwardAnswerHeadTests {
    private static func lines(_ fields: [HeaderField]) -> [String] {
        fields.map { "\($0.name): \($0.value)" }
    }

    @Test func anAnswerKeepsItsGoldenFields() {
        let head = AnswerHead(
            status: 206, contentType: "audio/mpeg", length: 5,
            fields: [HeaderField("content-range", "bytes 0-4/9"), HeaderField("etag", "\"a\"")])
        let answer = ForwardAnswerHead.answer(head, worker: "00112233aabb")
        #expect(
            Self.lines(answer.fields) == [
                "content-type: audio/mpeg", "aisbf-worker: 00112233aabb", "content-range: bytes 0-4/9", "etag: \"a\"",
                "content-length: 5",
            ])
        #expect(ForwardAnswerHead.read(status: 206, fields: answer.fields) == answer)
    }

    @Test func aFailureKeepsItsGoldenFields() {
        let failure = ForwardAnswerHead.failure(code: "worker_busy", status: 503, retryAfterSeconds: 2)
        #expect(
            Self.lines(failure.fields) == [
                "content-type: application/json", "aisbf-error: worker_busy", "retry-after: 2",
            ])
        #expect(ForwardAnswerHead.read(status: 503, fields: failure.fields) == failure)
        let refused = ForwardAnswerHead.failure(
            code: "worker_error", status: 502, retryAfterSeconds: nil, cause: .credentials)
        #expect(refused.fields.map(\.name) == ["content-type", "aisbf-error", "aisbf-cause"])
        #expect(ForwardAnswerHead.read(status: 502, fields: refused.fields) == refused)
        let odd = refused.fields.map { $0.name == "aisbf-cause" ? HeaderField($0.name, "anything") : $0 }
        #expect(
            ForwardAnswerHead.read(status: 502, fields: odd)
                == .failure(code: "worker_error", status: 502, retryAfterSeconds: nil))
        let late = ForwardAnswerHead.read(
            status: 503, fields: [HeaderField("aisbf-error", "worker_busy"), HeaderField("retry-after", "999999")])
        #expect(late == .failure(code: "worker_busy", status: 503, retryAfterSeconds: Limits.retryAfterSeconds))
    }

    @Test(arguments: [100, 101, 103, 199, 204, 205, 304, 600, 0, -1]) func statusesThatNoAnswerHas(status: Int) {
        #expect(ForwardAnswerHead.read(status: status, fields: []) == nil)
    }

    @Test func whatMayNotPassIsLeftOut() {
        let read = ForwardAnswerHead.read(
            status: 200,
            fields: [
                HeaderField("content-type", "text/plain\r\nset-cookie: a"), HeaderField("set-cookie", "a"),
                HeaderField("aisbf-provider", "x"),
                HeaderField("content-length", "-5"), HeaderField("location", "http://a"), HeaderField("x-seed", "1"),
            ])
        #expect(
            read
                == .answer(
                    AnswerHead(status: 200, contentType: "application/json", fields: [HeaderField("x-seed", "1")]),
                    worker: nil))
    }

    // MARK: The end

    @Test func theEndKeepsItsGoldenTrailers() {
        var totals = AnswerTotals()
        (totals.promptTokens, totals.completionTokens, totals.totalTokens) = (12, 30, 42)
        (totals.finishReason, totals.bytes, totals.firstContentMs, totals.durationMs) = ("tool_calls", 1_234, 56, 789)
        let end = ForwardAnswerEnd.complete(totals)
        #expect(
            Self.lines(end.trailers) == [
                "aisbf-end: complete",
                "aisbf-totals: prompt=12, completion=30, total=42, bytes=1234, first=56, duration=789, finish=tool_calls",
            ])
        #expect(ForwardAnswerEnd(trailers: end.trailers) == end)
        let failed = ForwardAnswerEnd.failed(code: "stream_interrupted", words: "100 % gone: ä\n")
        #expect(
            Self.lines(failed.trailers) == [
                "aisbf-end: failed", "aisbf-error: stream_interrupted", "aisbf-message: 100 %25 gone: %C3%A4%0A",
            ])
        // A line break is none that anybody reads.
        #expect(
            ForwardAnswerEnd(trailers: failed.trailers)
                == .failed(code: "stream_interrupted", words: ""))
        let words = ForwardAnswerEnd.failed(code: "worker_error", words: "100 % gone: ä")
        #expect(ForwardAnswerEnd(trailers: words.trailers) == words)
    }

    /// The longest numbers that there are.
    @Test func theLongestTotalsAreTold() {
        var totals = AnswerTotals()
        (totals.promptTokens, totals.cachedTokens, totals.completionTokens) = (.min, .min, .min)
        (totals.totalTokens, totals.bytes, totals.firstContentMs, totals.durationMs) = (.min, .min, .min, .min)
        totals.finishReason = String(repeating: "f", count: 200)
        let text = ForwardAnswerEnd.complete(totals).trailers.last?.value ?? ""
        #expect(text.hasPrefix("prompt=-9223372036854775808, cached=-9223372036854775808, completion="))
        #expect(text.hasSuffix("duration=-9223372036854775808, finish=" + String(repeating: "f", count: 200)))
    }

    /// An entry node that is older reads the end in the stream, as it did.
    @Test(arguments: [true, false], [true, false]) func olderNodesAreToldTheOldWay(isComplete: Bool, isStream: Bool) {
        let end = isComplete ? ForwardAnswerEnd.complete(AnswerTotals()) : .failed(code: "worker_lost", words: "gone")
        #expect(end.telling(readsTrailers: true, isStream: isStream) == .trailers)
        let old: ForwardAnswerEnd.Telling = isStream ? .lastEvent : isComplete ? .plainEnd : .reset
        #expect(end.telling(readsTrailers: false, isStream: isStream) == old)
    }

    @Test func whatSaysNothingIsNoEnd() {
        #expect(ForwardAnswerEnd(trailers: []) == nil)
        #expect(ForwardAnswerEnd(trailers: [HeaderField("aisbf-end", "maybe")]) == nil)
        #expect(ForwardAnswerEnd(trailers: [HeaderField("aisbf-totals", "total=1")]) == nil)
        #expect(!ForwardAnswerEnd.isRequested(by: [HeaderField("te", "gzip")]))
        #expect(ForwardAnswerEnd.isRequested(by: [HeaderField("a", "b"), HeaderField("te", "trailers")]))
    }

    /// What is told counts, and what is not is not known.
    @Test func halfToldEnds() {
        #expect(ForwardAnswerEnd(trailers: [HeaderField("aisbf-end", "complete")]) == .complete(AnswerTotals()))
        #expect(ForwardAnswerEnd(trailers: [HeaderField("aisbf-end", "failed")]) == .failed(code: "", words: ""))
        var totals = AnswerTotals()
        totals.promptTokens = 12
        totals.durationMs = 7
        for text in ["prompt=12, duration=7", "duration=7,prompt=12", "prompt=12, finish=, total=x, duration=7"] {
            #expect(
                ForwardAnswerEnd(trailers: [HeaderField("aisbf-totals", text), HeaderField("aisbf-end", "complete")])
                    == .complete(totals))
        }
    }

    @Test(
        arguments: [
            "prompt=-1", "prompt=1e3", "prompt=9999999999999999", "prompt", "=1", "prompt=", "finish=a b",
            "finish=\u{e4}", "finish=" + String(repeating: "a", count: 33), String(repeating: "a=1,", count: 200),
            "prompt=1" + String(repeating: ",x=1", count: 200),
        ])
    func totalsThatAreNoneAreLeftOut(text: String) {
        #expect(
            ForwardAnswerEnd(trailers: [HeaderField("aisbf-end", "complete"), HeaderField("aisbf-totals", text)])
                == .complete(AnswerTotals()))
    }

    /// Words of any length and kind fit into a header, and none is cut in the middle of a character.
    @Test(arguments: [0, 1, 499, 500, 999, 1_000, 1_001, 5_000], ["a", "ä", "👍", "%", "\u{0}"])
    func wordsOfAnyLength(count: Int, character: String) throws {
        let end = ForwardAnswerEnd.failed(code: "worker_error", words: String(repeating: character, count: count))
        let message = try #require(end.trailers.last?.value)
        #expect(message.utf8.allSatisfy { (0x20..<0x7F).contains($0) })
        #expect(message.utf8.count <= 3 * 2 * Limits.foreignWordsBytes)
        guard case .failed(_, let words)? = ForwardAnswerEnd(trailers: end.trailers) else {
            Issue.record("no end")
            return
        }
        let kept = min(count, 2 * Limits.foreignWordsBytes / character.utf8.count)
        #expect(words == (character == "\u{0}" && count > 0 ? "" : String(repeating: character, count: kept)))
    }
}
