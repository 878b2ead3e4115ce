import MeshDialects
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOHTTP1

/// `…/models` and what other programs ask in its place: one list, in the shapes of those who read it.
struct ModelRoutes {
    let context: GatewayContext
    let caller: Caller

    private var principal: Principal { context.principal(caller) }

    /// - Parameter path: below the base path.
    /// - Returns: nil for another route.
    func respond(_ path: [String], _ request: Request) throws(MeshError) -> Response? {
        switch path {
        case ["models"]: return try reads(request, list)
        case ["model", "info"]: return try reads(request) { _ in .json(["data": .array(all.map(\.asLiteLLM))]) }
        case ["props"]: return try reads(request, properties)
        default:
            guard path.first == "models", path.count > 1 else { return nil }
            return try reads(request) { request throws(MeshError) in try one(path, request) }
        }
    }

    /// As Ollama's programs ask, who have no base path.
    func tags() -> Response { .json(["models": .array(all.map(\.asOllama))]) }

    private func reads(
        _ request: Request, _ answer: (Request) throws(MeshError) -> Response
    ) throws(MeshError) -> Response {
        guard request.method == .GET else {
            throw MeshError(.methodNotAllowed, "models can only be read, with GET", allowedMethods: "GET, HEAD")
        }
        return try answer(request)
    }

    // MARK: The list

    /// What the caller may name, each as it is listed.
    private var all: [ListedModel] {
        let mayName = context.mayName(caller)
        let catalog = context.catalog.current
        let listing = context.catalog.listing(for: principal).filter {
            mayName([$0.id] + $0.provider.names(of: $0.model.id))
        }
        let pools = context.market.book.pools(for: principal.username).filter { mayName([$0.modelName]) }
        let published = published(catalog).filter { mayName([$0.fullName]) }
        return listing.map { ListedModel($0, fullName: $0.provider.fullName) } + pools.map(ListedModel.init)
            + published.map(ListedModel.init)
    }

    /// What others have published; what this node's callers have under a shorter name is listed by that.
    private func published(_ catalog: Catalog) -> [Publication] {
        let book = context.market.book
        return catalog.publications(for: principal).filter { told in
            guard told.id.home == context.identity.key else { return true }
            return switch told.id.kind {
            case .rotation: book.pool(told.name, for: principal.username)?.scope != told.scope
            case .policy: book.owner(ofPolicy: told.name, for: principal.username) != told.scope
            }
        }
    }

    private func list(_ request: Request) throws(MeshError) -> Response {
        var models = all
        // Those of Anthropic's programs that look for models take no other names.
        if request.dialect == .messages { models += aliases }
        let page = try ModelPaging(request.query).page(of: models.map(\.id))
        let shown = models[page.range]
        var members: [JSONValue.Member] = [
            .init("object", "list"), .init("data", .array(shown.map(\.document))),
            .init("has_more", .boolean(page.hasMore)), .init("first_id", .optional(shown.first?.id)),
            .init("last_id", .optional(shown.last?.id)),
        ]
        // Codex reads this member, whose entries would have to say how it is to instruct a model: it has words of its own for
        // models that it does not find there.
        let isCodex = request.query.contains { $0.name == "client_version" }
        if isCodex { members.append(.init("models", [])) }
        var response = Response.json(.object(members))
        if isCodex { response.headers.append(("etag", "\"aisbf\"")) }
        return response
    }

    private func one(_ path: [String], _ request: Request) throws(MeshError) -> Response {
        let name = path.dropFirst().joined(separator: "/")
        if let pool = context.pool(name, principal) { return .json(ListedModel(pool).document) }
        if let told = context.publication(name) { return .json(ListedModel(told).document) }
        let catalog = context.catalog.current
        // Sent as it is listed, or escaped: an id that looks like an escaped one may be either.
        let raw = RequestPath.modelID(request.target).flatMap { PercentEncoding.plain($0) }
        for id in [path[1], raw].compactMap(\.self) {
            if let found = catalog.listed(id, for: principal) {
                return .json(ListedModel(found, fullName: found.provider.fullName).document)
            }
        }
        if let alias = aliases.first(where: { $0.id == path[1] }) { return .json(alias.document) }
        throw MeshError(
            .modelNotFound, "there is no model '\(path[1].prefix(256))'; GET /v1/models lists what there is")
    }

    // MARK: Names for programs that take no others

    private var aliases: [ListedModel] {
        let mayName = context.mayName(caller)
        let book = context.market.book
        let named = book.policies(for: principal.username).map { ("autoselect/\($0)", $0) }
        let pools = book.pools(for: principal.username).map { ($0.modelName, $0.name) }
        return ([("auto", "auto")] + named + pools).compactMap { target, name in
            let id = ModelAlias.prefixes[0] + name
            return mayName([target]) ? ListedModel(alias: id, for: target) : nil
        }
    }

    // MARK: One model's window

