import MeshCrypto
import MeshModel
import MeshRuntime
import MeshWire
import NIOHTTP1

/// What the operator changes, read from a request and told to the log.
extension AdminRoutes {
    static func providerChange(_ body: JSONValue) throws(MeshError) -> ProviderChange {
        let known =
            ["access", "named", "display_name", "max_concurrency", "data_policy", "prices"] + upstreamFields
        for member in body.members ?? [] where !known.contains(member.name) {
            throw MeshError(
                .invalidRequest, "only \(known.joined(separator: ", ")) can be changed", parameter: member.name.cut)
        }
        var change = ProviderChange()
        if let named = body["named"], named != .null {
            guard let elements = named.elements, elements.allSatisfy({ $0.text != nil }) else {
                throw MeshError(.invalidRequest, "'named' must be a list of ids", parameter: "named")
            }
            var keys: [PublicKey] = []
            for text in elements.compactMap(\.text) {
                let key = try namedKey(text)
                if !keys.contains(key) { keys.append(key) }
            }
            change.named = keys
        }
        if let access = body["access"], access != .null {
            switch access.text {
            case "public": change.access = .public
            case "owner": change.access = .ownerOnly
            case "named":
                guard let keys = change.named, !keys.isEmpty else {
                    throw MeshError(.invalidRequest, "the access 'named' needs ids in 'named'", parameter: "named")
                }
                change.access = .named(keys)
            default: throw MeshError(.invalidRequest, "access is one of public, owner, named", parameter: "access")
            }
        }
        if let name = body["display_name"], name != .null {
            guard let text = name.text else {
                throw MeshError(.invalidRequest, "'display_name' must be text", parameter: "display_name")
            }
            change.displayName = text
        }
        change.maxConcurrency = try integer(body, "max_concurrency").map { Int(clamping: $0) }
        change.upstream = try upstreamChange(body)
        change.dataPolicy = try dataPolicy(body)
        change.prices = try prices(body)
        return change
    }

    /// Whether the provider that is to be made is served by this node itself.
    static func isUpstream(_ body: JSONValue) throws(MeshError) -> Bool {
        switch body["kind"] {
        case nil, .null?, .string(ProviderKind.workers)?:
            if let field = upstreamFields.first(where: { body[$0] != nil }) {
                throw MeshError(
                    .invalidRequest, "'\(field)' belongs to a provider of kind '\(ProviderKind.upstream)'",
                    parameter: "kind")
            }
            return false
        case .string(ProviderKind.upstream)?: return true
        case .string?, .boolean?, .number?, .array?, .object?:
            throw MeshError(
                .invalidRequest, "kind is one of \(ProviderKind.workers), \(ProviderKind.upstream)", parameter: "kind")
        }
    }

    /// A whole number that may be left out; something else in its place must not pass as left out.
    static func integer(_ body: JSONValue, _ name: String) throws(MeshError) -> Int64? {
        guard let value = body[name], value != .null else { return nil }
        guard let number = value.integer else {
            throw MeshError(.invalidRequest, "'\(name)' must be a whole number", parameter: name)
        }
        return number
    }

    // MARK: The log

    /// Who asked: nobody but the operator reaches the socket, and a key is known by its id.
    static func author(_ request: Request, _ context: GatewayContext) -> String {
        if request.isLocalOperator { return "the operator at this machine" }
        guard case .success(let caller) = context.caller(request.headers, from: request.place) else { return "unknown" }
        return "\(caller.username), key \(caller.keyID)"
    }

    /// What was changed, by the names in the path and the body. Never the body itself: it may hold a token.
    static func change(_ request: Request, _ path: [String]) -> String {
        let body = (try? request.document()) ?? .null
        let names = ["owner", "provider_id", "kind", "username", "label", "access"].compactMap { name in
            body[name]?.text.map { "\(name)=\($0.cut)" }
        }
        let flags = ["disabled", "max_concurrency", "expires_in_seconds", "overlap_seconds"].compactMap { name in
            body[name].flatMap { $0.flag.map { "\($0)" } ?? $0.integer.map { "\($0)" } }.map { "\(name)=\($0)" }
        }
        let target = "\(request.method.rawValue) \(path.map(\.cut).joined(separator: "/"))"
        return ([target] + names + flags).joined(separator: " ")
    }
}

extension String {
    /// Short enough for a log line and an error's parameter.
    fileprivate var cut: String { String(prefix(64)) }
}
