import MeshModel
import MeshRuntime
import MeshWire

/// Where a provider's upstream is, and what it is asked with, read from a request.
extension AdminRoutes {
    static let upstreamFields = [
        "base_url", "endpoints", "api_key", "api_keys", "headers", "models", "cold_start_seconds",
    ]

    /// A key, a list or an object that is null is to be kept no more.
    static func upstreamChange(_ body: JSONValue) throws(MeshError) -> UpstreamChange {
        var change = UpstreamChange()
        if let url = body["base_url"], url != .null {
            guard let text = url.text else {
                throw MeshError(.invalidRequest, "'base_url' must be text", parameter: "base_url")
            }
            change.baseURL = text
        }
        if let endpoints = body["endpoints"], endpoints != .null {
            change.endpoints = try texts(endpoints, "endpoints", "paths")
        }
        change.keys = try keys(body)
        if let headers = body["headers"] { change.headers = try fields(headers) }
        if let models = body["models"] {
            change.renamed = try pairs(models, "models").map { RenamedModel(sold: $0.name, upstream: $0.text) }
        }
        change.coldStartSeconds = try integer(body, "cold_start_seconds").map { Int(clamping: $0) }
        return change
    }

    private static func keys(_ body: JSONValue) throws(MeshError) -> UpstreamChange.Keys {
        guard body["api_key"] == nil || body["api_keys"] == nil else {
            throw MeshError(
                .invalidRequest, "'api_key' and 'api_keys' exclude each other", parameter: "api_keys")
        }
        if let list = body["api_keys"] {
            if list == .null { return .removed }
            return .set(try texts(list, "api_keys", "keys"))
        }
        switch body["api_key"] {
        case nil: return .unchanged
        case .null?: return .removed
        case .string(let key)?: return .set([key])
        case .boolean?, .number?, .array?, .object?:
            throw MeshError(.invalidRequest, "'api_key' must be text, or null", parameter: "api_key")
        }
    }

    private static func texts(_ value: JSONValue, _ name: String, _ what: String) throws(MeshError) -> [String] {
        guard let elements = value.elements, elements.allSatisfy({ $0.text != nil }) else {
            throw MeshError(.invalidRequest, "'\(name)' must be a list of \(what)", parameter: name)
        }
        return elements.compactMap(\.text)
    }

    private static func fields(_ value: JSONValue) throws(MeshError) -> [UpstreamSecrets.Field] {
        try pairs(value, "headers").map { UpstreamSecrets.Field(name: $0.name, value: $0.text) }
    }

    private static func pairs(
        _ value: JSONValue, _ name: String
    ) throws(MeshError) -> [(name: String, text: String)] {
        if value == .null { return [] }
        guard let members = value.members, members.allSatisfy({ $0.value.text != nil }) else {
            throw MeshError(
                .invalidRequest, "'\(name)' must be an object whose values are texts", parameter: name)
        }
        return members.map { ($0.name, $0.value.text ?? "") }
    }
}
