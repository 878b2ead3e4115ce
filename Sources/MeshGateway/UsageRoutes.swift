import MeshAccounting
import MeshExchange
import MeshModel
import MeshRuntime
import MeshTransport
import MeshWire
import NIOHTTP1

/// What was used, in the shapes that people's tools read: this node's own, OpenRouter's and OpenAI's.
struct UsageRoutes: Sendable {
    let administration: Administration
    let usage: UsageBook
    let quotas: Quotas
    let nodeName: String

    /// The answer to a path of the buyer API; nil where it is none of these.
    /// - Parameter scope: the user whose scope the path names, who must be the caller.
    func respond(
        _ path: [String], scope: String?, _ request: Request, _ context: GatewayContext
    ) async throws -> Response? {
        switch path {
        case ["usage"], ["key"], ["credits"], ["generation"], ["organization", "costs"]: break
        default:
            guard path.count == 3, path.starts(with: ["organization", "usage"]) else { return nil }
        }
        guard request.method == .GET else {
            throw MeshError(.methodNotAllowed, "this can only be read, with GET", allowedMethods: "GET, HEAD")
        }
        let caller = try context.caller(request.headers, from: request.place).get()
        guard scope == nil || scope == caller.username else {
            throw MeshError(
                .insufficientScope,
                "this API key belongs to another user than the path names; use /v1 or your own username")
        }
        switch path[0] {
        case "usage": return try await own(request, caller)
        case "key": return try await key(caller)
        case "credits": return try await credits(caller)
        case "generation": return try generation(request, caller)
        default:
            return path[1] == "costs"
                ? try await costs(request, caller) : try await organization(path[2], request, caller)
        }
    }

    // MARK: This node's own

    /// `GET /v1/usage`: one's own, as a buyer, or with `side=seller` what one's providers did.
    private func own(_ request: Request, _ caller: Caller) async throws -> Response {
        var asked = try UsageAsked(request.query, now: SystemClock.wall)
        if asked.isSeller {
            asked.query.filters.append(.init(.provider, try await providers(of: caller.owner)))
        } else {
            asked.query.filters.append(.init(.side, [UsageGroup.Side.entry.rawValue]))
            asked.query.filters.append(.init(.username, [caller.username]))
        }
        return .json(asked.document(try await usage.sums([asked.query])[0]))
    }

    /// `GET /api/admin/v1/usage`: everybody's.
    func all(_ request: Request) async throws -> Response {
        var asked = try UsageAsked(request.query, now: SystemClock.wall)
        if asked.isSeller {
            let all = try await administration.providers()
            asked.query.filters.append(.init(.provider, all.map(fullName)))
        } else {
            asked.query.filters.append(.init(.side, [UsageGroup.Side.entry.rawValue]))
        }
        return .json(asked.document(try await usage.sums([asked.query])[0]))
    }

    private func providers(of owner: PublicKey) async throws -> [String] {
        try await administration.providers().filter { $0.ownerKey == owner }.map(fullName)
    }

    private func fullName(_ provider: ProviderAccount) -> String {
        "\(provider.scope.username)@\(nodeName)/\(provider.providerID)"
    }

    // MARK: OpenRouter's

    private func generation(_ request: Request, _ caller: Caller) throws -> Response {
        guard let id = request.query.last(where: { $0.name == "id" })?.value, !id.isEmpty else {
            throw MeshError(
                .invalidRequest, "name the request: '?id=' and its x-request-id, or the id of its answer",
                parameter: "id")
        }
        let isOperator = caller.scopes.contains(.admin)
        guard let found = usage.generations.find(id, of: isOperator ? nil : caller.username) else {
            throw MeshError(
                .notFound,
                "there is no answered request of yours by this id; they are kept for \(Limits.generationMs / 60_000) minutes"
            )
        }
        return .json(["data": found.document])
    }

    private func key(_ caller: Caller) async throws -> Response {
        let subject = QuotaSubject(.key, caller.keyID)
        let account = try await administration.keys().first { $0.keyID == caller.keyID }
        let spent = try await spent(.key, caller.keyID)
        let standings = quotas.standings(of: subject)
        let users = quotas.standings(of: QuotaSubject(.user, caller.username))
        let money = standings.last { $0.limit.isMoney } ?? users.last { $0.limit.isMoney }
        let perMinute = (standings + users).first { $0.limit == .requestsPerMinute }
        let reset: JSONValue =
            money.map { $0.limit == .moneyPerDay ? "daily" : "monthly" } ?? .null
        return .json([
            "data": [
                "label": .string(account?.label ?? ""), "limit": .money(money?.amount),
                "limit_remaining": .money(money?.remaining), "limit_reset": reset, "usage": .money(spent.all),
                "usage_daily": .money(spent.day), "usage_weekly": .money(spent.week),
                "usage_monthly": .money(spent.month), "is_free_tier": false,
                "rate_limit": perMinute.map { ["requests": .integer($0.amount), "interval": "1m"] } ?? .null,
            ]
        ])
    }

