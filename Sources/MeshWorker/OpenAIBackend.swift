package import AsyncHTTPClient
import Foundation
import MeshModel
package import NIOCore
import NIOHTTP1

/// Any OpenAI-compatible server: Ollama, llama.cpp, vLLM and the like.
package struct OpenAIBackend: Backend {
    private let baseURL: String
    private let apiKey: String?
    private let client: HTTPClient
    package let endpoints: [String]
    package var faults: DemoFaults { DemoFaults() }

    /// - Parameter baseURL: including `/v1`, without a slash at its end.
    /// - Parameter endpoints: what the server has beside chat.
    package init(baseURL: String, apiKey: String?, endpoints: [String] = [], client: HTTPClient) {
        self.endpoints = endpoints
        self.baseURL = baseURL
        self.apiKey = apiKey
        self.client = client
    }

    /// A client for one backend: quick to notice that nobody listens, patient with models that think.
    package static func makeClient(group: any EventLoopGroup) -> HTTPClient {
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .milliseconds(Limits.workerBackendConnectMs)
        configuration.timeout.read = .milliseconds(Limits.workerBackendIdleMs)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Limits.workerAgentRequestsAtOnce
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        return HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    }

    package func perform(
        _ request: BackendRequest, deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        var outbound = HTTPClientRequest(url: url(of: request))
        outbound.method = HTTPMethod(rawValue: request.method)
        outbound.headers.add(name: "accept", value: "application/json, text/event-stream, */*")
        if let apiKey { outbound.headers.add(name: "authorization", value: "Bearer \(apiKey)") }
        if let upload = request.upload {
            outbound.headers.add(name: "content-type", value: request.contentType)
            outbound.body = .stream(upload, length: upload.length.map { .known($0) } ?? .unknown)
        } else if let body = request.body {
            outbound.headers.add(name: "content-type", value: request.contentType)
            outbound.body = .bytes(body)
        }
        let response: HTTPClientResponse
        do {
            response = try await client.execute(outbound, deadline: .distantFuture)
        } catch {
            throw failure(error)
        }
        let headers = response.headers.map { (name: $0.name.lowercased(), value: $0.value) }
            .filter { !Self.dropped.contains($0.name) }
        let type = response.headers.first(name: "content-type") ?? "application/octet-stream"
        let length = response.headers.first(name: "content-length").flatMap { Int($0) }
        try await deliver(.head(status: Int(response.status.code), headers: headers, contentType: type, length: length))
        var body = response.body.makeAsyncIterator()
        while true {
            let part: ByteBuffer?
            do { part = try await body.next() } catch { throw failure(error) }
            guard let part else { return }
            try await deliver(.body(part))
        }
    }

    private static let dropped = [
        "content-length", "transfer-encoding", "content-encoding", "connection", "keep-alive", "content-type",
        "set-cookie",
    ]

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

    private func failure(_ error: any Error) -> any Error {
        if error is CancellationError || Task.isCancelled { return CancellationError() }
        if let error = error as? HTTPClientError {
            if error == .cancelled { return CancellationError() }
            if error == .readTimeout {
                return BackendFailure(
                    code: "backend_timeout",
                    message: "the backend at \(baseURL) has sent nothing for \(Limits.workerBackendIdleMs / 1000) s")
            }
            if error == .remoteConnectionClosed {
                return BackendFailure(
                    code: "backend_closed",
                    message: "the backend at \(baseURL) closed the connection before it had answered")
            }
        }
        return BackendFailure(
            code: "backend_unreachable",
            message: "no connection to the backend at \(baseURL): check that it runs and that backend.base_url is right"
        )
    }
}
