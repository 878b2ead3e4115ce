/// What others may call a failure. A code is this node's own word to its buyer, so it is taken from nobody but where
/// this table says so; everything else is told with a code that says who failed.
extension ErrorCode {
    /// The code that this node gives a failure for which a hosting node said `code` (`aisbf-error`).
    /// - Parameters:
    ///   - hasUpload: whether the request was still on its way to that node.
    ///   - hasKey: whether it had an idempotency key: without one nothing can be said of any.
    package init(ofHost code: String, hasUpload: Bool, hasKey: Bool = true) {
        guard let said = ErrorCode(rawValue: code), said.mayComeFromHost, hasKey || !said.isAboutKey else {
            self = .nodeError
            return
        }
        // This mesh's affair: to the buyer it is a node that cannot be had.
        if [.misdirected, .forwardRefused].contains(said) {
            self = .nodeUnreachable
        } else {
            // Only who still sends can be too slow.
            self = said == .requestTimeout && !hasUpload ? .nodeError : said
        }
    }

    /// Whether it is about a request that was sent before with the same idempotency key.
    private var isAboutKey: Bool {
        [.idempotencyInProgress, .idempotencyNoAnswer, .idempotencyKeyReused].contains(self)
    }

    /// The code for which a hosting node broke off an answer that had begun: what it may say of its worker, or that it
    /// was broken off.
    package init(ofHostInMidAnswer code: String) {
        switch ErrorCode(rawValue: code) {
        case .workerError: self = .workerError
        case .workerBadAnswer: self = .workerBadAnswer
        case .workerTimeout: self = .workerTimeout
        case .modelNotFound: self = .modelNotFound
        case .workerBusy: self = .workerBusy
        case nil, .some: self = .streamInterrupted
        }
    }

    /// Whether a hosting node may rightly say this of a forwarded request. Not what only the entry node can know: the
    /// buyer's key, scopes, names, budget and body were judged there.
    package var mayComeFromHost: Bool {
        switch self {
        case .accessDenied, .modelNotFound, .endpointNotOffered, .requestTimeout, .bodyTooLarge, .frameLimit,
            .rateLimited, .workerError, .workerBadAnswer, .workerUnavailable, .workerBusy, .workerLost, .workerTimeout,
            .misdirected, .forwardRefused, .draining, .idempotencyInProgress, .idempotencyNoAnswer,
            .idempotencyKeyReused:
            true
        case .invalidRequest, .invalidJSON, .invalidAPIKey, .insufficientScope, .accountDisabled, .notFound,
            .methodNotAllowed,
            .modelAmbiguous, .previousResponseNotFound, .conflict, .unsupportedEncoding, .headersTooLarge,
            .contextOverflow, .clientClosed,
            .nodeUnreachable,
            .nodeError, .streamInterrupted, .streamTooSlow, .storeFull, .internalError, .rateLimitExceeded,
            .insufficientQuota, .budgetExceeded, .limitForbids, .limitUnavailable:
            false
        }
    }

    /// The code that this node gives a failure to which a worker gave `code`, in the worker's own vocabulary.
    package init(ofWorker code: String?) {
        switch code {
        case "model_not_found": self = .modelNotFound
        case "endpoint_not_offered": self = .endpointNotOffered
        case "busy", "overloaded": self = .workerBusy
        // Nothing was done: it is being stopped, or its backend does not listen.
        case "draining", "backend_unreachable", "backend_forbidden", "backend_asleep": self = .workerUnavailable
        default: self = .workerError
        }
    }

    /// Whether a worker's own error document may carry this code of ours. Codes that are none of ours are the words of
    /// its backend.
    package var mayComeFromWorker: Bool {
        switch self {
        case .invalidRequest, .invalidJSON, .notFound, .modelNotFound, .methodNotAllowed, .conflict, .bodyTooLarge,
            .rateLimited, .rateLimitExceeded, .workerError, .workerBusy, .contextOverflow:
            true
        case .insufficientQuota, .budgetExceeded, .limitForbids, .limitUnavailable, .invalidAPIKey, .insufficientScope,
            .accountDisabled, .accessDenied, .endpointNotOffered, .modelAmbiguous, .previousResponseNotFound,
            .requestTimeout, .unsupportedEncoding, .headersTooLarge, .frameLimit, .clientClosed, .workerBadAnswer,
            .workerUnavailable, .workerLost,
            .workerTimeout, .nodeUnreachable, .nodeError, .misdirected, .forwardRefused, .streamInterrupted,
            .streamTooSlow, .draining, .storeFull, .internalError, .idempotencyInProgress, .idempotencyNoAnswer,
            .idempotencyKeyReused:
            false
        }
    }

    /// Statuses with which a worker's backend speaks of the seller's account. To a buyer they mean the buyer's own.
    package static func isAboutSellersAccount(status: Int) -> Bool { [401, 402, 407].contains(status) }
}

extension FailureCause {
    /// The cause of a failure to which a worker gave `code`, in the worker's own vocabulary.
    package init?(ofWorker code: String?) {
        guard code == "backend_refused" else { return nil }
        self = .credentials
    }

    /// What an answer of a worker's backend with this status is about.
    package init?(status: Int) {
        switch status {
        case 401, 407: self = .credentials
        case 402: self = .billing
        default: return nil
        }
    }
}
