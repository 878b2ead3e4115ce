package import MeshModel

/// Whose fault it is that an attempt failed. It decides whether another member is asked, and what becomes of the one
/// that failed; nothing else does.
package enum Fault: Hashable, Sendable {
    /// The request itself: it fails everywhere.
    case client
    /// It is too long for this member's window.
    case context
    /// The provider's own key was refused where it buys.
    case credentials
    /// The provider's own account is empty.
    case billing
    /// It has had enough for now, and perhaps says for how long.
    case rateLimit(retryAfterSeconds: Int?)
    /// It has no free place, or takes nothing new: in a moment that may be otherwise.
    case busy
    /// It refused without doing anything, which is no failure: no such model there, not for this buyer.
    case declined
    /// It answered with a failure of its own, or with nonsense.
    case server
    case timeout
    case transport
    /// The buyer went away, or was too slow.
    case buyer
    /// This node itself.
    case node

    /// What becomes of the member.
    package enum Penalty: Hashable, Sendable {
        case none
        /// It counts as full for a moment, in every pool.
        case full
        /// One failure more; some of them bench it, in this pool.
        case count
        /// It takes nothing for a while, by its own word, in every pool.
        case rest(seconds: Int?)
        /// Hard down, in every pool, until its seller has seen to it or half an hour is over.
        case down
    }

    /// For how long the member takes nothing, where its own word says so: in pools and policies alike. Nil where it said
    /// no time, or nothing of the kind.
    package var restMs: Int64? {
        switch consequence.penalty {
        case .none, .full, .count, .rest(nil): nil
        case .rest(let seconds?): Int64(min(max(seconds, 1), Limits.retryAfterSeconds)) * 1_000
        case .down: Limits.refusedKeyRestMs
        }
    }

    package struct Consequence: Hashable, Sendable {
        package var penalty: Penalty
        /// Whether another member may be asked.
        package var goesOn: Bool
        /// Whether its seller, and whoever runs the node, should hear of it.
        package var isAlarming: Bool
    }

    package var consequence: Consequence {
        switch self {
        case .client: Consequence(penalty: .none, goesOn: false, isAlarming: false)
        case .context: Consequence(penalty: .none, goesOn: true, isAlarming: false)
        case .credentials, .billing: Consequence(penalty: .down, goesOn: true, isAlarming: true)
        case .rateLimit(let seconds): Consequence(penalty: .rest(seconds: seconds), goesOn: true, isAlarming: false)
        case .busy: Consequence(penalty: .full, goesOn: true, isAlarming: false)
        case .declined: Consequence(penalty: .none, goesOn: true, isAlarming: false)
        case .server, .timeout, .transport: Consequence(penalty: .count, goesOn: true, isAlarming: false)
        case .buyer, .node: Consequence(penalty: .none, goesOn: false, isAlarming: false)
        }
    }
}

extension Fault {
    /// - Parameters:
    ///   - status: of the member's answer, 400 or more.
    ///   - words: the beginning of its body, or what it says in place of one.
    package init(status: Int, retryAfterSeconds: Int?, words: String = "") {
        switch status {
        case 401, 407: self = .credentials
        case 402: self = .billing
        // Also how backends refuse what is in a prompt: a buyer must not bring a seller down with it.
        case 403: self = .server
        case 408: self = .timeout
        case 429: self = .rateLimit(retryAfterSeconds: retryAfterSeconds)
        case 400..<500: self = ContextWords.tellOfLength(words, status: status) ? .context : .client
        // It says itself when it is back.
        case 503 where retryAfterSeconds != nil, 529 where retryAfterSeconds != nil:
            self = .rateLimit(retryAfterSeconds: retryAfterSeconds)
        default: self = .server
        }
    }

    /// - Parameter error: how an attempt ended without an answer, or in the middle of one.
    package init(_ error: MeshError) {
        switch error.cause {
        case .credentials:
            self = .credentials
            return
        case .billing:
            self = .billing
            return
        case nil: break
        }
        if let status = error.statusOverride {
            self.init(status: status, retryAfterSeconds: error.retryAfterSeconds, words: error.message)
            return
        }
        switch error.code {
        // In a stream there is no status.
        case .workerError where ContextWords.tellOfLength(error.message, status: 400): self = .context
        case .invalidRequest, .invalidJSON, .invalidAPIKey, .insufficientScope, .accountDisabled, .notFound,
            .methodNotAllowed, .modelAmbiguous, .previousResponseNotFound, .conflict, .requestTimeout,
            .unsupportedEncoding, .headersTooLarge,
            .idempotencyInProgress, .idempotencyNoAnswer, .idempotencyKeyReused:
            // The request as it stands; whoever was asked next would do work that is done already.
            self = .client
        case .contextOverflow: self = .context
        // What one does not have, or does not give to this buyer, another may.
        case .accessDenied, .modelNotFound, .endpointNotOffered, .bodyTooLarge, .frameLimit, .misdirected:
            self = .declined
        case .workerUnavailable, .draining: self = .busy
        case .workerBusy, .rateLimited:
            self = error.retryAfterSeconds.map { .rateLimit(retryAfterSeconds: $0) } ?? .busy
        case .workerError, .workerBadAnswer, .nodeError, .forwardRefused: self = .server
        case .workerTimeout: self = .timeout
        case .workerLost, .nodeUnreachable, .streamInterrupted: self = .transport
        case .clientClosed, .streamTooSlow: self = .buyer
        // Only this node's own buyers hear of their limits, and nobody was asked then.
        case .storeFull, .internalError, .rateLimitExceeded, .insufficientQuota, .budgetExceeded, .limitForbids,
            .limitUnavailable:
            self = .node
        }
    }

    /// - Parameter words: of the refusal's body.
    package init(_ failure: Attempts.Failure, words: String = "") {
        switch failure {
        case .error(let error): self.init(error)
        case .refusal(let status, let seconds):
            self.init(status: status, retryAfterSeconds: seconds, words: words)
        case .overflow: self = .context
        }
    }
}

/// How backends say that a prompt is too long. There is no one code for it: OpenAI's has spread, the others have
/// sentences of their own.
package enum ContextWords {
    /// Of an error status: whether it is about the length of the prompt. Words about limits of rate or money win, which
    /// some backends tell with the word `token` in them.
    package static func tellOfLength(_ words: String, status: Int) -> Bool {
        guard Attempts.mayBeOverflow(status: status) else { return false }
        let text = words.cut(toUTF8Bytes: Limits.errorWordsBytes).lowercased()
        if codes.contains(where: text.contains) { return true }
        return !others.contains(where: text.contains) && sentences.contains(where: text.contains)
    }

    private static let codes = ["context_length_exceeded", "context_window_exceeded", "exceed_context_size_error"]
    private static let others = ["rate limit", "rate_limit", "per minute", "per day", "quota", "billing", "credit"]
    private static let sentences = [
        "maximum context length", "context length is only", "exceeds the available context size",
        "exceeds the context window", "exceeds context window", "exceed context window", "exceed context limit",
        "prompt is too long", "input is too long", "longer than the maximum model length",
        "input token count exceeds", "too many input tokens", "reduce the length of the messages",
    ]
}
