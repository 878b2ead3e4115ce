import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore
import NIOHTTP1

extension GatewayContext {
    /// A request of Messages or Responses: to whoever offers that API, byte for byte; where nobody does, as a chat. Which of the
    /// two is known before anybody is asked, and holds for all who are.
    func translatable(
        _ endpoint: EndpointPath, _ head: HTTPRequestHead, _ bytes: ByteBuffer, _ principal: Principal,
        defaultModel: String? = nil
    ) throws(MeshError) -> BuyerWork {
        let (bytes, read) = try named(endpoint, head, bytes, principal, defaultModel)
        var body = read
        let fields = try fields(of: body)
        if endpoint == .responses {
            let members = body.fields
            try bytes.reading { raw throws(MeshError) in try ResponsesRequest.refuseWhatIsKept(members, in: raw) }
        }
        let preferences = try fields.map(RoutingPreferences.init)
        let destination = try destination(body, preferences, head.headers, principal)
        if passes(endpoint, destination, principal) {
            body.leaveOut(Self.cuts(fields?.cuts ?? [], body, endpoint))
            let call = try ProxyCall(head, endpoint, .json(body))
            let request = WorkRequest(
                content: call.content, form: AnswerForm(of: endpoint, streams: body.wantsStream),
                need: WorkerNeed(model: destination.onlyModel, endpoint: endpoint), deadlines: deadlines)
            var work = BuyerWork(request: request, destination: destination)
            if destination.isMixed {
                let isResumable = preferences?.mayResume ?? false
                work.otherForm = { [self, body] () throws(MeshError) in
                    try asChat(endpoint, bytes, body, to: destination, mayResume: isResumable, principal)
                }
            }
            return work
        }
        return try asChat(
            endpoint, bytes, body, to: destination, mayResume: preferences?.mayResume ?? false, principal)
    }

    /// A body with its model. Some programs of Responses name it in the first request of a conversation only; what has none then
    /// has that of its key.
    private func named(
        _ endpoint: EndpointPath, _ head: HTTPRequestHead, _ bytes: ByteBuffer, _ principal: Principal,
        _ defaultModel: String?
    ) throws(MeshError) -> (ByteBuffer, BuyerBody) {
        let body = try BuyerBody.read(bytes, needsModel: endpoint != .responses)
        guard endpoint == .responses else { return (bytes, body) }
        let talk = PoolRequest.conversation(head.headers, body, of: principal)
        guard body.model.isEmpty else {
            if let talk { lastModels.note(body.model, of: talk) }
            return (bytes, body)
        }
        guard let model = talk.flatMap(lastModels.model) ?? defaultModel else { throw LastModels.unnamed }
        let named = body.naming(model)
        return (named, try BuyerBody.read(named))
    }

    /// The same as a chat.
    private func asChat(
        _ endpoint: EndpointPath, _ bytes: ByteBuffer, _ body: BuyerBody, to destination: Destination, mayResume: Bool,
        _ principal: Principal
    ) throws(MeshError) -> BuyerWork {
        let translated = try Translated(
            Array(bytes.readableBytesView), of: endpoint, served: destination.onlyModel,
            takesEffort: takesEffort(destination, principal))
        let chat = try BuyerBody.read(ByteBuffer(bytes: translated.document))
        let request = WorkRequest(
            content: .chat(chat), form: AnswerForm(of: nil, streams: body.wantsStream),
            need: WorkerNeed(model: destination.onlyModel), mayResume: mayResume, deadlines: deadlines)
        let tokens = destination.facts?.tokens ?? request.content.facts.tokens
        return BuyerWork(
            request: request, destination: destination,
            translation: translated.translation(model: body.model, promptTokens: tokens))
    }

    /// The same, for what is told of it; nil where it cannot be told as a chat.
    func translated(
        _ body: [UInt8], of endpoint: EndpointPath, to destination: Destination, _ principal: Principal
    ) -> Translated? {
        try? Translated(
            body, of: endpoint, served: destination.onlyModel, takesEffort: takesEffort(destination, principal))
    }

