import MeshModel
import MeshWire

/// Anthropic's error object. Its programs choose by the status, and by `error.type` where a stream has none.
enum MessagesError {
    static func status(of error: MeshError) -> Int {
        // A gateway tells an empty budget so; 402 means nothing to its programs.
        if error.code == .budgetExceeded { return 429 }
        return error.code == .workerBusy ? error.statusOverride ?? 529 : error.status
    }

    static func document(_ error: MeshError, requestID: String?) -> JSONValue {
        let message =
            error.code == .contextOverflow ? ContextOverflow(error.message).message(in: .messages) : error.message
        return document(message, type: type(of: error), code: error.code.rawValue, requestID: requestID)
    }

    /// What a worker's backend said, with its status.
    static func document(_ message: String, status: Int, requestID: String?) -> JSONValue {
        document(message, type: type(ofStatus: status), code: nil, requestID: requestID)
    }

    private static func document(_ message: String, type: String, code: String?, requestID: String?) -> JSONValue {
        var error: [JSONValue.Member] = [.init("type", .string(type)), .init("message", .string(message))]
        // This node's own word, which programs of the API pass over.
        if let code { error.append(.init("code", .string(code))) }
        return ["type": "error", "error": .object(error), "request_id": .optional(requestID)]
    }

    private static func type(of error: MeshError) -> String {
        error.code == .budgetExceeded ? "billing_error" : type(ofStatus: status(of: error))
    }

    private static func type(ofStatus status: Int) -> String {
        switch status {
        case 401: "authentication_error"
        case 402: "billing_error"
        case 403: "permission_error"
        case 404: "not_found_error"
        case 408, 504: "timeout_error"
        case 413: "request_too_large"
        case 429: "rate_limit_error"
        case 529: "overloaded_error"
        case 400..<500: "invalid_request_error"
        default: "api_error"
        }
    }
}
