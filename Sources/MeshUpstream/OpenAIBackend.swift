import AsyncHTTPClient
import Foundation
import MeshModel
import MeshWire
import NIOCore
import NIOHTTP1
import NIOHTTPCompression

/// Any OpenAI-compatible server: Ollama, llama.cpp, vLLM and the like.
package struct OpenAIBackend: Backend {
    /// What whoever keeps the address and the key can do about failures, in the words of where they are kept.
    package struct Advice: Sendable {
        package var address: String
        package var account: String

        package init(address: String, account: String) {
            self.address = address
            self.account = account
        }

        /// Both stand in `worker.json`.
        package static let workerFile = Advice(
            address: "set backend.base_url to the address that answers",
            account: "check backend.api_key and the account there")
    }

    private let baseURL: String
    private let apiKey: String?
    private let client: BackendClient
    private let words: PublicWords
    private let advice: Advice
    package let endpoints: [String]
    package var faults: DemoFaults { DemoFaults() }
    package var name: String { baseURL }

    /// - Parameter baseURL: including `/v1`, without a slash at its end.
    /// - Parameter endpoints: what the server has beside chat.
    package init(
        baseURL: String, apiKey: String?, endpoints: [String] = [], client: BackendClient,
        advice: Advice = .workerFile
    ) {
        self.advice = advice
        self.endpoints = endpoints
        self.baseURL = baseURL
        self.apiKey = apiKey
        self.client = client
        words = Self.words(baseURL: baseURL, apiKey: apiKey)
    }

    /// What of this machine and of the backend is nobody's business. A host's name is looked for where it looks like
    /// one: "server" is a word too.
    private static func words(baseURL: String, apiKey: String?) -> PublicWords {
        let host = URL(string: baseURL)?.host(percentEncoded: false)
        let own = ProcessInfo.processInfo.hostName
        return PublicWords(
            hiding: [baseURL, host ?? "", apiKey ?? "", own.contains { !$0.isLetter } ? own : ""])
    }

    package func perform(
        _ request: BackendRequest, deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        var url = url(of: request)
        for hop in 0... {
            let response: HTTPClientResponse
            do {
                response = try await client.execute(outbound(request, url), isOnce: request.upload != nil)
            } catch { throw failure(error) }
            guard (300..<400).contains(response.status.code) else {
                return try await pass(response, deliver)
            }
            guard hop < Limits.workerBackendRedirects, let next = target(of: response, request, from: url) else {
                throw redirected(response)
            }
            url = next
        }
    }

    private func outbound(_ request: BackendRequest, _ url: String) -> HTTPClientRequest {
        var outbound = HTTPClientRequest(url: url)
        outbound.method = HTTPMethod(rawValue: request.method)
        for (name, value) in request.headers { outbound.headers.add(name: name, value: value) }
        if !outbound.headers.contains(name: "accept") {
            outbound.headers.add(name: "accept", value: "application/json, text/event-stream, */*")
        }
        outbound.headers.add(name: "accept-encoding", value: "identity")
        if let apiKey { outbound.headers.add(name: "authorization", value: "Bearer \(apiKey)") }
        if let upload = request.upload {
            outbound.headers.add(name: "content-type", value: request.contentType)
            outbound.body = .stream(upload, length: upload.length.map { .known($0) } ?? .unknown)
        } else if let body = request.body {
            outbound.headers.add(name: "content-type", value: request.contentType)
            outbound.body = .bytes(body)
        }
        return outbound
    }

    // MARK: Answers

    private func pass(
        _ response: HTTPClientResponse, _ deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        let status = Int(response.status.code)
        let headers = response.headers.map { (name: $0.name.lowercased(), value: $0.value) }
            .filter { !Self.dropped.contains($0.name) }
        let type = response.headers.first(name: "content-type") ?? "application/octet-stream"
        guard status < 400 else { return try await refuse(response, status, headers, type, deliver) }
        // The length of what was decoded here is not known before its end.
        let isCoded = response.headers.contains(name: "content-encoding")
        let length = isCoded ? nil : response.headers.first(name: "content-length").flatMap { Int($0) }
        try await deliver(.head(status: status, headers: headers, contentType: type, length: length))
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

    /// An error status with its words, as much of them as has come, without what is the seller's own.
    private func refuse(
        _ response: HTTPClientResponse, _ status: Int, _ headers: [(name: String, value: String)], _ type: String,
        _ deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        var body: [UInt8] = []
        do {
            for try await part in response.body {
                body += part.readableBytesView.prefix(Limits.workerBackendErrorBytes - body.count)
                if body.count == Limits.workerBackendErrorBytes { break }
            }
        } catch {
            if error is CancellationError || Task.isCancelled { throw CancellationError() }
        }
        // These are about the seller's own key or account. To a buyer they would mean his.
        if [401, 402, 403, 407].contains(status) {
            let said = BackendErrorBody.words(of: body)
            throw BackendFailure(
                code: "backend_refused",
                message:
                    "its backend refuses the seller's own key or account (status \(status)): \(words.cleaned(said))",
                detail: "status \(status): \(said); \(advice.account)")
        }
        let cleaned = BackendErrorBody.cleaned(body, words)
        try await deliver(.words(BackendErrorBody.words(of: body)))
        try await deliver(.head(status: status, headers: headers, contentType: type, length: cleaned.count))
        try await deliver(.body(ByteBuffer(bytes: cleaned)))
    }

    private static let dropped = [
        "content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive", "content-type",
        "set-cookie", "location",
    ]

    // MARK: Addresses

    private func url(of request: BackendRequest) -> String {
        var url = baseURL + request.path
        for (index, item) in request.query.enumerated() {
            url += (index == 0 ? "?" : "&") + encoded(item.name) + "=" + encoded(item.value)
        }
        return url
    }

    private func encoded(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed.subtracting(.init(charactersIn: "&=+/")))
            ?? ""
    }

    /// Where a redirect leads, if it may be followed: the same server and below the same base, so that neither the key
    /// nor the buyer's words go elsewhere, and without the method becoming another.
    private func target(of response: HTTPClientResponse, _ request: BackendRequest, from url: String) -> String? {
        let mayRepeat = request.upload == nil
        switch response.status.code {
        case 307, 308: guard mayRepeat else { return nil }
        case 301, 302, 303: guard request.method == "GET" else { return nil }
        default: return nil
        }
        guard let location = response.headers.first(name: "location"), let base = URL(string: baseURL),
            let from = URL(string: url), let next = URL(string: location, relativeTo: from)?.absoluteURL.standardized,
            next.scheme?.lowercased() == base.scheme?.lowercased(),
            next.host()?.lowercased() == base.host()?.lowercased(), Self.port(next) == Self.port(base),
            next.user() == nil, next.absoluteString != url
        else { return nil }
        let root = base.path().hasSuffix("/") ? base.path() : base.path() + "/"
        guard next.path().hasPrefix(root), !next.path().contains("..") else { return nil }
        return next.absoluteString
    }

    private static func port(_ url: URL) -> Int { url.port ?? (url.scheme?.lowercased() == "https" ? 443 : 80) }

    // MARK: Failures

    private func redirected(_ response: HTTPClientResponse) -> BackendFailure {
        let target = response.headers.first(name: "location") ?? "nowhere"
        let status = response.status.code
        return BackendFailure(
            code: "backend_redirect",
            message:
                "its backend redirects (status \(status)) instead of answering; the seller has to correct its address",
            detail: "status \(status), location \(target.prefix(512)): \(advice.address)"
        )
    }

    private func failure(_ error: any Error) -> any Error {
        if error is CancellationError || Task.isCancelled { return CancellationError() }
        if (error as? HTTPClientError) == .cancelled { return CancellationError() }
        if let error = error as? HTTPClientError, error == .readTimeout {
            let seconds = Limits.workerBackendIdleMs / 1000
            return BackendFailure(
                code: "backend_timeout", message: "its backend has sent nothing for \(seconds) s",
                detail: "nothing came for \(seconds) s")
        }
        if let coding = error as? BackendConnection.UnknownCoding {
            return BackendFailure(
                code: "backend_bad_answer", message: "its backend compresses its answers in a way it was not asked for",
                detail: "content-encoding '\(coding.names)', although only identity was asked for")
        }
        if error is NIOHTTPDecompression.DecompressionError || error is NIOHTTPDecompression.ExtraDecompressionError {
            return BackendFailure(
                code: "backend_bad_answer", message: "its backend's compressed answer is damaged or too large",
                detail: "the compressed answer is damaged or too large: \(error)")
        }
        if error is BackendConnection.Lost || (error as? HTTPClientError) == .remoteConnectionClosed {
            return BackendFailure(
                code: "backend_closed", message: "its backend closed the connection before it had answered",
                detail: "the connection was closed before the answer was complete")
        }
        let broken =
            (error as? IOError).map { [ECONNRESET, EPIPE].contains($0.errnoCode) } ?? (error is HTTPParserError)
        if broken {
            return BackendFailure(
                code: "backend_closed", message: "its backend broke off the answer",
                detail: "the answer broke off: \(error)")
        }
        return BackendFailure(
            code: "backend_unreachable", message: "no connection to its backend",
            detail: ConnectionWords.text(error, to: baseURL))
    }
}
