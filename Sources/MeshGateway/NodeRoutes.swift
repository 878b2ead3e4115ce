import MeshModel
import MeshRouting
package import MeshRuntime
import MeshSessions
import MeshTelemetry
import MeshTransport
import MeshWire
import NIOHTTP1

/// The routes that are answered at once: models, health, metrics, workers' dry run, status and administration.
package struct NodeRoutes: ColdRoutes {
    private let administration: AdminRoutes
    private let admission: WorkerAdmission
    private let store: StoreWatch
    private let exposition: @Sendable () -> String

    package init(
        administration: AdminRoutes, admission: WorkerAdmission, store: StoreWatch,
        exposition: @escaping @Sendable () -> String
    ) {
        self.administration = administration
        self.admission = admission
        self.store = store
        self.exposition = exposition
    }

    package func respond(_ request: Request, context: GatewayContext) async -> Response {
        do {
            return try await route(request, context)
        } catch let error as MeshError {
            context.metrics.failed(error.code)
            return .error(error, requestID: request.requestID, in: request.dialect)
        } catch {
            context.metrics.failed(.internalError)
            return .error(
                MeshError(.internalError, "the node failed to answer; its log has the request id"),
                requestID: request.requestID, in: request.dialect)
        }
    }

    private func route(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let segments = request.segments
        if let answer = context.crossOrigin.preflight(request) { return answer }
        if segments.starts(with: ["api", "admin", "v1"]) {
            return try await administration.respond(request, path: Array(segments.dropFirst(3)), context: context)
        }
        switch segments {
        case ["health"], ["healthz"]:
            try requireRead(request)
            return health(context)
        case ["metrics"]:
            try requireOperator(request, context)
            return Response(
                status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: Array(exposition().utf8))
        case ["api", "coderai", "broker", "sessions"]:
            try requireRead(request)
            return try brokerSessions(request, context)
        case let path
        where path.starts(with: ["api", "coderai", "broker", "providers"]) && path.count == 6
            && path.last == "status":
            return try brokerProvider(path[4], request, context)
        // Below any prefix of a proxy, like the WebSocket.
        case let path where path.suffix(2) == ["coderai", "register"] && path.contains("api"):
            return try await dryRun(request, path)
        case let path where path.suffix(2) == ["coderai", "wss"] && path.contains("api"):
            // Asked for without an upgrade.
            throw WorkerAdmission.refusal
        case ["api", "hello"], ["api", "version"]:
            // What programs ask before anything else, to see whether somebody is there.
            try requireRead(request)
            return .json(["version": "0.0.0"])
        case ["openapi.yaml"]:
            try requireRead(request)
            return Response(status: 200, contentType: "application/yaml", body: Array(OpenAPIDocument.text.utf8))
        case ["api", "tags"]:
            try requireRead(request)
            let caller = try context.inferenceCaller(request.headers, scope: nil, from: request.place).get()
            return ModelRoutes(context: context, caller: caller).tags()
        default:
            if let (path, username) = BuyerPath.strip(segments), !path.isEmpty,
                let answer = try await administration.usage.respond(path, scope: username, request, context)
            {
                return answer
            }
            return try buyerRoute(request, context)
        }
    }

    /// A node whose store cannot be written to serves its buyers all the same, and says what is wrong.
    private func health(_ context: GatewayContext) -> Response {
        var members = [JSONValue.Member("status", .string(context.isDraining ? "draining" : "ok"))]
        if let trouble = store.current { members.append(.init("store", .string(trouble.problem))) }
        return .json(.object(members), status: context.isDraining ? 503 : 200)
    }

    // MARK: Buyers

    private func buyerRoute(_ request: Request, _ context: GatewayContext) throws -> Response {
        guard let (path, username) = BuyerPath.strip(request.segments) else {
            throw WrongPath.error(request.segments)
                ?? MeshError(.notFound, "there is nothing at this path; the API is under /v1, see GET /v1/models")
        }
        let caller = try context.inferenceCaller(request.headers, scope: username, from: request.place).get()
        let principal = context.principal(caller)
        if let answer = try ModelRoutes(context: context, caller: caller).respond(path, request) { return answer }
        switch path.first {
        case "route" where path == ["route", "explain"]:
            return try context.explain(request, for: principal, context.subjects(caller))
        case "chat" where path == ["chat", "completions"]:
            throw MeshError(
                .methodNotAllowed, "chat completions are requested with POST", allowedMethods: "POST")
        case "messages":
            guard path.count == 1 || path == ["messages", "count_tokens"] else {
                throw MeshError(
                    .notFound, "of the Messages API this node has /v1/messages and /v1/messages/count_tokens")
            }
            throw MeshError(.methodNotAllowed, "messages are requested with POST", allowedMethods: "POST")
        case "responses" where path == ["responses"] || path == ["responses", "input_tokens"]:
            throw MeshError(.methodNotAllowed, "responses are requested with POST", allowedMethods: "POST")
        default:
            guard EndpointPath(segments: path) == nil else {
                throw MeshError(
                    .methodNotAllowed, "this route takes GET, POST and DELETE",
                    allowedMethods: "GET, POST, DELETE")
            }
            if let known = WrongPath.error(request.segments) { throw known }
            throw MeshError(
                .notFound,
                "this node has no route '/\(path.joined(separator: "/"))'; Docs/Reference/http-api.md lists what there is"
            )
        }
    }

    // MARK: Workers

    private func dryRun(_ request: Request, _ path: [String]) async throws -> Response {
        guard request.method == .POST else {
            throw MeshError(.methodNotAllowed, "registration is tried with POST", allowedMethods: "POST")
        }
        return .json(
            try await admission.dryRun(
                path: path, document: try request.document(), headers: request.headers, address: request.place.address))
    }

    private func brokerSessions(_ request: Request, _ context: GatewayContext) throws -> Response {
        let visible = try visibleSessions(request, context)
        return .json(["sessions": .array(visible.map(\.document))])
    }

    /// The worker of one provider: the one `client_id` names, else the one that connected last.
    private func brokerProvider(_ id: String, _ request: Request, _ context: GatewayContext) throws -> Response {
        try requireRead(request)
        let client = request.query.last { $0.name == "client_id" }?.value
        let workers = try visibleSessions(request, context).filter { session in
            session.identity.providerID == id && (client ?? session.identity.clientID) == session.identity.clientID
        }
        guard let newest = workers.max(by: { ($0.connectedAt, $0.sessionID) < ($1.connectedAt, $1.sessionID) }) else {
            // The same for a provider of somebody else, one that does not exist, and one without a worker here.
            return .json([
                "provider_id": .string(id), "client_id": .optional(client), "connected": false, "session_id": .null,
                "last_close": try lastClose(id, client: client, request, context),
            ])
        }
        return .json(newest.document)
    }

    /// Every session for the operator, its own for an owner.
    private func visibleSessions(_ request: Request, _ context: GatewayContext) throws -> [SessionView] {
        let owner = try shownOwner(request, context)
        let catalog = context.catalog.current
        return administration.views.allSessions.filter { session in
            owner == nil || catalog.provider(session.identity.provider)?.owner == owner
        }
    }

    /// Why a worker is away that the caller may see; null where there was none.
    private func lastClose(
        _ id: String, client: String?, _ request: Request, _ context: GatewayContext
    ) throws -> JSONValue {
        let owner = try shownOwner(request, context)
        let ends = context.catalog.current.providers(withID: id).filter { owner == nil || $0.owner == owner }
            .flatMap { administration.views.ends(of: $0.key) }.filter { client == nil || $0.clientID == client }
        return ends.max { $0.at < $1.at }.map(\.document) ?? .null
    }

    private func requireRead(_ request: Request) throws {
        guard request.method == .GET else {
            throw MeshError(.methodNotAllowed, "this can only be read, with GET", allowedMethods: "GET, HEAD")
        }
    }

    /// Whose workers the caller may see; nil: everybody's.
    private func shownOwner(_ request: Request, _ context: GatewayContext) throws -> PublicKey? {
        if request.isLocalOperator || (try? requireOperator(request, context)) != nil { return nil }
        return try context.caller(request.headers, from: request.place).get().owner
    }

    private func requireOperator(_ request: Request, _ context: GatewayContext) throws {
        try AdminRoutes.requireOperator(request, context)
    }
}

