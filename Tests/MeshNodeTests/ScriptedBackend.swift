import Logging
import MeshWire
import MeshWorker
import NIOCore
import NIOPosix
import Synchronization

/// An OpenAI-compatible server that plays bytes: what it sends, when, and how it ends a connection is written by the
/// test, down to the status line. Nothing of an HTTP library stands between.
///
/// `GET …/models` lists `models` by itself. Everything else is asked of `answer`, which is called once the request is
/// whole, or of `early`, which sees the head alone.
final class ScriptedBackend: Sendable {
    enum Step: Sendable {
        case bytes([UInt8])
        /// Milliseconds in which nothing is sent.
        case pause(Int)
        /// Sends nothing until the condition holds.
        case until(@Sendable () -> Bool)
        /// Ends the connection: an end of file for the other side.
        case close
        /// Ends our half only, and reads on.
        case closeOutput

        static func text(_ text: String) -> Step { .bytes(Array(text.utf8)) }
    }

    struct Request: Sendable {
        var method: String
        /// With its query.
        var target: String
        var headers: [(name: String, value: String)]
        var body: [UInt8] = []
        /// Numbers of the connection, and of the request on it, from 0.
        var connection: Int
        var turn: Int

        var document: JSONValue? { try? JSONValue.parse(body) }
        /// What the body names, else nothing.
        var model: String { document?["model"]?.text ?? "" }
        subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    typealias Script = @Sendable (Request) -> [Step]

    private struct State {
        var models: [String]
        var seen: [Request] = []
        var connections = 0
    }

    private let state: Mutex<State>
    private let answer: Script
    private let early: @Sendable (Request) -> [Step]?

    init(
        models: [String], early: @escaping @Sendable (Request) -> [Step]? = { _ in nil }, answer: @escaping Script
    ) {
        state = Mutex(State(models: models))
        self.early = early
        self.answer = answer
    }

    /// Listens for as long as `body` takes.
    func run<Value>(_ body: (_ port: Int) async throws -> Value) async throws -> Value {
        let bound = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Player(self, number: connected()))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let result: Result<Value, any Error>
        do { result = .success(try await body(bound.localAddress?.port ?? 0)) } catch { result = .failure(error) }
        try? await bound.close().get()
        return try result.get()
    }

    /// Requests that came, in order; those for the list of models are among them.
    var seen: [Request] { state.withLock { $0.seen } }
    var connections: Int { state.withLock { $0.connections } }
    func offer(_ models: [String]) { state.withLock { $0.models = models } }

    private func connected() -> Int {
        state.withLock { state in
            defer { state.connections += 1 }
            return state.connections
        }
    }

    fileprivate func begun(_ request: Request) -> [Step]? { early(request) }

    fileprivate func steps(for request: Request) -> [Step] {
        let models = state.withLock { state in
            state.seen.append(request)
            return state.models
        }
        guard request.method == "GET", request.target.hasSuffix("/models") else { return answer(request) }
        let list: JSONValue = ["object": "list", "data": .array(models.map { ["id": .string($0)] })]
        return Self.whole(String(decoding: list.bytes, as: UTF8.self))
    }

    // MARK: What answers are made of

    static func head(_ status: Int = 200, _ fields: [String]) -> Step {
        .text((["HTTP/1.1 \(status) Scripted"] + fields).joined(separator: "\r\n") + "\r\n\r\n")
    }

    /// The head of an answer in chunks; no `content-type` at all for nil.
    static func chunked(_ status: Int = 200, type: String? = "text/event-stream", _ fields: [String] = []) -> Step {
        head(status, (type.map { ["content-type: \($0)"] } ?? []) + ["transfer-encoding: chunked"] + fields)
    }

    /// The head of an answer that ends with the connection.
    static func untilClose(_ status: Int = 200, type: String = "text/event-stream") -> Step {
        head(status, ["content-type: \(type)", "connection: close"])
    }

    static func chunk(_ text: String) -> Step { chunk(Array(text.utf8)) }

    static func chunk(_ bytes: [UInt8]) -> Step {
        .bytes(Array("\(String(bytes.count, radix: 16))\r\n".utf8) + bytes + Array("\r\n".utf8))
    }

    static let lastChunk = Step.text("0\r\n\r\n")

    /// A whole answer with its length.
    static func whole(
        _ body: String, status: Int = 200, type: String = "application/json", _ fields: [String] = []
    ) -> [Step] {
        [head(status, ["content-type: \(type)", "content-length: \(body.utf8.count)"] + fields), .text(body)]
    }

    // MARK: OpenAI's shapes

    /// The JSON of one chunk of a chat stream.
    static func delta(_ content: String?, finish: String? = nil, role: String? = nil) -> String {
        var delta: [JSONValue.Member] = []
        if let role { delta.append(.init("role", .string(role))) }
        if let content { delta.append(.init("content", .string(content))) }
        let chunk: JSONValue = [
            "id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted",
            "choices": [["index": 0, "delta": .object(delta), "finish_reason": .optional(finish)]],
        ]
        return String(decoding: chunk.bytes, as: UTF8.self)
    }

    static func event(_ content: String?, finish: String? = nil) -> String {
        "data: \(delta(content, finish: finish))\n\n"
    }

    static let done = "data: [DONE]\n\n"

