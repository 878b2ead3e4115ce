import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshSessions
import MeshWire
import NIOCore
import NIOHTTP1

extension GatewayContext {
    /// What a buyer's request asks of a worker, and where it may go.
    func work(
        _ hot: HotRequest, _ head: HTTPRequestHead, _ bytes: ByteBuffer, _ principal: Principal
    ) throws(MeshError) -> BuyerWork {
        let bytes = try named(bytes, hot)
        switch hot.route.call {
        case .messages: return try translatable(.messages, head, bytes, principal)
        case .responses:
            return try translatable(.responses, head, bytes, principal, defaultModel: hot.caller.defaultModel)
        case .countTokens: throw MeshError(.notFound, "there is nothing at this path")
        case .keptResponse:
            throw MeshError(
                .notFound,
                "this node keeps no responses, so there is none to read, cancel or delete; answers say 'store: false', and the conversation goes with each request as 'input'"
            )
        case .chat:
            var body = try BuyerBody.read(bytes)
            let fields = try fields(of: body)
            body.leaveOut(fields?.cuts ?? [])
            let preferences = try fields.map(RoutingPreferences.init)
            let destination = try destination(body, preferences, head.headers, principal)
            let request = WorkRequest(
                content: .chat(body), form: AnswerForm(of: nil, streams: body.wantsStream),
                need: WorkerNeed(model: destination.onlyModel), mayResume: preferences?.mayResume ?? false,
                deadlines: deadlines)
            return BuyerWork(request: request, destination: destination)
        case .proxy(let endpoint):
            let call = try ProxyCall.read(head, endpoint, bytes)
            if let chosen = try chosen(call.model, principal, head.headers) {
                let request = WorkRequest(
                    content: call.content, form: AnswerForm(of: endpoint, streams: call.wantsStream),
                    need: WorkerNeed(model: nil, endpoint: endpoint, worker: call.worker),
                    mayRepeat: head.method == .GET || !endpoint.family.keepsState, deadlines: deadlines)
                return BuyerWork(request: request, destination: chosen)
            }
            let route = try proxyRoute(call, endpoint, principal)
            let model = route.model.isEmpty ? nil : route.model
            var content = call.content
            let payload = content.prepare(model: model)
            guard payload.readableBytes <= Limits.workerFrameBytes else {
                throw MeshError(
                    .bodyTooLarge,
                    "the request is \(payload.readableBytes) bytes as workers get it; at most \(Limits.workerFrameBytes) are carried"
                )
            }
            let request = WorkRequest(
                content: content, form: AnswerForm(of: endpoint, streams: call.wantsStream),
                need: WorkerNeed(model: model, endpoint: endpoint, worker: call.worker),
                mayRepeat: head.method == .GET || !endpoint.family.keepsState, deadlines: deadlines)
            return BuyerWork(request: request, destination: .route(route))
        }
    }

    /// A body with the default model of its key, where it names none. Of Responses the conversation may have one.
    func named(_ bytes: ByteBuffer, _ hot: HotRequest) throws(MeshError) -> ByteBuffer {
        guard let model = hot.caller.defaultModel else { return bytes }
        switch hot.route.call {
        case .chat, .messages, .countTokens, .proxy(.completions): break
        case .responses, .keptResponse, .proxy: return bytes
        }
        let body = try BuyerBody.read(bytes, needsModel: false)
        return body.model.isEmpty ? body.naming(model) : bytes
    }

    /// The same of a request whose body is passed on while it arrives; nil where that cannot be, and its body has to be
    /// collected: no worker of the route takes uploads, or nobody knows yet which model it is for.
    func upload(
        _ hot: HotRoute, _ head: HTTPRequestHead, beginning: ByteBuffer, _ principal: Principal
    ) throws(MeshError) -> UploadWork? {
        guard case .proxy(let endpoint) = hot.call,
            let call = try ProxyCall.readUpload(head, endpoint, beginning: beginning)
        else { return nil }
        // The next place would need it anew.
        if let name = call.model {
            if pool(name, principal) != nil { return nil }
            if try policy(name, principal) != nil { return nil }
        }
        let route = try proxyRoute(call, endpoint, principal)
        let model = route.model.isEmpty ? nil : route.model
        let need = WorkerNeed(model: model, endpoint: endpoint, worker: call.worker, takesUploads: true)
        guard let upload = call.content.upload(model: model), dispatcher.isOffered(route, need) else { return nil }
        var check = try UploadCheck(
            contentType: head.headers.first(name: "content-type") ?? "application/octet-stream", model: model,
            length: upload.length)
        try check.pass(upload.beginning)
        guard call.content.document(model: model).readableBytes <= Limits.uploadHeadBytes else { return nil }
        let request = WorkRequest(
            content: call.content, form: AnswerForm(of: endpoint, streams: call.wantsStream), need: need,
            mayRepeat: !endpoint.family.keepsState, deadlines: deadlines)
        return UploadWork(
            request: request, route: route, beginning: upload.beginning, check: check)
    }

    /// What a body says to this node and to no worker.
    func fields(of body: BuyerBody) throws(MeshError) -> RoutingFields? {
        let members = body.fields
        return try body.bytes.reading { raw throws(MeshError) in try RoutingFields(members, in: raw) }
    }

    /// Where a request goes that names a pool or a policy; nil for others.
    func chosen(
        _ name: String?, _ principal: Principal, _ headers: HTTPHeaders
    ) throws(MeshError) -> Destination? {
        guard let name else { return nil }
        if let pool = pool(name, principal) {
            return .pool(
                pool, PoolRequest(headers, nil, sticky: market.stickiness(of: pool), of: principal))
        }
        guard let policy = try policy(name, principal) else { return nil }
        return .policy(.init(name, policy: policy, preferences: nil, targets: nil, facts: PromptFacts()))
    }

    /// By the model the request names, else by the provider it names, else by who offers the endpoint.
    private func proxyRoute(
        _ call: ProxyCall, _ endpoint: EndpointPath, _ principal: Principal
    ) throws(MeshError) -> Route {
        if let model = call.model { return try catalog.resolve(model, for: principal).get() }
        let known = catalog.current
        if let provider = call.provider { return try known.resolve(provider: provider, for: principal).get() }
        guard call.mayBeUnnamed else {
            throw MeshError(
                .invalidRequest,
                "name the model this is for: as 'model' in the body, in the query or in the header aisbf-model; or a provider, as 'provider' in the query or in the header aisbf-provider",
                parameter: "model")
        }
        return try known.resolve(endpoint: endpoint, for: principal).get()
    }
}

/// A buyer's request as it goes to whoever answers it.
struct BuyerWork {
    var request: WorkRequest
    var destination: Destination
    /// How its answer becomes one of the buyer's API; nil where it passes as it comes.
    var translation: Translation?
    /// The same request in another form, for those who do not take this one; nil where there are none.
    var otherForm: (@Sendable () throws(MeshError) -> BuyerWork)?
}

/// An upload that can go on: what it asks of a worker, and what of it is here.
struct UploadWork {
    var request: WorkRequest
    var route: Route
    var beginning: ByteBuffer
    var check: UploadCheck
}

extension RoutingPreferences {
    init(_ fields: RoutingFields) throws(MeshError) {
        try self.init(provider: fields.provider, models: fields.models, session: fields.session, own: fields.own)
    }
}