/// `/v1/…`, `/api/v1/…` and `/api/u/{username}/…` are one API, which is at the root, too: some programs leave out `/v1`.
enum BuyerPath {
    /// What the API has at the root. Nothing that this node has there by itself is called so.
    private static let atRoot: Set<String> = Set(
        EndpointPath.Family.allCases.map(\.rawValue) + ["chat", "model", "models", "props"])

    /// Whether the API lies directly below `segments`.
    static func isBase(_ segments: [String]) -> Bool {
        switch segments {
        case [], ["v1"], ["api", "v1"]: true
        default:
            segments.starts(with: ["api", "u"]) && (segments.count == 3 || segments.count == 4 && segments[3] == "v1")
        }
    }

    static func strip(_ segments: [String]) -> (path: [String], username: String?)? {
        if segments.first == "v1" { return (Array(segments.dropFirst()), nil) }
        if let first = segments.first, atRoot.contains(first) { return (segments, nil) }
        guard segments.first == "api", segments.count >= 2 else { return nil }
        if segments[1] == "v1" { return (Array(segments.dropFirst(2)), nil) }
        guard segments[1] == "u", segments.count >= 4 else { return nil }
        let rest = segments.dropFirst(3)
        return (Array(rest.first == "v1" ? rest.dropFirst() : rest), segments[2])
    }
}
