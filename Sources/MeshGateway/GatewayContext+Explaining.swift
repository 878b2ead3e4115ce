import MeshAccounting
import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore
import NIOHTTP1

/// `…/route/explain`: where a request would go, for whoever may make it.
extension GatewayContext {
    /// - Parameters:
    ///   - principal: for whom the request would be made.
    ///   - subjects: whose limits it would have to keep.
    func explain(_ request: Request, for principal: Principal, _ subjects: [QuotaSubject]) throws -> Response {
        guard request.method == .POST || request.method == .GET else {
            throw MeshError(
                .methodNotAllowed, "where a request would go is asked with GET or POST",
                allowedMethods: "GET, HEAD, POST")
        }
        let endpoint = try Self.endpoint(request.query.last { $0.name == "endpoint" }?.value)
        var bytes = ByteBuffer(bytes: request.body)
        if request.method == .GET {
            guard let model = request.query.last(where: { $0.name == "model" })?.value, !model.isEmpty else {
                throw MeshError(
                    .invalidRequest,
                    "name the model in the query, such as /v1/route/explain?model=auto:cheap; or POST the whole request",
                    parameter: "model")
            }
            let body: JSONValue = ["model": .string(model)]
            bytes = ByteBuffer(bytes: body.bytes)
        }
        let body = try BuyerBody.read(bytes)
        var destination = try destination(body, of: endpoint, request.headers, principal)
        let asked = destination
        let outlook = outlook(
            WorkRequest(
                content: .chat(body), form: .document,
                need: WorkerNeed(model: destination.onlyModel, endpoint: endpoint), deadlines: deadlines),
            &destination, for: principal, subjects, from: request.place)
        let asker = Asker(principal: principal, requestID: request.requestID)
        let translatable = endpoint.flatMap { [.messages, .responses].contains($0) ? $0 : nil }
        let passes = translatable.map { self.passes($0, destination, principal) } ?? true
        let need = WorkerNeed(model: destination.onlyModel, endpoint: passes ? endpoint : nil)
        var told: RouteExplanation =
            switch destination {
            case .route(let route): dispatcher.explain(route, need, here: identity.key, for: asker)
            case .policy(let wish): market.explain(wish, need, for: asker)
            case .pool(let pool, let shape):
                market.explain(pool, need, shape, for: asker)
                    ?? RouteExplanation(
                        strategy: .rotation, winner: nil, candidates: [],
                        error: MeshError(.modelNotFound, "the rotation '\(pool.name)' has just been removed"))
            }
        told.leaveOut(of: asked, all: destination)
        if let refusal = outlook.refusal {
            told.winner = nil
            told.error = refusal.told(at: SystemClock.wall)
        }
        var document = told.document(
            body.model, endpoint, outlook, catalog.current, requestID: request.requestID)
        if let translatable, case .object(var members) = document {
            members.append(.init("served_as", .string(passes ? translatable.text : "/v1/chat/completions")))
            // A model alone is no request that could lose anything.
            let asked = passes || request.method == .GET
            let lost = asked ? nil : translated(request.body, of: translatable, to: destination, principal)
            members.append(.init("warnings", .strings(lost?.warnings ?? [])))
            document = .object(members)
        }
        return .json(document)
    }

    private func destination(
        _ body: BuyerBody, of endpoint: EndpointPath?, _ headers: HTTPHeaders, _ principal: Principal
    ) throws(MeshError) -> Destination {
        guard endpoint == nil || endpoint == .messages || endpoint == .responses else {
            if let chosen = try chosen(body.model, principal, headers) { return chosen }
            return .route(try catalog.resolve(body.model, for: principal).get())
        }
        let preferences = try fields(of: body).map(RoutingPreferences.init)
        return try destination(body, preferences, headers, principal)
    }

    /// - Parameter text: such as `embeddings`, `/v1/images/generations`; nothing and `chat/completions` are chat.
    private static func endpoint(_ text: String?) throws(MeshError) -> EndpointPath? {
        guard let text, !text.isEmpty else { return nil }
        var path = text.split(separator: "/").map(String.init)
        if path.first == "v1" { path.removeFirst() }
        if path == ["chat", "completions"] { return nil }
        guard let endpoint = EndpointPath(segments: path) else {
            throw MeshError(
                .invalidRequest,
                "there is no endpoint '\(text.cut(toUTF8Bytes: 128))'; give one such as chat/completions or embeddings",
                parameter: "endpoint")
        }
        return endpoint
    }
}

extension QuotaOutlook {
    fileprivate func document(_ subject: QuotaSubject, _ standing: QuotaStanding) -> JSONValue {
        func amount(_ value: Int64) -> JSONValue {
            standing.limit.isMoney
                ? .string(FixedPoint.shortText(value, digits: 6)) : .integer(value)
        }
        return [
            "subject": .string(subject.kind.rawValue), "limit": .string(standing.limit.rawValue),
            "amount": amount(standing.amount), "remaining": amount(standing.remaining),
            "resets_in_ms": .integer(standing.resetMs),
            "refuses": .boolean(refusal.map { $0.subject == subject && $0.limit == standing.limit } ?? false),
        ]
    }
}

