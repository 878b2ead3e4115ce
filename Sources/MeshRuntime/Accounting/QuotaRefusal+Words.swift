package import MeshAccounting
package import MeshModel

extension QuotaRefusal {
    /// What the buyer is told: which limit, what is left, when it resets, and whether trying again helps.
    package func told(at now: Timestamp) -> MeshError {
        switch cause {
        case .forbidden: return forbidden
        case .currency(let other):
            return final(
                .budgetExceeded,
                "\(about) is in \(currency), and a provider that may answer asks for \(other): nothing could be counted"
            )
        case .tooLarge:
            return final(
                exceeded, "the request may use \(shown(needed)), and \(about) is \(shown(amount)) in all; \(advice)")
        case .notGranted:
            return MeshError(
                .limitUnavailable, "\(about) is being written down; try again in a moment", retryAfterSeconds: 1,
                retries: .init(shouldRetry: true, afterMs: fitsAfterMs))
        case .storeFailed:
            return MeshError(
                .limitUnavailable,
                "this node cannot write down what is spent, so nothing that costs money is let in where money is limited; what is free goes on",
                retryAfterSeconds: 30, retries: .init(shouldRetry: false))
        case .usedUp: return usedUp(at: now)
        }
    }

    private var about: String { "the limit '\(limit.rawValue)' of \(subject)" }

    private var exceeded: ErrorCode {
        switch limit {
        case .requestsPerMinute, .tokensPerMinute, .concurrent: .rateLimitExceeded
        case .tokensPerDay, .tokensPerMonth: .insufficientQuota
        case .moneyPerDay, .moneyPerMonth: .budgetExceeded
        case .expires, .addresses, .models, .routes: .limitForbids
        }
    }

    private var advice: String { limit == .requestsPerMinute ? "nothing is let in" : "ask for less, with max_tokens" }

    private var forbidden: MeshError {
        switch limit {
        case .expires: final(.limitForbids, "\(subject) has expired\(resets.map { " (\($0.utcText))" } ?? "")")
        case .addresses: final(.limitForbids, "\(subject) may not be used from this address")
        case .models: final(.limitForbids, "\(subject) may not use this model", parameter: "model")
        case .routes, .requestsPerMinute, .tokensPerMinute, .concurrent, .tokensPerDay, .tokensPerMonth, .moneyPerDay,
            .moneyPerMonth:
            final(.limitForbids, "\(subject) may not use this route")
        }
    }

    private func usedUp(at now: Timestamp) -> MeshError {
        let wait = max(fitsAfterMs ?? 0, 1)
        let seconds = Int(clamping: (wait + 999) / 1_000)
        let left = "\(about) (\(shown(amount))) has \(shown(remaining)) left, and the request needs \(shown(needed))"
        switch limit {
        case .concurrent:
            return MeshError(
                .rateLimitExceeded,
                "\(about) (\(amount)) is used up: \(amount) are under way; try again in \(seconds)s",
                retryAfterSeconds: seconds, retries: .init(shouldRetry: true, afterMs: wait))
        case .requestsPerMinute, .tokensPerMinute:
            let whole = resets.map { max($0.milliseconds - now.milliseconds, 0) } ?? wait
            return MeshError(
                .rateLimitExceeded,
                "\(left); all of it is back in \(RateText.duration(whole)); please try again in \(seconds)s",
                retryAfterSeconds: seconds, retries: .init(shouldRetry: true, afterMs: wait))
        case .moneyPerDay, .moneyPerMonth:
            let reset = resets.map { "; resets \($0.utcText)" } ?? ""
            return MeshError(
                exceeded, "spend limit reached (\(limit == .moneyPerDay ? "daily" : "monthly")\(reset)): \(left)",
                retryAfterSeconds: seconds, retries: .init(shouldRetry: false))
        case .tokensPerDay, .tokensPerMonth, .expires, .addresses, .models, .routes:
            return MeshError(
                exceeded, "\(left); it resets at \(resets?.utcText ?? "no time")", retryAfterSeconds: seconds,
                retries: .init(shouldRetry: false))
        }
    }

    private func final(_ code: ErrorCode, _ words: String, parameter: String? = nil) -> MeshError {
        MeshError(code, words, parameter: parameter, retries: .init(shouldRetry: false))
    }

    private func shown(_ amount: Int64) -> String {
        limit.isMoney ? Money(microUnits: amount, currency: currency).description : String(amount)
    }
}

/// Times as OpenAI's programs read them.
package enum RateText {
    /// `6m0s`, `12s`, `250ms`.
    package static func duration(_ milliseconds: Int64) -> String {
        let milliseconds = max(milliseconds, 0)
        if milliseconds < 1_000 { return "\(milliseconds)ms" }
        let seconds = (milliseconds + 999) / 1_000
        if seconds < 60 { return "\(seconds)s" }
        if seconds < 3_600 { return "\(seconds / 60)m\(seconds % 60)s" }
        return "\(seconds / 3_600)h\(seconds / 60 % 60)m\(seconds % 60)s"
    }
}