    static func completion(_ content: String, more: String = "") -> String {
        #"{"id":"c-1","object":"chat.completion","created":1,"model":"scripted"\#(more),"choices":[{"index":0,"message":"#
            + #"{"role":"assistant","content":"\#(content)"},"finish_reason":"stop"}]}"#
    }
}

/// One connection of the backend: reads requests and plays their steps, one request after the other.
private final class Player: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let backend: ScriptedBackend
    private let number: Int
    private var received: [UInt8] = []
    /// The request whose head is known and whose body is still coming.
    private var current: ScriptedBackend.Request?
    private var turn = 0
    private var isPlaying = false
    private var isAnsweredEarly = false

    init(_ backend: ScriptedBackend, number: Int) {
        self.backend = backend
        self.number = number
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += unwrapInboundIn(data).readableBytesView
        advance(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func advance(_ context: ChannelHandlerContext) {
        if current == nil { readHead(context) }
        guard !isPlaying, var request = current, let (body, length) = body(of: request) else { return }
        request.body = body
        received.removeFirst(length)
        current = nil
        turn += 1
        if isAnsweredEarly {
            isAnsweredEarly = false
            return advance(context)
        }
        play(backend.steps(for: request)[...], context)
    }

    private func readHead(_ context: ChannelHandlerContext) {
        let mark = Array("\r\n\r\n".utf8)
        guard let end = received.indices.first(where: { received[$0...].starts(with: mark) }) else { return }
        let lines = String(decoding: received[..<end], as: UTF8.self).split(separator: "\r\n")
        received.removeFirst(end + 4)
        let words = lines.first?.split(separator: " ") ?? []
        let headers = lines.dropFirst().map { line -> (name: String, value: String) in
            let parts = line.split(separator: ":", maxSplits: 1)
            return (parts[0].lowercased(), parts.count == 2 ? String(parts[1].drop { $0 == " " }) : "")
        }
        let request = ScriptedBackend.Request(
            method: String(words.first ?? ""), target: String(words.dropFirst().first ?? ""), headers: headers,
            connection: number, turn: turn)
        current = request
        if let steps = backend.begun(request) {
            isAnsweredEarly = true
            play(steps[...], context)
        }
    }

    /// The body and how many bytes it takes; nil while it is not whole.
    private func body(of request: ScriptedBackend.Request) -> (body: [UInt8], length: Int)? {
        if request["transfer-encoding"]?.lowercased() == "chunked" { return chunks() }
        let length = request["content-length"].flatMap { Int($0) } ?? 0
        return received.count >= length ? (Array(received.prefix(length)), length) : nil
    }

    private func chunks() -> (body: [UInt8], length: Int)? {
        var body: [UInt8] = []
        var at = 0
        while let line = received[at...].firstIndex(of: 0x0D) {
            guard let size = Int(String(decoding: received[at..<line], as: UTF8.self), radix: 16) else { return nil }
            let end = line + 2 + size
            guard received.count >= end + 2 else { return nil }
            if size == 0 { return (body, end + 2) }
            body += received[(line + 2)..<end]
            at = end + 2
        }
        return nil
    }

    private func play(
        _ steps: ArraySlice<ScriptedBackend.Step>, after milliseconds: Int, _ context: ChannelHandlerContext
    ) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: .milliseconds(Int64(milliseconds))) {
            bound.value.0.play(steps, bound.value.1)
        }
    }

    private func play(_ steps: ArraySlice<ScriptedBackend.Step>, _ context: ChannelHandlerContext) {
        isPlaying = true
        var rest = steps
        while let step = rest.popFirst() {
            switch step {
            case .bytes(let bytes): context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
            case .close: return context.close(promise: nil)
            case .closeOutput: context.close(mode: .output, promise: nil)
            case .pause(let milliseconds): return play(rest, after: milliseconds, context)
            case .until(let isTrue):
                if !isTrue() { return play([step] + rest, after: 20, context) }
            }
        }
        isPlaying = false
        advance(context)
    }
}

/// Runs the worker agent of this package, before `backendPort`, for as long as `body` takes.
/// - Parameter endpoints: what the backend has beside chat, such as `v1/audio/speech`.
func withAgent<Value: Sendable>(
    at node: TestNode, provider: String = "lab", token: String, client: String = "agent-1", backendPort: Int,
    endpoints: [String] = [], logger: Logger = Logger(label: "agent") { _ in SwiftLogNoOpLogHandler() },
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let document: JSONValue = [
        "broker": [
            "base_url": .string("http://127.0.0.1:\(node.buyerPort)"), "scope": "global",
            "provider_id": .string(provider), "client_id": .string(client), "registration_token": .string(token),
        ],
        "backend": [
            "kind": "openai", "base_url": .string("http://127.0.0.1:\(backendPort)/v1"),
            "endpoints": .strings(endpoints),
        ],
    ]
    let agent = WorkerAgent(
        configuration: try WorkerConfiguration.parse(document, environment: [:]),
        eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
    return try await withThrowingTaskGroup(of: Value?.self) { tasks in
        tasks.addTask {
            try await agent.run()
            return nil
        }
        tasks.addTask { try await body() }
        defer { tasks.cancelAll() }
        while let value = try await tasks.next() {
            if let value { return value }
        }
        throw NotSeen(description: "the end of the test: the agent ended before it")
    }
}