    /// As llama.cpp tells the window of its one model.
    private func properties(_ request: Request) -> Response {
        let asked = request.query.last { $0.name == "model" }?.value
        let model = all.first { asked == nil || $0.id == asked }
        let window = model?.contextTokens.map { JSONValue.integer($0) } ?? 0
        return .json([
            "default_generation_settings": ["n_ctx": window], "total_slots": 1,
            "model_alias": .optional(model?.id), "model_path": "", "chat_template": "",
        ])
    }
}

/// Names that mean a policy or a pool, for programs that take only names like these.
enum ModelAlias {
    static let prefixes = ["claude/", "anthropic/"]

    /// What a name may stand for, the first that there is; empty for names that are none of these.
    static func targets(_ model: String) -> [String] {
        guard let prefix = prefixes.first(where: model.hasPrefix) else { return [] }
        let name = String(model.dropFirst(prefix.count))
        guard !name.isEmpty, !name.contains("/") else { return [] }
        return name == "auto" || name.hasPrefix("auto:") ? [name] : ["autoselect/\(name)", "rotation/\(name)"]
    }
}

/// `limit`, `after_id` and `before_id`, where a program asks for a part of the list.
struct ModelPaging {
    private static let most = 1_000
    private var limit: Int?
    private var after: String?
    private var before: String?

    init(_ query: [(name: String, value: String)]) throws(MeshError) {
        for (name, value) in query {
            switch name {
            case "limit":
                guard let number = Int(value), (1...Self.most).contains(number) else {
                    throw MeshError(
                        .invalidRequest, "'limit' must be a number from 1 to \(Self.most)", parameter: "limit")
                }
                limit = number
            case "after_id": after = value
            case "before_id": before = value
            default: break
            }
        }
        if after != nil || before != nil { limit = limit ?? 20 }
    }

    /// The part of a list of so many ids.
    func page(of ids: [String]) throws(MeshError) -> (range: Range<Int>, hasMore: Bool) {
        if let before {
            let end = try place(of: before, in: ids, "before_id")
            let start = max(end - (limit ?? end), 0)
            return (start..<end, start > 0)
        }
        let start = try after.map { id throws(MeshError) in try place(of: id, in: ids, "after_id") + 1 } ?? 0
        let end = min(start + (limit ?? ids.count), ids.count)
        return (start..<end, end < ids.count)
    }

    private func place(of id: String, in ids: [String], _ name: String) throws(MeshError) -> Int {
        if let place = ids.firstIndex(of: id) { return place }
        throw MeshError(
            .invalidRequest, "there is no model '\(id.cut(toUTF8Bytes: 256))' in the list any more: begin anew",
            parameter: name)
    }
}

/// One line of the list, for all who read it.
struct ListedModel {
    let id: String
    let contextTokens: UInt32?
    private let members: [JSONValue.Member]
    private let prices: Prices?

    init(_ listed: Catalog.Listed, fullName: String) {
        id = listed.id
        contextTokens = listed.model.contextTokens
        members = listed.document(fullName: fullName).members ?? []
        prices = listed.provider.prices[model: listed.model.id]
    }

    init(_ pool: PoolID) {
        id = pool.modelName
        contextTokens = nil
        members = pool.document.members ?? []
        prices = nil
    }

    init(_ told: Publication) {
        id = told.fullName
        contextTokens = nil
        members = [
            .init("id", .string(id)), .init("object", "model"), .init("created", 0),
            .init("owned_by", .string("\(told.scope.username)@\(told.homeName)")),
        ]
        prices = nil
    }

    init(alias: String, for target: String) {
        id = alias
        contextTokens = nil
        members = [
            .init("id", .string(alias)), .init("object", "model"), .init("created", 0), .init("owned_by", "aisbf"),
            .init("description", .string("\(target) at this node")),
        ]
        prices = nil
    }

    /// OpenAI's members and Anthropic's.
    var document: JSONValue {
        var all =
            members + [
                .init("type", "model"), .init("display_name", .string(id)), .init("created_at", "1970-01-01T00:00:00Z"),
            ]
        if let contextTokens { all.append(.init("max_input_tokens", .integer(contextTokens))) }
        return .object(all)
    }

    var asLiteLLM: JSONValue {
        var info: [JSONValue.Member] = [.init("id", .string(id)), .init("mode", "chat")]
        if let contextTokens {
            info += [.init("max_tokens", .integer(contextTokens)), .init("max_input_tokens", .integer(contextTokens))]
        }
        if let prices, prices.currency == .usd {
            let pricing = prices.pricing
            // Numbers there, and texts in OpenRouter's list.
            for (name, told) in [("input_cost_per_token", "prompt"), ("output_cost_per_token", "completion")] {
                if let text = pricing[told]?.text { info.append(.init(name, .number(text))) }
            }
        }
        return [
            "model_name": .string(id), "litellm_params": ["model": .string(id)], "model_info": .object(info),
        ]
    }

    var asOllama: JSONValue {
        [
            "name": .string(id), "model": .string(id), "modified_at": "1970-01-01T00:00:00Z", "size": 0, "digest": "",
            "details": [
                "parent_model": "", "format": "", "family": "", "families": [], "parameter_size": "",
                "quantization_level": "",
            ],
        ]
    }
}