    private func credits(_ caller: Caller) async throws -> Response {
        let spent = try await spent(.username, caller.username)
        let standings =
            quotas.standings(of: QuotaSubject(.user, caller.username))
            + quotas.standings(of: QuotaSubject(.key, caller.keyID))
        let month = standings.first { $0.limit == .moneyPerMonth }
        return .json([
            "data": ["total_credits": .money(month?.amount ?? 0), "total_usage": .money(spent.month)]
        ])
    }

    /// In US dollars; weeks begin on Monday, all in UTC.
    private func spent(
        _ column: UsageColumn, _ value: String
    ) async throws -> (all: Int64, day: Int64, week: Int64, month: Int64) {
        let now = SystemClock.wall
        let day = QuotaPeriod(.day, at: now)
        // 1970-01-01 was a Thursday.
        let monday = QuotaPeriod(.day, number: day.number - (day.number + 3) % 7)
        let starts = [0, day.start.seconds, monday.start.seconds, QuotaPeriod(.month, at: now).start.seconds]
        let sums = try await usage.sums(
            starts.map { start in
                UsageQuery(
                    from: start, until: now.seconds + 60,
                    filters: [
                        .init(column, [value]), .init(.side, [UsageGroup.Side.entry.rawValue]),
                        .init(.currency, [Currency.usd.description]),
                    ])
            })
        let money = sums.map { $0.first?.amounts.money ?? 0 }
        return (money[0], money[1], money[2], money[3])
    }

    // MARK: OpenAI's

    /// Whose usage a key may see there: an admin's everybody's, another's its own user's.
    private func scoped(_ query: UsageQuery, _ caller: Caller) -> UsageQuery {
        var query = query
        query.filters.append(.init(.side, [UsageGroup.Side.entry.rawValue]))
        if !caller.scopes.contains(.admin) { query.filters.append(.init(.username, [caller.username])) }
        return query
    }

    private func organization(_ kind: String, _ request: Request, _ caller: Caller) async throws -> Response {
        guard let kind = UsageKind(rawValue: kind), kind != .other else {
            let known = UsageKind.allCases.filter { $0 != .other }.map(\.rawValue).joined(separator: ", ")
            throw MeshError(.notFound, "there is no usage of this kind; there is \(known)")
        }
        var page = try UsagePage(request.query, now: SystemClock.wall)
        page.query.filters.append(.init(.kind, [kind.rawValue]))
        page.query.filters.append(.init(.outcome, [UsageGroup.served]))
        let sums = try await usage.sums([scoped(page.query, caller)])[0]
        return .json(page.document(sums) { page.result(kind, $0) })
    }

    private func costs(_ request: Request, _ caller: Caller) async throws -> Response {
        var page = try UsagePage(request.query, now: SystemClock.wall, isCosts: true)
        page.query.groups.append(.currency)
        let sums = try await usage.sums([scoped(page.query, caller)])[0]
        return .json(page.document(sums.filter { $0.amounts.money > 0 }) { page.cost($0) })
    }
}

extension JSONValue {
    /// A number of whole units, as tools of this kind expect it; null for nil.
    static func money(_ microUnits: Int64?) -> JSONValue {
        microUnits.map { .number(FixedPoint.shortText($0, digits: 6)) } ?? .null
    }
}

extension Generation {
    var document: JSONValue {
        [
            "id": .string(answerID ?? requestID), "request_id": .string(requestID),
            "created_at": .string(at.utcText), "model": .string(model), "provider_name": .string(provider),
            "total_cost": .money(cost?.microUnits ?? 0), "usage": .money(cost?.microUnits ?? 0),
            "currency": .optional(cost?.currency.description), "cache_discount": .null,
            "tokens_prompt": .integer(promptTokens), "tokens_completion": .integer(completionTokens),
            "native_tokens_prompt": .integer(promptTokens), "native_tokens_completion": .integer(completionTokens),
            "native_tokens_reasoning": .null, "native_tokens_cached": .integer(cachedTokens),
            "is_estimated": .boolean(isEstimated), "latency": firstContentMs.map { .integer($0) } ?? .null,
            "generation_time": .integer(durationMs), "streamed": .boolean(isStreamed),
            "cancelled": .boolean(isCancelled), "finish_reason": .optional(finishReason),
            "native_finish_reason": .optional(finishReason), "router": .null, "external_user": .null,
            "attempts": .integer(attempts),
            "provider_responses": [
                [
                    "provider_name": .string(provider), "node": .string(node), "status": .integer(status),
                    "latency": firstContentMs.map { .integer($0) } ?? .null,
                ]
            ],
        ]
    }
}
