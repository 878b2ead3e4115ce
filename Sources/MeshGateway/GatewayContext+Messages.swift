import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore
import NIOHTTP1

/// How the answer to a request of the Messages API comes of a chat's.
final class MessagesTranslation: Sendable {
    private let model: String
    private let stopSequences: [String]
    private let promptTokens: Int64
    /// Fields of the request that could not cross.
    let warnings: [String]

    init(_ request: MessagesRequest, model: String, promptTokens: Int64) {
        self.model = model
        self.promptTokens = promptTokens
        stopSequences = request.stopSequences
        warnings = request.warnings
    }

    func context(_ requestID: String) -> MessagesContext {
        MessagesContext(
            model: model, requestID: requestID, stopSequences: stopSequences, promptTokens: promptTokens)
    }

    /// What became of the request, for whoever wants to know.
    func add(to headers: inout HTTPHeaders) {
        headers.add(name: "aisbf-translation", value: "messages; chat/completions")
        if !warnings.isEmpty { headers.add(name: "aisbf-warnings", value: warnings.joined(separator: ", ")) }
    }
}

extension GatewayContext {
    /// A request of the Messages API: to whoever offers it, byte for byte; where nobody does, as a chat. Which of the two is
    /// known before anybody is asked, and holds for all who are.
    func messages(
        _ head: HTTPRequestHead, _ bytes: ByteBuffer, _ principal: Principal
    ) throws(MeshError) -> BuyerWork {
        var body = try BuyerBody.read(bytes)
        let fields = try fields(of: body)
        body.leaveOut(fields?.cuts ?? [])
        let preferences = try fields.map(RoutingPreferences.init)
        let destination = try destination(body, preferences, head.headers, principal)
        if passesMessages(destination, principal) {
            let call = try ProxyCall(head, .messages, .json(body))
            let request = WorkRequest(
                content: call.content, form: body.wantsStream ? .events : .bytes,
                need: WorkerNeed(model: destination.onlyModel, endpoint: .messages), deadlines: deadlines)
            return BuyerWork(request: request, destination: destination)
        }
        let translated = try MessagesRequest(Array(bytes.readableBytesView))
        let chat = try BuyerBody.read(ByteBuffer(bytes: translated.document))
        var request = WorkRequest(
            content: .chat(chat), form: body.wantsStream ? .events : .document,
            need: WorkerNeed(model: destination.onlyModel), deadlines: deadlines)
        request.mayResume = preferences?.mayResume ?? false
        let tokens = destination.facts?.tokens ?? request.content.facts.tokens
        return BuyerWork(
            request: request, destination: destination,
            translation: MessagesTranslation(translated, model: body.model, promptTokens: tokens))
    }

    /// Whether any of those who may answer offers the API itself.
    func passesMessages(_ destination: Destination, _ principal: Principal) -> Bool {
        switch destination {
        case .route(let route):
            return dispatcher.isOffered(route, WorkerNeed(model: destination.onlyModel, endpoint: .messages))
        case .pool(let pool, _):
            return market.members(of: pool).contains { member in
                guard member.provider.admits(principal) else { return false }
                let need = WorkerNeed(model: member.model, endpoint: .messages)
                return dispatcher.isOffered(Route(providers: [member.provider], model: member.model), need)
            }
        case .policy(let wish): return market.policies.offers(.messages, wish, for: principal)
        }
    }

    /// What a prompt of the Messages API is counted as: by this node, for its models have tokens of many kinds.
    func counted(_ bytes: ByteBuffer, _ principal: Principal) throws(MeshError) -> Response {
        let body = try BuyerBody.read(bytes)
        let fields = try fields(of: body)
        // A model that there is not is no use to count for.
        _ = try destination(body, try fields.map(RoutingPreferences.init), HTTPHeaders(), principal)
        let facts = body.bytes.withUnsafeReadableBytes { PromptReading.facts(body.fields, in: $0) }
        return .json(["input_tokens": .integer(facts.tokens), "aisbf": ["is_estimated": true]])
    }
}
