import Logging
import MeshUpstream
import MeshWire
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import ServiceLifecycle
import Synchronization
import Testing

@testable import MeshWorker

/// Runs an agent against a fake broker while `body` plays the node.
private func withAgent(
    backend: WorkerConfiguration.BackendKind = .demo(
        tokensPerSecond: 0, models: ["demo-chat"], faults: DemoFaults()),
    timings: WorkerTimings = WorkerTimings(), refuses: Bool = false, waits: Bool = true,
    _ body: @Sendable (FakeBroker) async throws -> Void
) async throws {
    let group = MultiThreadedEventLoopGroup.singleton
    let broker = FakeBroker(group: group)
    broker.state.withLock { $0.refuses = refuses }
    try await broker.start()
    let base = "http://127.0.0.1:\(broker.port)/prefix"
    let document: JSONValue = [
        "broker": [
            "base_url": .string(base), "scope": "user", "username": "seller", "provider_id": "gpu",
            "client_id": "box-1",
            "registration_token": "secret-token",
        ], "backend": "demo",
    ]
    var configuration = try WorkerConfiguration.parse(document, environment: [:])
    configuration.backend = backend
    let agent = WorkerAgent(
        configuration: configuration, eventLoopGroup: group,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, timings: timings)
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await agent.run() }
        do {
            if waits { try await eventually { broker.registrations == 1 } }
            try await body(broker)
        } catch {
            tasks.cancelAll()
            await broker.stop()
            throw error
        }
        tasks.cancelAll()
        try? await tasks.waitForAll()
    }
    await broker.stop()
}

private func chat(_ id: String, _ payload: String) -> String {
    #"{"v":1,"op":"chat.completions","request_id":"\#(id)","payload":\#(payload)}"#
}

@Suite struct WorkerAgentTests {
    @Test func `identity travels in headers only and register names what is here`() async throws {
        try await withAgent { broker in
            let head = try #require(broker.state.withLock { $0.heads.first })
            #expect(head.uri == "/prefix/api/u/seller/coderai/wss")
            #expect(head.headers.first(name: "x-coderai-registration-token") == "secret-token")
            #expect(head.headers.first(name: "x-coderai-provider-id") == "gpu")
            #expect(head.headers.first(name: "x-coderai-client-id") == "box-1")
            #expect(head.headers.first(name: "x-coderai-username") == "seller")
            let register = try #require(broker.state.withLock { $0.frames.first })
            #expect(register["payload"]?["capabilities"]?["max_frame_bytes"]?.integer == 16 << 20)
            #expect((register["payload"]?["hardware"]?["memory_mb"]?.integer ?? 0) > 0)
            #expect(!String(decoding: register.bytes, as: UTF8.self).contains("secret-token"))
        }
    }

