import Foundation
import Testing

/// Workers of every released generation, in Python over real WebSockets, and buyers who ask through a real node.
@Suite(.serialized) struct GenerationTests {
    static let generations = ["A", "B", "C", "D", "E"]
    static let models: Set<String> = [
        "echo", "slow", "fail-text", "fail-object", "fail-status", "fail-openai", "fail-late", "fail-event", "crash",
    ]

    /// How each generation says who it is: all ways of the handshake are used by one of them.
    static let identities = ["A": "query", "B": "headers", "C": "both", "D": "bearer", "E": "both"]

    @Test func aBuyerIsAnsweredByGeneration() async throws {
        await atOnce(Self.generations) { try await Self.aBuyerIsAnsweredByGeneration($0) }
    }

    private static func aBuyerIsAnsweredByGeneration(_ generation: String) async throws {
        let market = try await Market.open()
        let client = try market.start(generation)
        #expect(await market.lists(Self.models), "\(client.output)")
        let text = "Generation \(generation) says: Hi – äöü €uro 😀 done"
        let whole = try await market.ask("echo")
        #expect(whole.status == 200 && whole.text == text, "\(whole.body)\n\(client.output)")
        #expect(whole.totalTokens == 12, "\(whole.body)")
        let streamed = try await market.ask("echo", stream: true)
        #expect(streamed.status == 200 && streamed.text == text, "\(streamed.body)\n\(client.output)")
        #expect(streamed.headers["content-type"]?.hasPrefix("text/event-stream") == true, "\(streamed.headers)")
        #expect(streamed.doneMarkers == 1 && streamed.totalTokens == 12, "\(streamed.body)")
        let together = try await withThrowingTaskGroup(of: ChatReply.self) { group in
            for number in 0..<6 { group.addTask { try await market.ask("echo", stream: number % 2 == 0) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(together.allSatisfy { $0.status == 200 && $0.text == text }, "\(together.map(\.body))")
        await market.close()
    }

    @Test func failuresOfGenerationReachTheBuyer() async throws {
        await atOnce(Self.generations) { try await Self.failuresOfGenerationReachTheBuyer($0) }
    }

    private static func failuresOfGenerationReachTheBuyer(_ generation: String) async throws {
        let market = try await Market.open(["limits": ["first_content_ms": 4_000]])
        // Without keep-alives, so that a crashed handler is noticed by the deadline of the first content.
        let client = try market.start(generation, ["--pending", "off"])
        #expect(await market.lists(Self.models), "\(client.output)")
        for model in ["fail-text", "fail-object"] {
            for stream in [false, true] {
                let reply = try await market.ask(model, stream: stream)
                #expect(reply.status == 502 && reply.code == "worker_error", "\(reply.body)")
                #expect(reply.body.contains("the backend failed"), "\(reply.body)")
            }
        }
        for model in ["fail-status", "fail-openai"] {
            let reply = try await market.ask(model)
            #expect(reply.status == (["A", "B"].contains(generation) ? 502 : 422), "\(reply.body)")
            #expect(reply.body.contains("the question is too long"), "\(reply.body)")
        }
        let crashed = try await market.ask("crash")
        #expect(crashed.status == 504 && crashed.code == "worker_timeout", "\(crashed.body)")
        if ["A", "D", "E"].contains(generation) {
            let late = try await market.ask("fail-late", stream: true)
            #expect(late.status == 200 && late.body.contains("the backend failed late"), "\(late.body)")
            #expect(late.doneMarkers == 0, "\(late.body)")
        }
        if generation != "B" {
            let event = try await market.ask("fail-event", stream: true)
            #expect(event.status == 200 && event.body.contains("the model ran out of memory"), "\(event.body)")
            #expect(event.doneMarkers == 0, "\(event.body)")
        }
        #expect(try await market.ask("echo").status == 200, "\(client.output)")
        await market.close()
    }

    @Test func theSameClientIDTakesOverFromGeneration() async throws {
        await atOnce(Self.generations) { try await Self.theSameClientIDTakesOverFromGeneration($0) }
    }

    private static func theSameClientIDTakesOverFromGeneration(_ generation: String) async throws {
        let market = try await Market.open()
        let old = try market.start(generation, ["--once"])
        #expect(await market.lists(Self.models), "\(old.output)")
        let new = try market.start(generation, ["--models", "echo,crash"])
        #expect(await old.exitCode(within: 10) == 0, "\(old.output)")
        #expect(old.output.contains("closed 1011 replaced by a new connection"), "\(old.output)")
        #expect(await market.lists(["echo", "crash"]), "\(new.output)")
        #expect(try await market.ask("echo").status == 200, "\(new.output)")
        new.kill(SIGKILL)
        #expect(await market.lists([], within: 10), "a killed worker is still listed")
        #expect(try await market.ask("echo").status != 200)
        await market.close()
    }

    @Test func aClientThatFreezesLeavesTheListAndComesBack() async throws {
        let market = try await Market.open()
        let client = try market.start("D")
        #expect(await market.lists(Self.models), "\(client.output)")
        client.kill(SIGSTOP)
        #expect(await market.lists([], within: 12), "a frozen worker is still listed")
        client.kill(SIGCONT)
        #expect(await market.lists(Self.models, within: 15), "\(client.output)")
        #expect(try await market.ask("echo").status == 200, "\(client.output)")
        await market.close()
    }

    @Test func quirksOfChunksAreHidden() async throws {
        await atOnce([["--split-events"], ["--split-events", "--pending", "off", "--serial"], ["--damaged-utf8"]]) {
            try await Self.quirksOfChunksAreHidden(flags: $0)
        }
    }

    private static func quirksOfChunksAreHidden(flags: [String]) async throws {
        let market = try await Market.open()
        let client = try market.start("D", flags)
        #expect(await market.lists(Self.models), "\(client.output)")
        for _ in 0..<3 {
            let reply = try await market.ask("echo", stream: true)
            #expect(reply.text == "Generation D says: Hi – äöü €uro 😀 done", "\(reply.body)\n\(client.output)")
            #expect(reply.doneMarkers == 1 && !reply.body.contains("\u{FFFD}"), "\(reply.body)")
        }
        #expect(!client.output.contains("closed"), "\(client.output)")
        await market.close()
    }
}
