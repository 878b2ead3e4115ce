package import MeshModel
package import NIOCore

/// One HTTP-shaped call to whatever serves the models.
package struct BackendRequest: Sendable {
    package var method: String
    /// Below the backend's base URL, without `/v1`: `/chat/completions`.
    package var path: String
    package var query: [(name: String, value: String)]
    package var contentType: String
    /// Fields of the buyer's request that the backend may see: `accept`, `range`, `if-range`.
    package var headers: [(name: String, value: String)] = []
    /// The buyer's bytes, untouched.
    package var body: ByteBuffer?
    /// In the place of `body`: the buyer's bytes as they arrive.
    package var upload: UploadStream?

    package init(
        method: String, path: String, query: [(name: String, value: String)] = [],
        contentType: String = "application/json", body: ByteBuffer? = nil
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.contentType = contentType
        self.body = body
    }

    /// Whether it only asks what there is.
    package var isLook: Bool { method == "GET" && path == "/models" }
}

package enum BackendPart: Sendable {
    /// Exactly once, before the body. Header names in lower case.
    case head(status: Int, headers: [(name: String, value: String)], contentType: String, length: Int? = nil)
    case body(ByteBuffer)
    /// What an error status says in the backend's own words, for the seller only; before the head.
    case words(String)
}

/// No HTTP answer came, or none that a buyer may have.
package struct BackendFailure: Error, Hashable, Sendable {
    package var code: String
    /// For the buyer: nothing of the seller's addresses, paths and secrets.
    package var message: String
    /// For the seller: what to check.
    package var detail: String
    /// Where it is about the seller's own key or account.
    package var cause: FailureCause?

    package init(code: String, message: String, detail: String, cause: FailureCause? = nil) {
        self.code = code
        self.message = message
        self.detail = detail
        self.cause = cause
    }
}

/// What serves the models. The call returns when the answer has ended; `deliver` may suspend for back-pressure,
/// and cancelling the task stops the backend's work.
package protocol Backend: Sendable {
    var faults: DemoFaults { get }
    /// What the seller calls it: its address.
    var name: String { get }
    /// What it serves beside chat, as the worker advertises it.
    var endpoints: [String] { get }
    func perform(
        _ request: BackendRequest, deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws
}

/// Misbehaviour a demo worker can be told to show, so that a node's handling of it can be tested end to end.
package struct DemoFaults: Hashable, Sendable {
    /// Never answers a chat request, not even with `pending`.
    package var silent = false
    /// Answers with a payload that is no JSON.
    package var garbage = false
    /// Answers every chat request with this HTTP status.
    package var errorStatus: Int?

    package init(silent: Bool = false, garbage: Bool = false, errorStatus: Int? = nil) {
        self.silent = silent
        self.garbage = garbage
        self.errorStatus = errorStatus
    }
}