    @Test func `models list, capabilities, heartbeat and unknown operations are answered`() async throws {
        try await withAgent { broker in
            broker.send(#"{"v":1,"op":"models.list","request_id":"m","payload":{}}"#)
            broker.send(#"{"v":1,"op":"capabilities","request_id":"c","payload":{}}"#)
            broker.send(#"{"v":1,"op":"heartbeat","request_id":"h"}"#)
            broker.send(#"{"v":1,"op":"admin.shell","request_id":"x"}"#)
            try await eventually {
                broker.events(of: "m").last == "ok" && !broker.frames(of: "c").isEmpty
                    && !broker.frames(of: "h").isEmpty && !broker.frames(of: "x").isEmpty
            }
            let body = broker.frames(of: "m").last?["payload"]?["body"]?.text ?? ""
            #expect(body.contains("\"demo-chat\""))
            #expect(broker.frames(of: "c").first?["payload"]?["transports"] == ["websocket"])
            #expect(broker.frames(of: "h").first?["event"] == "heartbeat")
            #expect(broker.frames(of: "x").first?["error"]?["code"] == "unsupported_operation")
        }
    }

    @Test func `a plain chat is answered in the wrapped form`() async throws {
        try await withAgent { broker in
            broker.send(chat("p", #"{"model":"demo-chat","messages":[{"role":"user","content":"hi"}]}"#))
            try await eventually { broker.events(of: "p").last == "ok" }
            #expect(broker.events(of: "p").first == "pending" || broker.events(of: "p") == ["ok"])
            let payload = broker.frames(of: "p").last?["payload"]
            #expect(payload?["status_code"]?.integer == 200)
            let answer = try JSONValue.parse(Array((payload?["body"]?.text ?? "").utf8))
            let content = answer["choices"]?.elements?.first?["message"]?["content"]?.text ?? ""
            #expect(content.contains("demo backend of AISBF Mesh") && content.hasSuffix("hi"))
            #expect(answer["usage"]?["completion_tokens"]?.integer != nil)
        }
    }

    @Test func `a streamed chat is chunks in sequence, then done`() async throws {
        try await withAgent { broker in
            broker.send(chat("s", #"{"model":"demo-chat","stream":true,"messages":[{"role":"user","content":"hi"}]}"#))
            try await eventually { broker.events(of: "s").last == "done" }
            let chunks = broker.frames(of: "s").filter { $0["event"] == "chunk" }
            #expect(chunks.compactMap { $0["sequence"]?.integer } == (1...Int64(chunks.count)).map { $0 })
            let text = chunks.compactMap { $0["payload"]?["chunk"]?.text }.joined()
            #expect(text.hasPrefix("data: {") && text.contains("\"role\":\"assistant\""))
            #expect(text.hasSuffix("data: [DONE]\n\n"))
        }
    }

    @Test func `garbage frames cost nothing`() async throws {
        try await withAgent { broker in
            for text in ["", "{", "[]", "null", #"{"op":5}"#, #"{"op":"chat.completions"}"#, "\u{0}"] {
                broker.send(text)
            }
            broker.send(.binary, ByteBuffer(bytes: [0xFF, 0xFE]))
            broker.send(.ping, ByteBuffer(string: "abc"))
            broker.send(#"{"v":1,"op":"heartbeat","request_id":"h"}"#)
            try await eventually { !broker.frames(of: "h").isEmpty && broker.state.withLock { $0.pongs } == 1 }
            #expect(broker.registrations == 1)
        }
    }

    @Test func `a closed or dropped connection is dialled and registered again within seconds`() async throws {
        try await withAgent { broker in
            broker.dropLast()
            try await eventually { broker.registrations == 2 }
            var data = ByteBuffer()
            data.writeInteger(UInt16(1001))
            broker.send(.connectionClose, data)
            try await eventually { broker.registrations == 3 }
        }
    }

    @Test func `a refusal is tried again, slower`() async throws {
        try await withAgent(refuses: true, waits: false) { broker in
            try await eventually { broker.state.withLock { $0.heads.count } == 1 }
            let refused = ContinuousClock.now
            broker.state.withLock { $0.refuses = false }
            try await eventually { broker.registrations == 1 }
            #expect(refused.duration(to: .now) >= .milliseconds(1_900))
        }
    }

    @Test func `a busy broker is tried again when it says`() async throws {
        try await withAgent(refuses: true, waits: false) { broker in
            broker.state.withLock { $0.refusal = (503, 1) }
            // The first attempt may have met the 403 of before.
            try await eventually(seconds: 15) { broker.state.withLock { $0.heads.count } == 3 }
            let refused = ContinuousClock.now
            broker.state.withLock { $0.refuses = false }
            try await eventually { broker.registrations == 1 }
            // A refusal would have waited four seconds at least by now.
            #expect(refused.duration(to: .now) < .milliseconds(3_500))
        }
    }

    @Test func `a broker that goes silent is left`() async throws {
        var timings = WorkerTimings()
        timings.pingMs = 60_000
        timings.silenceMs = 300
        try await withAgent(timings: timings) { broker in
            try await eventually { broker.registrations >= 2 }
        }
    }

    @Test func `pings and heartbeats flow`() async throws {
        var timings = WorkerTimings()
        (timings.pingMs, timings.heartbeatMs) = (50, 50)
        try await withAgent(timings: timings) { broker in
            try await eventually {
                broker.state.withLock { $0.pings } >= 2
                    && broker.state.withLock { $0.frames.contains { $0["op"] == "heartbeat" } }
            }
        }
    }

    @Test func `a silent worker sends nothing and a garbled one no JSON`() async throws {
        let ask = #"{"model":"demo-chat","messages":[{"role":"user","content":"hi"}]}"#
        let silent = DemoFaults(silent: true)
        try await withAgent(backend: .demo(tokensPerSecond: 0, models: ["demo-chat"], faults: silent)) { broker in
            broker.send(chat("q", ask))
            broker.send(#"{"v":1,"op":"models.list","request_id":"m"}"#)
            try await eventually { broker.events(of: "m").last == "ok" }
            #expect(broker.frames(of: "q").isEmpty)
        }
        let garbled = DemoFaults(garbage: true)
        try await withAgent(backend: .demo(tokensPerSecond: 0, models: ["demo-chat"], faults: garbled)) { broker in
            broker.send(chat("q", ask))
            try await eventually { broker.events(of: "q").last == "ok" }
            let body = broker.frames(of: "q").last?["payload"]?["body"]?.text ?? ""
            #expect((try? JSONValue.parse(Array(body.utf8))) == nil)
        }
    }

    @Test func `graceful shutdown finishes what runs and closes with 1000`() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let broker = FakeBroker(group: group)
        try await broker.start()
        let document: JSONValue = [
            "broker": [
                "base_url": .string("http://127.0.0.1:\(broker.port)"), "scope": "global", "provider_id": "gpu",
                "registration_token": "t",
            ], "backend": ["kind": "demo", "tokens_per_second": 100],
        ]
        let configuration = try WorkerConfiguration.parse(document, environment: [:], hostname: "Box.Local")
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let agent = WorkerAgent(configuration: configuration, eventLoopGroup: group, logger: logger)
        let services = ServiceGroup(services: [agent], logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await services.run() }
            try await eventually { broker.registrations == 1 }
            broker.send(chat("s", #"{"model":"demo-chat","stream":true,"messages":[{"role":"user","content":"hi"}]}"#))
            try await eventually { broker.events(of: "s").contains("chunk") }
            await services.triggerGracefulShutdown()
            try await eventually { broker.state.withLock { $0.closes } == [1000] }
            #expect(broker.events(of: "s").last == "done")
            try await tasks.waitForAll()
        }
        await broker.stop()
    }
}

@Suite struct WorkerOpenAITests {
    private func withBackend(
        _ body: @Sendable @escaping (FakeBroker, FakeOpenAIServer) async throws -> Void
    ) async throws {
        let server = FakeOpenAIServer()
        try await server.start(group: MultiThreadedEventLoopGroup.singleton)
        let backend = WorkerConfiguration.BackendKind.openAI(
            baseURL: "http://127.0.0.1:\(server.port)/v1", apiKey: "backend-key")
        try await withAgent(backend: backend) { broker in try await body(broker, server) }
        await server.stop()
    }

    @Test func `the buyer's bytes reach the backend as they were`() async throws {
        try await withBackend { broker, server in
            let filler = String(repeating: "x€", count: 400_000)
            let body = #"{ "model" : "m","n":1.0e0, "odd\u0041":[ ], "messages":["\#(filler)"] }"#
            broker.send(chat("b", body))
            try await eventually { broker.events(of: "b").last == "ok" }
            #expect(server.state.withLock { $0.bodies.last } == body)
            #expect(server.state.withLock { $0.paths.last } == "/v1/chat/completions")
            #expect(server.state.withLock { $0.headers.last?.first(name: "authorization") } == "Bearer backend-key")
            #expect(broker.frames(of: "b").last?["payload"]?["headers"]?["x-probe"] == "1")
        }
    }

    @Test func `characters cut by reads arrive whole`() async throws {
        try await withBackend { broker, _ in
            broker.send(chat("u", #"{"model":"split","stream":true}"#))
            try await eventually { broker.events(of: "u").last == "done" }
            let text = broker.frames(of: "u").compactMap { $0["payload"]?["chunk"]?.text }.joined()
            #expect(text == "data: {\"t\":\"h€llo 🦊\"}\n\n")
        }
    }

    @Test func `cancel reaches the backend and nothing more is answered`() async throws {
        try await withBackend { broker, server in
            broker.send(chat("k", #"{"model":"hang","stream":true}"#))
            try await eventually { broker.events(of: "k").contains("chunk") }
            let before = broker.frames(of: "k").count
            broker.send(#"{"v":1,"op":"cancel","request_id":"k2","payload":{"request_id":"k"}}"#)
            try await eventually { server.state.withLock { $0.closedStreams } == 1 }
            broker.send(#"{"v":1,"op":"heartbeat","request_id":"h"}"#)
            try await eventually { !broker.frames(of: "h").isEmpty }
            #expect(broker.frames(of: "k").count == before)
        }
    }

    @Test func `a lost broker connection stops the backend's work`() async throws {
        try await withBackend { broker, server in
            broker.send(chat("k", #"{"model":"hang","stream":true}"#))
            try await eventually { broker.events(of: "k").contains("chunk") }
            broker.dropLast()
            try await eventually { server.state.withLock { $0.closedStreams } == 1 }
        }
    }

    @Test func `a backend's own error is passed on with its status`() async throws {
        try await withBackend { broker, _ in
            broker.send(chat("t", #"{"model":"teapot","stream":true}"#))
            try await eventually { broker.events(of: "t").last == "ok" }
            #expect(broker.frames(of: "t").last?["payload"]?["status_code"]?.integer == 418)
        }
    }

    @Test func `proxy reaches data paths only, and binary answers are base64`() async throws {
        try await withBackend { broker, server in
            let ask =
                #"{"op":"proxy","request_id":"ID","payload":{"endpoint_path":"PATH","method":"POST","body":{"a": 1}}}"#
            let paths = [
                "a": "/v1/audio/speech", "b": "/v1/../admin", "c": "/admin", "d": "/v1/%2e%2e/x", "e": "/v1//models",
            ]
            for (id, path) in paths {
                broker.send(ask.replacing("ID", with: id).replacing("PATH", with: path))
            }
            try await eventually {
                broker.events(of: "a").last == "ok"
                    && ["b", "c", "d", "e"].allSatisfy { broker.events(of: $0) == ["error"] }
            }
            #expect(broker.frames(of: "a").last?["payload"]?["body_base64"] == "AP/+AQ==")
            #expect(server.state.withLock { $0.paths } == ["/v1/audio/speech"])
            #expect(server.state.withLock { $0.bodies } == [#"{"a": 1}"#])
        }
    }

    @Test func `a backend that is not there is named`() async throws {
        let backend = WorkerConfiguration.BackendKind.openAI(baseURL: "http://127.0.0.1:1/v1", apiKey: nil)
        try await withAgent(backend: backend) { broker in
            broker.send(chat("n", "{}"))
            try await eventually { broker.events(of: "n").last == "error" }
            let error = broker.frames(of: "n").last?["error"]
            #expect(error?["code"] == "backend_unreachable")
            #expect(error?["message"] == "no connection to its backend")
        }
    }
}
