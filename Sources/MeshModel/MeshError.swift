/// Every failure a buyer, seller or operator can be told of. `code` is stable and closed: programs match on it,
/// metrics are labelled with it, `Docs/Reference/errors.md` lists it.
package enum ErrorCode: String, CaseIterable, Sendable {
    case invalidRequest = "invalid_request"
    case invalidJSON = "invalid_json"
    case invalidAPIKey = "invalid_api_key"
    case insufficientScope = "insufficient_scope"
    case accessDenied = "access_denied"
    case accountDisabled = "account_disabled"
    case notFound = "not_found"
    case modelNotFound = "model_not_found"
    case endpointNotOffered = "endpoint_not_offered"
    case methodNotAllowed = "method_not_allowed"
    case modelAmbiguous = "ambiguous_model"
    case previousResponseNotFound = "previous_response_not_found"
    case conflict = "conflict"
    case idempotencyInProgress = "idempotency_in_progress"
    case idempotencyNoAnswer = "idempotency_no_answer"
    case idempotencyKeyReused = "idempotency_key_reused"
    case requestTimeout = "request_timeout"
    case bodyTooLarge = "body_too_large"
    case headersTooLarge = "headers_too_large"
    case unsupportedEncoding = "unsupported_encoding"
    case frameLimit = "worker_frame_limit"
    case contextOverflow = "context_length_exceeded"
    case rateLimited = "rate_limited"
    case rateLimitExceeded = "rate_limit_exceeded"
    case insufficientQuota = "insufficient_quota"
    case budgetExceeded = "budget_exceeded"
    case limitForbids = "limit_forbids"
    case limitUnavailable = "limit_unavailable"
    case clientClosed = "client_closed_request"
    case workerError = "worker_error"
    case workerBadAnswer = "worker_bad_answer"
    case workerUnavailable = "worker_unavailable"
    case workerBusy = "worker_busy"
    case workerLost = "worker_lost"
    case workerTimeout = "worker_timeout"
    case nodeUnreachable = "node_unreachable"
    case nodeError = "node_error"
    case misdirected = "misdirected_request"
    case forwardRefused = "forward_refused"
    case streamInterrupted = "stream_interrupted"
    case streamTooSlow = "stream_consumer_too_slow"
    case draining = "node_draining"
    case storeFull = "store_full"
    case internalError = "internal_error"

    /// HTTP status the code travels with.
    package var status: Int {
        switch self {
        // A program that gets 409 tries again.
        case .invalidRequest, .invalidJSON, .modelAmbiguous, .previousResponseNotFound, .contextOverflow: 400
        case .invalidAPIKey: 401
        case .budgetExceeded: 402
        case .insufficientScope, .accessDenied, .accountDisabled, .forwardRefused, .limitForbids: 403
        case .notFound, .modelNotFound, .endpointNotOffered: 404
        case .methodNotAllowed: 405
        case .requestTimeout: 408
        case .conflict, .idempotencyInProgress, .idempotencyNoAnswer: 409
        case .bodyTooLarge, .frameLimit: 413
        case .unsupportedEncoding: 415
        case .misdirected: 421
        case .idempotencyKeyReused: 422
        case .rateLimited, .rateLimitExceeded, .insufficientQuota: 429
        case .headersTooLarge: 431
        case .clientClosed: 499
        case .internalError: 500
        case .workerError, .workerBadAnswer, .workerLost, .nodeError, .streamInterrupted, .streamTooSlow: 502
        case .workerUnavailable, .workerBusy, .nodeUnreachable, .draining, .limitUnavailable: 503
        case .workerTimeout: 504
        case .storeFull: 507
        }
    }

    /// OpenAI's `error.type` for the status, which its SDKs turn into exception classes.
    package var type: String {
        // As OpenAI's programs know it: no use trying again.
        self == .insufficientQuota || self == .budgetExceeded ? "insufficient_quota" : Self.type(ofStatus: status)
    }

    package static func type(ofStatus status: Int) -> String {
        switch status {
        case 401: "authentication_error"
        case 403: "permission_error"
        case 429: "rate_limit_error"
        case 400..<500: "invalid_request_error"
        default: "server_error"
        }
    }

    /// Whether another candidate may be tried when one failed with this and no content has been delivered yet.
    package var retry: RetryAdvice {
        switch self {
        // What one place does not have, or does not give, another may.
        case .workerUnavailable, .workerBusy, .nodeUnreachable, .draining, .frameLimit, .bodyTooLarge, .modelNotFound,
            .endpointNotOffered, .accessDenied, .rateLimited, .misdirected, .forwardRefused:
            .elsewhere
        case .workerError, .workerBadAnswer, .workerLost, .workerTimeout, .nodeError: .ifRepeatable
        case .invalidRequest, .invalidJSON, .invalidAPIKey, .insufficientScope, .accountDisabled, .notFound,
            .methodNotAllowed,
            .modelAmbiguous, .previousResponseNotFound, .conflict, .requestTimeout, .unsupportedEncoding,
            .headersTooLarge, .contextOverflow,
            .clientClosed,
            .streamInterrupted, .streamTooSlow, .storeFull, .internalError, .rateLimitExceeded, .insufficientQuota,
            .budgetExceeded, .limitForbids, .limitUnavailable, .idempotencyInProgress, .idempotencyNoAnswer,
            .idempotencyKeyReused:
            .never
        }
    }
}