    /// What of a request that passes goes to nobody: what is this node's business, and thoughts that no vendor has signed.
    private static func cuts(_ own: [Range<Int>], _ body: BuyerBody, _ endpoint: EndpointPath) -> [Range<Int>] {
        let unsigned = body.bytes.withUnsafeReadableBytes { raw in
            Thought.unsigned(body.fields, in: raw, list: endpoint == .messages ? "messages" : "input")
        }
        return unsigned.isEmpty ? own : (own + unsigned).sorted { $0.lowerBound < $1.lowerBound }
    }

    /// Whether any of those who may answer offers the API itself.
    func passes(_ endpoint: EndpointPath, _ destination: Destination, _ principal: Principal) -> Bool {
        switch destination {
        case .route(let route):
            return dispatcher.isOffered(route, WorkerNeed(model: destination.onlyModel, endpoint: endpoint))
        case .pool(let pool, _):
            return market.members(of: pool).contains { member in
                guard member.provider.admits(principal) else { return false }
                let need = WorkerNeed(model: member.model, endpoint: endpoint)
                return dispatcher.isOffered(Route(providers: [member.provider], model: member.model), need)
            }
        case .policy(let wish): return market.policies.offers(endpoint, wish, for: principal)
        }
    }

    /// Whether the one who may answer says that it takes `reasoning_effort`; false where several may, for some may refuse it.
    func takesEffort(_ destination: Destination, _ principal: Principal) -> Bool {
        guard case .route(let route) = destination, route.providers.count == 1, !route.model.isEmpty else {
            return false
        }
        var policy = Policy.standard
        policy.rules.parameters = RequestParameters([.reasoningEffort])
        let target = PolicyTarget(model: route.model, provider: route.providers[0].key)
        let wish = PolicyMarket.Wish(
            route.model, policy: policy, preferences: nil, targets: [target], facts: PromptFacts())
        return market.policies.offers(nil, wish, for: principal)
    }

    /// What a prompt of Messages or Responses is counted as: by this node, for its models have tokens of many kinds.
    func counted(
        _ bytes: ByteBuffer, in dialect: Dialect, _ principal: Principal
    ) throws(MeshError) -> Response {
        let body = try BuyerBody.read(bytes)
        let fields = try fields(of: body)
        // A model that there is not is no use to count for.
        _ = try destination(body, try fields.map(RoutingPreferences.init), HTTPHeaders(), principal)
        let facts = body.bytes.withUnsafeReadableBytes { PromptReading.facts(body.fields, in: $0) }
        var members: [JSONValue.Member] = [
            .init("input_tokens", .integer(facts.tokens)), .init("aisbf", ["is_estimated": true]),
        ]
        if dialect == .responses { members.insert(.init("object", "response.input_tokens"), at: 0) }
        return .json(.object(members))
    }
}

/// A request of another API as a chat.
enum Translated {
    case messages(MessagesRequest)
    case responses(ResponsesRequest)

    /// - Parameters:
    ///   - served: the model as whoever answers calls it; nil where that is not known yet.
    ///   - takesEffort: whether whoever answers says that it takes `reasoning_effort`.
    init(_ body: [UInt8], of endpoint: EndpointPath, served: String?, takesEffort: Bool) throws(MeshError) {
        self =
            endpoint == .messages
            ? .messages(try MessagesRequest(body, servedModel: served, takesEffort: takesEffort))
            : .responses(try ResponsesRequest(body, servedModel: served, takesEffort: takesEffort))
    }

    var document: [UInt8] {
        switch self {
        case .messages(let request): request.document
        case .responses(let request): request.document
        }
    }

    var warnings: [String] {
        switch self {
        case .messages(let request): request.warnings
        case .responses(let request): request.warnings
        }
    }

    func translation(model: String, promptTokens: Int64) -> Translation {
        switch self {
        case .messages(let request): Translation(request, model: model, promptTokens: promptTokens)
        case .responses(let request): Translation(request, model: model, promptTokens: promptTokens)
        }
    }
}
