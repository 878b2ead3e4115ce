import MeshBroker
import MeshCrypto
import MeshExchange
import MeshModel
import MeshRouting
package import MeshRuntime
import MeshWire
import NIOHTTP1

/// `/api/admin/v1`: what the operator's CLI calls. Over the Unix socket no key is needed, because only this user
/// can open it; over TCP a key with the scope `admin` is.
package struct AdminRoutes: Sendable {
    let administration: Administration
    let views: NodeViews
    let rules: MeshRules
    let usage: UsageRoutes

    package init(
        administration: Administration, views: NodeViews, rules: MeshRules, quotas: Quotas = Quotas(),
        usage: UsageBook = UsageBook()
    ) {
        self.usage = UsageRoutes(
            administration: administration, usage: usage, quotas: quotas, nodeName: views.facts.name)
        self.administration = administration
        self.views = views
        self.rules = rules
    }

    static func requireOperator(_ request: Request, _ context: GatewayContext) throws {
        if request.isLocalOperator { return }
        let caller = try context.caller(request.headers, from: request.place).get()
        guard caller.scopes.contains(.admin) else {
            throw MeshError(.insufficientScope, "this API key does not have the scope 'admin'")
        }
    }

    func respond(_ request: Request, path: [String], context: GatewayContext) async throws -> Response {
        let isRead = request.method == .GET
        // Whoever sells here may look at what is theirs.
        if isRead, path.first == "providers", !request.isLocalOperator {
            let caller = try context.caller(request.headers, from: request.place).get()
            if !caller.scopes.contains(.admin) {
                return try await ownProviders(of: caller, Array(path.dropFirst()), context)
            }
        }
        try Self.requireOperator(request, context)
        guard !isRead, path != ["route", "explain"] else { return try await answer(request, path, context) }
        let response = try await answer(request, path, context)
        context.journal.changed(
            Self.change(request, path), by: Self.author(request, context), requestID: request.requestID)
        return response
    }

    private func answer(_ request: Request, _ path: [String], _ context: GatewayContext) async throws -> Response {
        let isRead = request.method == .GET
        switch (path.first, path.count) {
        case ("status", 1) where isRead:
            return .json(
                views.node(isDraining: context.isDraining, requestsInFlight: context.requestsInFlight).document)
        case ("users", 1...2): return try await users(request, Array(path.dropFirst()))
        case ("providers", _): return try await providers(request, Array(path.dropFirst()), context)
        case ("rotations", _): return try await rotations(request, Array(path.dropFirst()))
        case ("policies", _): return try await policies(request, Array(path.dropFirst()))
        case ("apply", 1): return try await apply(request)
        case ("route", 2) where path[1] == "explain": return try await explain(request, context)
        case ("usage", 1) where isRead: return try await usage.all(request)
        case ("limits", 1...4): return try await limits(request, Array(path.dropFirst()))
        case ("keys", 1...3): return try await keys(request, Array(path.dropFirst()))
        case ("mesh", 3) where path[1] == "names": return try await settleName(request, path[2])
        case ("mesh", 2...3): return try await meshRoute(request, Array(path.dropFirst()))
        default: throw MeshError(.notFound, "there is no administration route '/\(path.joined(separator: "/"))'")
        }
    }

    private func ownProviders(
        of caller: Caller, _ path: [String], _ context: GatewayContext
    ) async throws -> Response {
        let own = try await administration.providers().filter { $0.ownerKey == caller.owner }
        if path.isEmpty {
            return .json(["providers": .array(own.map { views.provider($0).document(isOperator: false) })])
        }
        guard path.count == 2 || path.count == 3 && path[2] == "why",
            let found = own.first(where: { $0.scope == OwnerScope(username: path[0]) && $0.providerID == path[1] })
        else {
            throw MeshError(
                .notFound, "this key's owner has no such provider here; GET providers lists what there is")
        }
        if path.count == 3 { return why(found, context) }
        return .json(views.provider(found).document(isOperator: false))
    }

    /// Why the workers of a provider get no requests.
    private func why(_ provider: ProviderAccount, _ context: GatewayContext) -> Response {
        let gates = views.gates(provider, context.quotas, context.market, isDraining: context.isDraining)
        return .json([
            "gates": .array(
                gates.map {
                    ["gate": .string($0.gate), "state": .string($0.state.rawValue), "words": .string($0.words)]
                })
        ])
    }

    private func users(_ request: Request, _ path: [String]) async throws -> Response {
        switch (path.count, request.method) {
        case (0, .GET): return .json(["users": .array(try await administration.users().map(\.document))])
        case (0, .POST):
            let username = try Self.text(try request.document(), "username")
            return .json(try await administration.createUser(username).document, status: 201)
        case (1, .PATCH):
            guard let disabled = try request.document()["disabled"]?.flag else {
                throw MeshError(
                    .invalidRequest, "the body needs 'disabled', true or false", parameter: "disabled")
            }
            return .json(try await administration.setUser(path[0], disabled: disabled).document)
        case (1, .DELETE):
            try await administration.removeUser(
                path[0], force: request.query.contains { $0.name == "force" && $0.value == "true" })
            return .noContent
        default: throw Self.wrongMethod(path.isEmpty ? "GET, HEAD, POST" : "PATCH, DELETE")
        }
    }

    private func providers(_ request: Request, _ path: [String], _ context: GatewayContext) async throws -> Response {
        if path.isEmpty, request.method == .GET {
            let all = try await administration.providers()
            return .json(["providers": .array(all.map { views.provider($0).document })])
        }
        if path.isEmpty, request.method == .POST { return try await createProvider(try request.document(), context) }
        guard path.count >= 2 else { throw Self.wrongMethod("GET, HEAD, POST") }
        let scope = OwnerScope(username: path[0])
        switch (path.count, request.method) {
        case (2, .GET): return .json(views.provider(try await administration.provider(scope, path[1])).document)
        case (2, .PATCH):
            let change = try Self.providerChange(try request.document())
            return .json(views.provider(try await administration.updateProvider(scope, path[1], change)).document)
        case (2, .DELETE):
            try await administration.removeProvider(scope, path[1])
            return .noContent
        case (3, .GET) where path[2] == "why":
            return why(try await administration.provider(scope, path[1]), context)
        case (3, .POST) where path[2] == "rotate-token":
            let overlap = try request.document()["overlap_seconds"]?.integer ?? 0
            let rotated = try await administration.rotateToken(scope, path[1], overlapSeconds: overlap)
            await published(rotated.token.key.publicKey, context)
            return .json(secretDocument(rotated.provider, rotated.token.text))
        case (3...4, _) where path[2] == "tokens":
            return try await tokens(request, scope, path[1], token: path.count == 4 ? path[3] : nil)
        case (2, _): throw Self.wrongMethod("GET, HEAD, PATCH, DELETE")
        case (3, _) where path[2] == "rotate-token": throw Self.wrongMethod("POST")
        default:
            throw MeshError(.notFound, "there is no administration route for this")
        }
    }

    private func createProvider(_ body: JSONValue, _ context: GatewayContext) async throws -> Response {
        let access: ProviderAccess
        switch body["access"]?.text ?? "owner" {
        case "public": access = .public
        case "owner": access = .ownerOnly
        case "named":
            let names = body["named"]?.elements?.compactMap(\.text) ?? []
            access = .named(try names.map { try Self.namedKey($0) })
        default: throw MeshError(.invalidRequest, "access is one of public, owner, named", parameter: "access")
        }
        let id = try Self.text(body, "provider_id")
        let scope = OwnerScope(username: body["owner"]?.text ?? "global")
        let name = body["display_name"]?.text ?? ""
        let limit = Int(clamping: body["max_concurrency"]?.integer ?? 64)
        let upstream = try Self.upstreamChange(body)
        if try Self.isUpstream(body) {
            let provider = try await administration.createUpstream(
                id, scope: scope, access: access, displayName: name, maxConcurrency: limit, upstream: upstream)
            return .json(["provider": views.provider(provider).document], status: 201)
        }
        let created = try await administration.createProvider(
            id, scope: scope, access: access, displayName: name, maxConcurrency: limit)
        await published(created.token.key.publicKey, context)
        return .json(secretDocument(created.provider, created.token.text), status: 201)
    }

    /// Waits until a token that is about to be shown admits workers here: at most two seconds, because it will in any
    /// case, and a node whose clock is doubted signs nothing.
    private func published(_ key: PublicKey, _ context: GatewayContext) async {
        await context.catalog.wait(atMost: Limits.changeWaitMs) { catalog in
            catalog.providers.contains { $0.attachKeys.contains { $0.key == key } }
        }
    }

    static func namedKey(_ text: String) throws(MeshError) -> PublicKey {
        for kind in [KeyText.owner, .node, .operatorKey] {
            if case .success(let bytes) = kind.parse(text), let key = PublicKey(bytes) { return key }
        }
        throw MeshError(
            .invalidRequest, "'named' takes owner, node or operator ids such as aisbf_owner_…", parameter: "named")
    }

    private func keys(_ request: Request, _ path: [String]) async throws -> Response {
        switch (path.count, request.method) {
        case (0, .GET): return .json(["keys": .array(try await administration.keys().map(\.document))])
        case (0, .POST):
            let body = try request.document()
            let names = body["scopes"]?.elements?.compactMap(\.text) ?? ["inference"]
            let scopes = try names.map { name in
                guard let scope = APIKeyScope(rawValue: name) else {
                    throw MeshError(.invalidRequest, "scopes are 'inference' and 'admin'", parameter: "scopes")
                }
                return scope
            }
            let created = try await administration.createKey(
                username: try Self.text(body, "username"), label: String((body["label"]?.text ?? "").prefix(64)),
                scopes: scopes, lifeSeconds: try Self.integer(body, "expires_in_seconds"),
                defaultModel: try Self.defaultModel(body))
            return .json(created.account.document(created.secret.text), status: 201)
        case (1, .PATCH):
            let body = try request.document()
            guard body["default_model"] != nil else {
                throw MeshError(
                    .invalidRequest, "'default_model' is what can be changed of a key: a model, or null for none",
                    parameter: "default_model")
            }
            let model = try Self.defaultModel(body)
            return .json(try await administration.setDefaultModel(model, ofKey: path[0]).document)
        case (1, .DELETE):
            try await administration.revokeKey(path[0])
            return .noContent
        case (2, .POST) where path[1] == "rotate":
            let overlap = try Self.integer(try request.document(), "overlap_seconds") ?? 0
            let made = try await administration.rotateKey(path[0], overlapSeconds: overlap)
            return .json(made.account.document(made.secret.text), status: 201)
        case (2, _) where path[1] != "rotate":
            throw MeshError(.notFound, "there is no administration route for this")
        default: throw Self.wrongMethod(path.isEmpty ? "GET, HEAD, POST" : path.count == 1 ? "DELETE, PATCH" : "POST")
        }
    }

    private static func defaultModel(_ body: JSONValue) throws -> String? {
        guard let value = body["default_model"], value != .null else { return nil }
        guard let name = value.text, (1...Limits.modelNameBytes).contains(name.utf8.count) else {
            throw MeshError(
                .invalidRequest, "'default_model' has 1 to \(Limits.modelNameBytes) bytes, or is null",
                parameter: "default_model")
        }
        return name
    }

    /// `mesh/names/accept` and `mesh/names/forget`.
    private func settleName(_ request: Request, _ action: String) async throws -> Response {
        guard request.method == .POST else { throw Self.wrongMethod("POST") }
        let body = try request.document()
        guard let name = MeshName(try Self.text(body, "name")) else {
            throw MeshError(
                .invalidRequest, "a name is written as 'aisbf mesh names' shows it, such as node:b", parameter: "name")
        }
        switch action {
        case "forget":
            administration.settle(.forget(name))
            return .noContent
        case "accept":
            guard let holder = name.holder(try Self.text(body, "id")) else {
                throw MeshError(
                    .invalidRequest, "'id' is the aisbf_node_…, aisbf_owner_… or key:… that the name is to mean",
                    parameter: "id")
            }
            administration.settle(.accept(name, holder: holder))
            return .json(await views.name(name)?.document ?? .null)
        default: throw MeshError(.notFound, "there is no administration route for this")
        }
    }

    static func wrongMethod(_ allowed: String) -> MeshError {
        MeshError(.methodNotAllowed, "this route takes \(allowed)", allowedMethods: allowed)
    }

    private static func text(_ body: JSONValue, _ name: String) throws -> String {
        guard let text = body[name]?.text, !text.isEmpty else {
            throw MeshError(.invalidRequest, "the body needs a string field '\(name)'", parameter: name)
        }
        return text
    }

    func secretDocument(_ provider: ProviderAccount, _ token: String) -> JSONValue {
        views.provider(provider).document(token: token, apiURL: views.facts.apiURL)
    }
}
