import AsyncHTTPClient
import MeshModel
import NIOCore
import NIOHTTP1

/// What becomes of an answer.
extension OpenAIBackend {
    /// An error status with its words, as much of them as has come.
    struct Refusal: Sendable {
        var status: Int
        var headers: [(name: String, value: String)]
        var contentType: String
        var body: [UInt8]
        /// Where it is about the seller's own key or account.
        var ofSeller: SellerRefusal?
    }

    /// What gateways answer for a server that is not there.
    static let sleeping = [502, 503, 504, 520, 521, 522, 523, 524, 530]

    private static let dropped = [
        "content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive", "content-type",
        "set-cookie", "location",
    ]

    private static func headers(_ response: HTTPClientResponse) -> [(name: String, value: String)] {
        response.headers.map { (name: $0.name.lowercased(), value: $0.value) }.filter { !dropped.contains($0.name) }
    }

    private static func type(_ response: HTTPClientResponse) -> String {
        response.headers.first(name: "content-type") ?? "application/octet-stream"
    }

    /// An answer that is none of an error.
    func pass(
        _ response: HTTPClientResponse, _ deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        let type = Self.type(response)
        // The length of what was decoded here is not known before its end.
        let isCoded = response.headers.contains(name: "content-encoding")
        let length = isCoded ? nil : response.headers.first(name: "content-length").flatMap { Int($0) }
        try await deliver(
            .head(
                status: Int(response.status.code), headers: Self.headers(response), contentType: type, length: length))
        var events = type.lowercased().hasPrefix("text/event-stream") ? ErrorEventCleaner(words) : nil
        var body = response.body.makeAsyncIterator()
        while true {
            let part: ByteBuffer?
            do { part = try await body.next() } catch { throw failure(error) }
            guard let part else { break }
            let passed = events?.take(part) ?? part
            if passed.readableBytes > 0 { try await deliver(.body(passed)) }
        }
        if let rest = events?.finish() { try await deliver(.body(rest)) }
    }

    func refusal(_ response: HTTPClientResponse, _ status: Int) async throws -> Refusal {
        var body: [UInt8] = []
        do {
            for try await part in response.body {
                body += part.readableBytesView.prefix(Limits.workerBackendErrorBytes - body.count)
                if body.count == Limits.workerBackendErrorBytes { break }
            }
        } catch {
            if error is CancellationError || Task.isCancelled { throw CancellationError() }
        }
        let retryAfter = response.headers.first(name: "retry-after")
        return Refusal(
            status: status, headers: Self.headers(response), contentType: Self.type(response), body: body,
            ofSeller: SellerRefusal(status: status, retryAfter: retryAfter, body: body))
    }

    /// The words of a refusal without what is the seller's own.
    func tell(_ refusal: Refusal, _ deliver: @Sendable (BackendPart) async throws -> Void) async throws {
        if let said = refusal.ofSeller {
            switch said {
            // These are about the seller's own key or account. To a buyer they would mean his.
            case .credentials, .billing, .denied: throw failure(refusal, said)
            case .limited: break
            }
        }
        let cleaned = BackendErrorBody.cleaned(refusal.body, words)
        try await deliver(.words(BackendErrorBody.words(of: refusal.body)))
        try await deliver(
            .head(
                status: refusal.status, headers: refusal.headers, contentType: refusal.contentType,
                length: cleaned.count))
        try await deliver(.body(ByteBuffer(bytes: cleaned)))
    }

    func failure(_ refusal: Refusal, _ said: SellerRefusal) -> BackendFailure {
        let text = BackendErrorBody.words(of: refusal.body)
        let status = refusal.status
        guard said.cause != nil else {
            return BackendFailure(
                code: "backend_denied",
                message: "its backend does not give this to the seller (status \(status)): \(words.cleaned(text))",
                detail: "status \(status): \(text)")
        }
        return BackendFailure(
            code: "backend_refused",
            message: "its backend refuses the seller's own key or account (status \(status)): \(words.cleaned(text))",
            detail: "status \(status): \(text); \(settings.advice.account)", cause: said.cause)
    }
}
