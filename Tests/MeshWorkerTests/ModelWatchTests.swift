import Logging
import MeshModel
import MeshTestServers
import MeshUpstream
import MeshWire
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing

@testable import MeshWorker

/// What a node is told of a backend's models, at first and when they change.
@Suite struct ModelWatchTests {
    private final class Models: Sendable {
        let answer = Mutex("[]")
        func set(_ names: String...) {
            answer.withLock { $0 = #"{"data":[\#(names.map { #"{"id":"\#($0)"}"# }.joined(separator: ","))]}"# }
        }
        var backend: RawBackend {
            RawBackend { request in
                guard request.target == "/v1/models" else {
                    return [.send(RawBackend.answer(404, #"{"error":{"message":"no such model"}}"#))]
                }
                return [.send(RawBackend.answer(200, self.answer.withLock { $0 }))]
            }
        }
    }

    private static var timings: WorkerTimings {
        var timings = WorkerTimings()
        (timings.modelsMs, timings.modelsRetryMs, timings.drainNoticeMs) = (100, 50, 1_000)
        return timings
    }

    /// An agent whose backend is at `url`, and a node that asks for the models after each `register`.
    private static func serve(
        _ url: String, timings: WorkerTimings = timings,
        _ body: @Sendable @escaping (FakeBroker, ServiceGroup) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let broker = FakeBroker(group: group)
        broker.state.withLock { $0.asksForModels = true }
        try await broker.start()
        let document: JSONValue = [
            "broker": [
                "base_url": .string("http://127.0.0.1:\(broker.port)"), "scope": "global", "provider_id": "gpu",
                "registration_token": "t",
            ], "backend": ["kind": "openai", "base_url": .string(url)],
        ]
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let agent = WorkerAgent(
            configuration: try WorkerConfiguration.parse(document, environment: [:], hostname: "box"),
            eventLoopGroup: group, logger: logger, timings: timings)
        let services = ServiceGroup(services: [agent], logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await services.run() }
            do { try await body(broker, services) } catch {
                tasks.cancelAll()
                throw error
            }
            await services.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        await broker.stop()
    }

    @Test func aChangeIsToldByRegisteringAgain() async throws {
        let models = Models()
        models.set("keep", "old")
        let backend = models.backend
        try await backend.start()
        try await Self.serve(backend.url) { broker, _ in
            try await eventually { broker.listed == ["keep", "old"] }
            models.set("new", "keep")
            try await eventually { broker.listed == ["new", "keep"] }
            let count = broker.registrations
            // The same in another order is no news.
            models.set("keep", "new")
            let asked = backend.requests.count
            try await eventually { backend.requests.count > asked + 3 }
            #expect(broker.registrations == count)
        }
        await backend.stop()
    }

    @Test func aBackendThatComesLateIsOfferedThenAndOneThatGoesIsNot() async throws {
        let models = Models()
        models.set("m")
        let first = models.backend
        try await first.start()
        let port = first.port
        await first.stop()
        try await Self.serve("http://127.0.0.1:\(port)/v1") { broker, _ in
            try await eventually { broker.listed == [] }
            let late = models.backend
            try await late.start(port: port)
            try await eventually { broker.listed == ["m"] }
            await late.stop()
            try await eventually { broker.listed == [] }
        }
    }

    @Test func anErrorThatMayMeanALostModelIsALookAtOnce() async throws {
        let models = Models()
        models.set("m")
        let backend = models.backend
        try await backend.start()
        var timings = Self.timings
        timings.modelsMs = 600_000
        try await Self.serve(backend.url, timings: timings) { broker, _ in
            try await eventually { broker.listed == ["m"] }
            models.set("n")
            broker.send(#"{"op":"chat.completions","request_id":"c","payload":{"model":"m"}}"#)
            try await eventually { broker.listed == ["n"] }
        }
        await backend.stop()
    }

    @Test func aWorkerThatIsStoppedTakesItsModelsOffTheListFirst() async throws {
        let models = Models()
        models.set("m")
        let backend = models.backend
        try await backend.start()
        try await Self.serve(backend.url) { broker, services in
            try await eventually { broker.listed == ["m"] }
            await services.triggerGracefulShutdown()
            try await eventually { broker.listed == [] }
            #expect(broker.state.withLock { $0.closes } == [])
            // What was on its way is still answered.
            broker.send(#"{"op":"chat.completions","request_id":"c","payload":{"model":"m"}}"#)
            try await eventually { broker.state.withLock { $0.closes } == [1000] }
            #expect(broker.frames(of: "c").last?["payload"]?["status_code"] == 404)
        }
        await backend.stop()
    }

    /// The watch and the node both ask once a minute; the backend hears one of them.
    @Test func aQuestionThatHasNoReasonIsAnsweredFromWhatIsKnown() async throws {
        let models = Models()
        models.set("m")
        let backend = models.backend
        try await backend.start()
        let client = BackendClient(group: MultiThreadedEventLoopGroup.singleton)
        let watch = ModelWatch(
            backend: OpenAIBackend(baseURL: backend.url, apiKey: nil, client: client), timings: .init(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let start = ContinuousClock.now
        func asked(after seconds: Int) async -> Int {
            _ = await watch.list(now: start + .seconds(seconds))
            return backend.requests.count
        }
        #expect(await asked(after: 0) == 1)
        #expect(await asked(after: 60) == 1)
        // Sooner than a minute it has a reason.
        #expect(await asked(after: 65) == 2)
        #expect(await asked(after: 125) == 2)
        // What is older than the watch lets it become is no knowledge.
        #expect(await asked(after: 185) == 3)
        watch.suspect()
        #expect(await asked(after: 250) == 4)
        await backend.stop()
        try await client.shutdown()
    }

    // MARK: Lists

    /// Lists of other sellers' models come with a page about each.
    @Test(arguments: [1, 150, 700])
    func aListKeepsWhatANodeKeeps(count: Int) throws {
        let page = String(repeating: "x", count: 2_300)
        let items = (0..<count).map { number -> JSONValue in
            [
                "id": .string("org/model-\(number)"), "description": .string(page), "context_length": 8192,
                "architecture": ["input_modalities": ["text", "image"], "tokenizer": "x"],
            ]
        }
        let offer = try #require(ModelOffer(["data": .array(items)]))
        #expect(offer.models.count == count && !offer.isCut)
        #expect(
            offer.models.last
                == [
                    "id": .string("org/model-\(count - 1)"), "object": "model", "context_length": 8192,
                    "architecture": ["input_modalities": ["text", "image"]],
                ])
        #expect(offer.document.bytes.count < count * 150 + 64)
    }

    @Test func aListOverWhatANodeTakesIsCut() throws {
        let items = (0..<4_000).map { JSONValue.string("\($0)" + String(repeating: "n", count: 300)) }
        let offer = try #require(ModelOffer(.array(items)))
        #expect(offer.isCut && offer.models.count > 3_000)
        #expect(offer.document.bytes.count <= Limits.workerRegisterBytes)
    }

    @Test(arguments: [
        (#"{"data":[{"id":"a"},{"name":"b"},{"model":"c"},"d",{},5]}"#, 4), (#"{"models":[{"name":"a"}]}"#, 1),
        ("[]", 0), (#"{"data":[{"id":"a","max_model_len":32768}]}"#, 1),
    ])
    func listsComeInSeveralShapes(text: String, count: Int) throws {
        let document = try JSONValue.parse(Array(text.utf8))
        #expect(ModelOffer(document)?.models.count == count)
    }

    @Test(arguments: ["{}", "5", #"{"data":{}}"#])
    func whatIsNoListIsNone(text: String) throws {
        let document = try JSONValue.parse(Array(text.utf8))
        #expect(ModelOffer(document) == nil)
    }

    // MARK: Tokens

    @Test(arguments: [
        (#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens": 5,"total_tokens":8}}"#, 3, 5),
        ("data: {\"usage\":null}\n\ndata: {\"usage\":{\"completion_tokens\":7}}\n\ndata: [DONE]\n\n", 0, 7),
        ("{}", 0, 0), (#"{"usage"#, 0, 0), (#""usage":"prompt_tokens":x"#, 0, 0),
    ])
    func tokensAreReadFromTheEndOfAnAnswer(text: String, prompt: Int64, completion: Int64) {
        let usage = TokenUsage(tail: Array(text.utf8))
        #expect(usage.prompt == prompt && usage.completion == completion)
    }
}