package enum RetryAdvice: Hashable, Sendable {
    case never
    /// Nothing was done with the request.
    case elsewhere
    /// The work may have been done, and nothing of it was delivered: only what has no effect is asked for again.
    case ifRepeatable
}

/// What a failure is about beside its code, for whoever chooses who is asked next. Buyers are not told: to them it would
/// mean their own key and account. Told between nodes by these words.
package enum FailureCause: String, CaseIterable, Hashable, Sendable {
    /// The seller's own key is refused where it buys.
    case credentials
    /// The seller's own account is empty there.
    case billing
}

/// One failure with the words for the person who meets it. The message says what to do and never contains
/// secrets, paths of this machine or other tenants' names.
///
/// Its parts stand in one place that copies share: what carries a request may carry its failure too, and is copied for
/// every request, while failures are rare.
package struct MeshError: Error, Hashable, Sendable, CustomStringConvertible {
    private struct Parts: Hashable, Sendable {
        var code: ErrorCode
        var message: String
        var parameter: String?
        var retryAfterSeconds: Int?
        var statusOverride: Int?
        var allowedMethods: String?
        var cause: FailureCause?
        var retries: Retries?
    }

    private final class Shared: Sendable {
        let parts: Parts
        init(_ parts: Parts) { self.parts = parts }
    }

    private var shared: Shared

    private var parts: Parts {
        get { shared.parts }
        set { shared = Shared(newValue) }
    }

    package var code: ErrorCode {
        get { shared.parts.code }
        set { parts.code = newValue }
    }
    package var message: String {
        get { shared.parts.message }
        set { parts.message = newValue }
    }
    /// The request field at fault, where there is one.
    package var parameter: String? {
        get { shared.parts.parameter }
        set { parts.parameter = newValue }
    }
    /// When trying again may help.
    package var retryAfterSeconds: Int? {
        get { shared.parts.retryAfterSeconds }
        set { parts.retryAfterSeconds = newValue }
    }
    /// The status a worker itself answered with, passed through in place of the code's own.
    package var statusOverride: Int? {
        get { shared.parts.statusOverride }
        set { parts.statusOverride = newValue }
    }
    /// What `allow` says beside a 405 (RFC 9110, section 10.2.1).
    package var allowedMethods: String? {
        get { shared.parts.allowedMethods }
        set { parts.allowedMethods = newValue }
    }
    /// What it is about beside its code; buyers are not told.
    package var cause: FailureCause? {
        get { shared.parts.cause }
        set { parts.cause = newValue }
    }
    /// Where this node says itself whether trying again helps, because the program would otherwise go by the status.
    package var retries: Retries? {
        get { shared.parts.retries }
        set { parts.retries = newValue }
    }

    /// `x-should-retry` and `retry-after-ms`.
    package struct Retries: Hashable, Sendable {
        package var shouldRetry: Bool
        package var afterMs: Int64?

        package init(shouldRetry: Bool, afterMs: Int64? = nil) {
            self.shouldRetry = shouldRetry
            self.afterMs = afterMs
        }
    }

    package init(
        _ code: ErrorCode, _ message: String, parameter: String? = nil, retryAfterSeconds: Int? = nil,
        statusOverride: Int? = nil, allowedMethods: String? = nil, retries: Retries? = nil,
        cause: FailureCause? = nil
    ) {
        shared = Shared(
            Parts(
                code: code, message: message, parameter: parameter, retryAfterSeconds: retryAfterSeconds,
                statusOverride: statusOverride, allowedMethods: allowedMethods, cause: cause, retries: retries))
    }

    package static func == (one: MeshError, other: MeshError) -> Bool {
        one.shared === other.shared || one.parts == other.parts
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(parts) }

    package var status: Int { statusOverride ?? code.status }
    package var description: String { "\(code.rawValue): \(message)" }
}
