import MeshDialects
import MeshModel
import MeshWire
import Testing

/// What a failure is about beside its code.
@Suite struct AnswerFailureTests {
    @Test(
        arguments: [
            ("backend_refused", FailureCause.credentials), ("backend_denied", nil), ("backend_unreachable", nil),
            ("invalid_api_key", nil), (nil, nil),
        ] as [(String?, FailureCause?)])
    func aWorkersCodeTellsOfItsAccount(code: String?, cause: FailureCause?) {
        #expect(AnswerFailure(text: "no", code: code).error().cause == cause)
        #expect(
            AnswerFailure(text: "no", code: code, cause: .billing).error(by: .provider).cause ?? .billing == .billing)
    }

    @Test(arguments: [
        (#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, 503, true),
        (#"{"error":"Model org/m is currently loading","estimated_time":20.0}"#, 503, true),
        (#"{"detail":"The model is still loading, please wait"}"#, 503, true),
        ("the server is starting up", 503, true), (#"{"error":{"message":"Loading model"}}"#, 500, false),
        (#"{"error":{"message":"loading the tool failed"}}"#, 503, false), ("", 503, false),
    ]) func aModelThatIsBeingLoadedIsUnavailableForAMoment(body: String, status: Int, isLoading: Bool) {
        let whole = WholeAnswer(
            head: AnswerHead(status: status, contentType: "application/json"), body: Array(body.utf8), source: .bytes)
        guard case .failure(let error) = AnswerFailure.answer(for: whole, isChat: true) else {
            #expect(!isLoading, "\(body)")
            return
        }
        #expect((error.code == .workerUnavailable) == isLoading, "\(error)")
        if isLoading { #expect(error.retryAfterSeconds == Limits.sleeperRetryAfterSeconds) }
    }

    /// Whoever says when it is ready is taken at its word, and a reply frame has no status.
    @Test func wordsOfLoadingElsewhere() {
        let head = AnswerHead(
            status: 503, contentType: "application/json", fields: [HeaderField("retry-after", "40")])
        let whole = WholeAnswer(
            head: head, body: Array(#"{"error":{"message":"Loading model"}}"#.utf8), source: .bytes)
        guard case .success(let told) = AnswerFailure.answer(for: whole, isChat: true) else {
            Issue.record("its own word has gone")
            return
        }
        #expect(told.head.status == 503)
        #expect(AnswerFailure(text: "Loading model", code: "worker_error").error().code == .workerUnavailable)
        #expect(AnswerFailure(text: "Loading model", code: "context_overflow").error().code != .workerUnavailable)
    }

    @Test func oneThatSleepsSaysSo() {
        let error = AnswerFailure(text: "it did not wake", code: "backend_asleep").error(by: .provider)
        #expect(error.code == .workerUnavailable && error.message == "the provider says: it did not wake")
        #expect(error.retryAfterSeconds == Limits.sleeperRetryAfterSeconds)
    }
}
