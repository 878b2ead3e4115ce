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

    /// What is asked, and how.
    package struct Settings: Sendable {
        /// Including `/v1`, without a slash at its end.
        package var baseURL: String
        package var keys: UpstreamKeys
        /// Sent with every request; their values may be secrets.
        package var headers: [(name: String, value: String)] = []
        /// What the server has beside chat.
        package var endpoints: [String] = []
        package var advice = Advice.workerFile
        /// Whether it may lead on to another address of its own, below the same base.
        package var followsRedirects = true
        /// Whether it may be asleep: then what gateways say of one that is not there is no answer.
        package var mayBeAsleep = false
        /// Hears which key was refused, by its number from 0, and in what words.
        package var noted: @Sendable (SellerRefusal, Int, BackendFailure) -> Void = { _, _, _ in }

        package init(baseURL: String, keys: UpstreamKeys) {
            self.baseURL = baseURL
            self.keys = keys
        }
    }

    let settings: Settings
    private let connections: any BackendConnections
    let words: PublicWords
    var baseURL: String { settings.baseURL }
    package var endpoints: [String] { settings.endpoints }
    package var faults: DemoFaults { DemoFaults() }
    package var name: String { baseURL }

    package init(_ settings: Settings, connections: any BackendConnections) {
        self.settings = settings
        self.connections = connections
        // A short value is a word that may stand anywhere.
        let values = settings.headers.map(\.value).filter { $0.utf8.count >= Limits.upstreamSecretBytes }
        let secrets = settings.keys.secrets + values
        words = Self.words(baseURL: settings.baseURL, secrets: secrets)
    }

    /// With one key or none, as a worker has it.
    package init(baseURL: String, apiKey: String?, endpoints: [String] = [], client: any BackendConnections) {
        var settings = Settings(baseURL: baseURL, keys: UpstreamKeys(apiKey.map { [$0] } ?? [], holdsBack: false))
        settings.endpoints = endpoints
        self.init(settings, connections: client)
    }

    /// What of this machine and of the backend is nobody's business. A host's name is looked for where it looks like
    /// one: "server" is a word too.
    private static func words(baseURL: String, secrets: [String]) -> PublicWords {
        let host = URL(string: baseURL)?.host(percentEncoded: false)
        let own = ProcessInfo.processInfo.hostName
        return PublicWords(
            hiding: [baseURL, host ?? "", own.contains { !$0.isLetter } ? own : ""] + secrets)
    }

    /// What one try came to.
    private enum Outcome: Sendable {
        case done
        case redirect(to: String)
        /// The seller was refused, by the key it was asked with; nothing was delivered.
        case refused(Refusal)
    }

    private struct Try: Sendable {
        var url: String
        var key: UpstreamKeys.Turn
        var redirects = 0
        var isSecondKey = false
    }

    package func perform(
        _ request: BackendRequest, deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws {
        var next = Try(url: url(of: request), key: try turn(for: request))
        while true {
            switch try await attempt(request, next, deliver) {
            case .done: return
            case .redirect(let url):
                next.redirects += 1
                next.url = url
            case .refused(let refusal):
                // A second key is tried once, where the request is still whole.
                let isOver = next.isSecondKey || request.upload != nil
                guard !isOver, let other = settings.keys.other(than: next.key.number) else {
                    return try await tell(refusal, deliver)
                }
                next.isSecondKey = true
                next.key = other
            }
        }
    }

    /// A list of models that is refused says nothing of the key: one may be good for answers alone.
    private func turn(for request: BackendRequest) throws(BackendFailure) -> UpstreamKeys.Turn {
        if request.isLook { return settings.keys.look }
        return try settings.keys.turn()
    }

    private func attempt(
        _ request: BackendRequest, _ current: Try, _ deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws -> Outcome {
        let outbound = outbound(request, current.url, current.key.text)
        let outcome: Result<Outcome, any Error>
        do {
            outcome = try await connections.answer(to: outbound, isOnce: request.upload != nil) { response in
                do { return .success(try await read(response, request, current, deliver)) } catch {
                    return .failure(error)
                }
            }
        } catch { throw failure(error) }
        return try outcome.get()
    }

    private func read(
        _ response: HTTPClientResponse, _ request: BackendRequest, _ current: Try,
        _ deliver: @Sendable (BackendPart) async throws -> Void
    ) async throws -> Outcome {
        let status = Int(response.status.code)
        if (300..<400).contains(status) {
            guard settings.followsRedirects, current.redirects < Limits.workerBackendRedirects,
                let next = target(of: response, request, from: current.url)
            else { throw redirected(status: status, location: response.headers.first(name: "location")) }
            return .redirect(to: next)
        }
        guard status >= 400 else {
            if !request.isLook { settings.keys.answered(current.key.number) }
            try await pass(response, deliver)
            return .done
        }
        if settings.mayBeAsleep, Self.sleeping.contains(status) { throw asleep(status: status) }
        let refusal = try await refusal(response, status)
        guard let said = refusal.ofSeller, !request.isLook else {
            try await tell(refusal, deliver)
            return .done
        }
        let failure = failure(refusal, said)
        settings.keys.judged(said, current.key.number, failure)
        settings.noted(said, current.key.number, failure)
        return .refused(refusal)
    }

    private func outbound(_ request: BackendRequest, _ url: String, _ key: String?) -> HTTPClientRequest {
        var outbound = HTTPClientRequest(url: url)
        outbound.method = HTTPMethod(rawValue: request.method)
        for (name, value) in request.headers { outbound.headers.add(name: name, value: value) }
        if !outbound.headers.contains(name: "accept") {
            outbound.headers.add(name: "accept", value: "application/json, text/event-stream, */*")
        }
        outbound.headers.add(name: "accept-encoding", value: "identity")
        for (name, value) in settings.headers { outbound.headers.replaceOrAdd(name: name, value: value) }
        if let key { outbound.headers.add(name: "authorization", value: "Bearer \(key)") }
        if let upload = request.upload {
            outbound.headers.add(name: "content-type", value: request.contentType)
            outbound.body = .stream(upload, length: upload.length.map { .known($0) } ?? .unknown)
        } else if let body = request.body {
            outbound.headers.add(name: "content-type", value: request.contentType)
            outbound.body = .bytes(body)
        }
        return outbound
    }

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
}
