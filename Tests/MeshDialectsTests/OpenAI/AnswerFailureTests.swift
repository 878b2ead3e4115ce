import MeshDialects
import MeshModel
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

    @Test func oneThatSleepsSaysSo() {
        let error = AnswerFailure(text: "it did not wake", code: "backend_asleep").error(by: .provider)
        #expect(error.code == .workerUnavailable && error.message == "the provider says: it did not wake")
        #expect(error.retryAfterSeconds == Limits.sleeperRetryAfterSeconds)
    }
}
