package import MeshModel
import MeshUpstream

/// What an operator wants to be different about a provider's upstream; nil: as it is.
package struct UpstreamChange: Sendable {
    package enum Keys: Sendable {
        case unchanged
        case set([String])
        case removed
    }

    package var baseURL: String?
    package var endpoints: [String]?
    package var keys: Keys
    package var headers: [UpstreamSecrets.Field]?
    package var renamed: [RenamedModel]?
    package var coldStartSeconds: Int?

    package init(baseURL: String? = nil, endpoints: [String]? = nil, keys: Keys = .unchanged) {
        self.baseURL = baseURL
        self.endpoints = endpoints
        self.keys = keys
    }

    private var isEmpty: Bool {
        switch keys {
        case .unchanged:
            baseURL == nil && endpoints == nil && headers == nil && renamed == nil && coldStartSeconds == nil
        case .set, .removed: false
        }
    }

    var replacesKeys: Bool {
        switch keys {
        case .unchanged: false
        case .set, .removed: true
        }
    }

    /// The settings as they are to be. Nothing is asked of the upstream.
    /// - Parameter rule: where this node connects to; a name is judged when it is used.
    func applied(to provider: ProviderAccount, _ rule: AddressRule) throws(MeshError) -> UpstreamSettings? {
        guard provider.kind == ProviderKind.upstream else {
            guard isEmpty else {
                throw MeshError(
                    .invalidRequest,
                    "only a provider of kind '\(ProviderKind.upstream)' has a base_url, endpoints, keys and the like")
            }
            return nil
        }
        var settings = provider.upstream ?? UpstreamSettings(baseURL: "")
        if let baseURL { settings.baseURL = try Self.address(baseURL, rule) }
        if let endpoints { settings.endpoints = try Self.checked(endpoints) }
        switch keys {
        case .unchanged: break
        case .set(let keys):
            try Self.check(keys)
            settings.hasKey = true
        case .removed: settings.hasKey = false
        }
        if let headers {
            try Self.check(headers)
            settings.headers = headers.map(\.name)
        }
        if let renamed {
            try Self.check(renamed)
            settings.renamed = renamed
        }
        if let coldStartSeconds {
            guard (0...Limits.upstreamColdStartSeconds).contains(coldStartSeconds) else {
                throw MeshError(
                    .invalidRequest,
                    "cold_start_seconds is a whole number from 0 (it does not sleep) to \(Limits.upstreamColdStartSeconds)",
                    parameter: "cold_start_seconds")
            }
            settings.coldStartSeconds = coldStartSeconds
        }
        guard !settings.baseURL.isEmpty else {
            throw MeshError(
                .invalidRequest,
                "a provider of kind '\(ProviderKind.upstream)' needs a base_url, such as https://api.example.com/v1",
                parameter: "base_url")
        }
        return settings
    }

    /// What the upstream is asked with, as it is to be; nil when nothing of it changes.
    func applied(to secrets: UpstreamSecrets) -> UpstreamSecrets? {
        var changed = secrets
        switch keys {
        case .unchanged: break
        case .set(let keys): changed.keys = keys
        case .removed: changed.keys = []
        }
        if let headers { changed.headers = headers }
        return changed == secrets ? nil : changed
    }

    private static func address(_ text: String, _ rule: AddressRule) throws(MeshError) -> String {
        do throws(BackendAddress.Problem) {
            let address = try BackendAddress(text)
            if let problem = address.problem(by: rule) { throw problem }
            return address.description
        } catch {
            throw MeshError(.invalidRequest, "base_url \(error.words)", parameter: "base_url")
        }
    }

    /// The words say what is wrong and never what was given.
    private static func check(_ keys: [String]) throws(MeshError) {
        for key in keys {
            if let problem = BackendKey.problem(key) {
                throw MeshError(.invalidRequest, "api_key \(problem)", parameter: "api_key")
            }
        }
        guard (1...Limits.upstreamKeys).contains(keys.count), Set(keys).count == keys.count else {
            throw MeshError(
                .invalidRequest, "an upstream has 1 to \(Limits.upstreamKeys) keys, each once", parameter: "api_key")
        }
    }

    private static func check(_ headers: [UpstreamSecrets.Field]) throws(MeshError) {
        for header in headers {
            if let problem = UpstreamHeader.problem(header) {
                throw MeshError(
                    .invalidRequest, "the header '\(header.name.prefix(Limits.upstreamHeaderNameBytes))' \(problem)",
                    parameter: "headers")
            }
        }
        guard headers.count <= Limits.upstreamHeaders,
            Set(headers.map { $0.name.lowercased() }).count == headers.count
        else {
            throw MeshError(
                .invalidRequest, "an upstream has at most \(Limits.upstreamHeaders) headers, each once",
                parameter: "headers")
        }
    }

    private static func check(_ renamed: [RenamedModel]) throws(MeshError) {
        let names = renamed.flatMap { [$0.sold, $0.upstream] }
        let isPlain = names.allSatisfy { name in
            (1...Limits.recordTextBytes).contains(name.utf8.count)
                && name.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        }
        guard isPlain, renamed.count <= Limits.upstreamRenamedModels,
            Set(renamed.map(\.sold)).count == renamed.count
        else {
            throw MeshError(
                .invalidRequest,
                "'models' has at most \(Limits.upstreamRenamedModels) names, each once and of 1 to \(Limits.recordTextBytes) bytes",
                parameter: "models")
        }
    }

    private static func checked(_ endpoints: [String]) throws(MeshError) -> [String] {
        var names: [String] = []
        for endpoint in endpoints {
            let name = endpoint.hasPrefix("/") ? String(endpoint.dropFirst()) : endpoint
            guard EndpointPath("/\(name)") != nil else {
                let families = EndpointPath.Family.allCases.map(\.rawValue).joined(separator: ", ")
                throw MeshError(
                    .invalidRequest,
                    "an endpoint is a path such as v1/embeddings, below v1/ and one of: \(families)",
                    parameter: "endpoints")
            }
            if !names.contains(name) { names.append(name) }
        }
        guard names.count <= Limits.workerEndpoints else {
            throw MeshError(
                .invalidRequest, "an upstream has at most \(Limits.workerEndpoints) endpoints", parameter: "endpoints")
        }
        return names
    }
}