extension RouteExplanation {
    /// Those of a route whom the caller cannot pay any more.
    fileprivate mutating func leaveOut(of asked: Destination, all destination: Destination) {
        guard case .route(let before) = asked, case .route(let after) = destination else { return }
        for provider in before.providers where !after.providers.contains(where: { $0.key == provider.key }) {
            guard candidates.count < Limits.explainedCandidates else { return }
            candidates.append(.init(provider: provider, model: before.model, standing: .excluded(.budget)))
        }
    }

    /// - Parameter requested: the model as it was asked for.
    func document(
        _ requested: String, _ endpoint: EndpointPath?, _ outlook: QuotaOutlook, _ catalog: Catalog,
        requestID: String
    ) -> JSONValue {
        let namer = CandidateNamer(catalog: catalog)
        return [
            "object": "route.explanation", "requested": .string(requested),
            "endpoint": .string(endpoint?.text ?? "/v1/chat/completions"), "strategy": .string(strategy.rawValue),
            "summary": .string(summary(namer)), "waits": .boolean(waits),
            "winner": winner.map { namer.document($0) } ?? .null,
            "candidates": .array(candidates.map { namer.document($0, wins: isWinner($0)) }),
            "limits": .array(outlook.standings.map { outlook.document($0.subject, $0.standing) }),
            "error": error.flatMap { $0.document(requestID: requestID)["error"] } ?? .null,
        ]
    }

    private func isWinner(_ candidate: Candidate) -> Bool {
        guard let winner, candidate.provider?.key == winner.provider.key, candidate.model == winner.model else {
            return false
        }
        if let node = candidate.node, node != winner.node { return false }
        if let worker = candidate.worker, worker != winner.worker { return false }
        return candidate.member == winner.member
    }

    private func summary(_ namer: CandidateNamer) -> String {
        let able = candidates.count { if case .excluded = $0.standing { false } else { true } }
        let counts = "\(able) of \(candidates.count) can take it"
        if let winner {
            return "\(namer.name(winner.provider))/\(winner.model) at node \(namer.name(winner.node)); \(counts)"
        }
        if waits { return "the request would wait for somebody to become free; \(counts)" }
        return error.map { "nobody: \($0.message)" } ?? counts
    }
}

/// Candidates as the caller may call them.
private struct CandidateNamer {
    let catalog: Catalog

    func name(_ provider: CatalogProvider) -> String { provider.fullName }
    func name(_ node: PublicKey) -> String { catalog.name(of: node) }

    func document(_ winner: RouteExplanation.Winner) -> JSONValue {
        [
            "provider": .string(name(winner.provider)), "model": .string(winner.model),
            "node": .string(name(winner.node)), "worker": .optional(winner.worker),
            "member": .optional(winner.member), "why": .optional(winner.reason),
        ]
    }

    func document(_ candidate: RouteExplanation.Candidate, wins: Bool) -> JSONValue {
        var members: [JSONValue.Member] = [
            .init("provider", .optional(candidate.provider.map { name($0) })), .init("model", .string(candidate.model)),
            .init("nodes", .strings(nodes(of: candidate))), .init("worker", .optional(candidate.worker)),
            .init("selected", .boolean(wins)),
        ]
        if let member = candidate.member { members.append(.init("member", .string(member))) }
        switch candidate.standing {
        case .rank(let rank):
            members += [.init("rank", .integer(rank)), .init("reason", .null)]
        case .share(let perMille):
            members += [.init("share_per_mille", .integer(perMille)), .init("reason", .null)]
        case .excluded(let reason):
            members += [
                .init("reason", .string(reason.rawValue)), .init("reason_text", .string(reason.words)),
                .init("passes", .boolean(reason.passes)),
            ]
        }
        if let score = candidate.score {
            members.append(
                .init(
                    "score",
                    [
                        "model_position": .integer(score.steps.model), "order_position": .integer(score.steps.order),
                        "behind_for": .strings(score.steps.names), "value": .integer(score.value),
                        "second": .integer(score.second),
                    ]))
        }
        if let back = candidate.backAfterMs { members.append(.init("back_after_ms", .integer(back))) }
        return .object(members)
    }

    private func nodes(of candidate: RouteExplanation.Candidate) -> [String] {
        if let node = candidate.node { return [name(node)] }
        var names: [String] = []
        for host in candidate.provider?.hosts ?? [] where host.offer.models.contains(candidate.model) {
            let name = name(host.node)
            if !names.contains(name) { names.append(name) }
        }
        return names
    }
}
