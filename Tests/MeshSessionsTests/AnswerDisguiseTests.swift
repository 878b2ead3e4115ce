import MeshModel
import MeshWire
import Testing

@testable import MeshSessions

/// What is inside a stream, or in its place, that is not what it looks like.
@Suite struct AnswerDisguiseTests {
    private static let end = AnswerStreamTests.end
    private static let done = AnswerFormTests.done
    private static let content = "data: {\"a\":1}\n\n"

    private static func chunk(_ text: String) -> String {
        #"{"event":"chunk","payload":{"chunk":\#(SessionFixtures.text(JSONText.quoted(text)))}}"#
    }

    private static func wrapped(_ text: String, type: String) -> String {
        #"{"payload":{"status_code":200,"content_type":"\#(type)","body":\#(SessionFixtures.text(JSONText.quoted(text)))}}"#
    }

    // MARK: Errors

    static let errors: [(String, ErrorCode, String)] = [
        ("event: error\ndata: slow down\n\n", .workerError, "slow down"),
        ("event: error\ndata: {\"message\":\"slow down\"}\n\n", .workerError, "slow down"),
        ("event:error\r\ndata: {\"detail\":\"slow down\",\"code\":\"overloaded\"}\r\n\r\n", .workerBusy, "slow down"),
        (
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"slow down\"}}\n\n", .workerError,
            "slow down"
        ),
        ("event: error\n\n", .workerError, "without a message"),
        ("error: {\"code\":500,\"message\":\"slow down\"}\n\n", .workerError, "slow down"),
        ("error: slow down\n\n", .workerError, "slow down"),
        ("data: {\"error\":{\"message\":\"slow down\"}}\n\n", .workerError, "slow down"),
        ("data: {\"error\":\"slow down\"}", .workerError, "slow down"),
        ("id: 1\nevent: message\ndata: {\"error\":\"slow down\"}\n\n", .workerError, "slow down"),
        ("{\"error\":{\"message\":\"slow down\"}}", .workerError, "slow down"),
        (
            "{\n  \"error\": {\n\n    \"message\": \"slow down\",\n    \"code\": \"busy\"\n  }\n}\n", .workerBusy,
            "slow down"
        ),
    ]

    @Test(arguments: errors) func anErrorIsOneBeforeTheFirstContent(text: String, code: ErrorCode, words: String) {
        for cut in [text.utf8.count, 1, 7] {
            let bytes = Array(text.utf8)
            var frames = [Self.chunk(String(decoding: bytes.prefix(cut), as: UTF8.self))]
            if cut < bytes.count { frames.append(Self.chunk(String(decoding: bytes.dropFirst(cut), as: UTF8.self))) }
            var exchange = AnswerExchange(stream: true)
            let actions = (frames + [Self.end]).flatMap { exchange.receive($0) ?? [] }
            guard case .fail(let error)? = actions.first else {
                Issue.record("no failure: \(Outcome(actions))")
                continue
            }
            #expect(actions.count == 1 && error.code == code && error.message.contains(words))
        }
        #expect(Outcome(stream: true, [Self.wrapped(text, type: "text/event-stream")]) == Outcome(failure: code))
    }

    /// Behind content it is the last event, in the form that buyers' programs raise as an error.
    @Test(arguments: errors) func anErrorIsTheLastEventBehindContent(text: String, code: ErrorCode, words: String) {
        // Over several lines a bare document is cut at its blank lines, and nobody could say what it was.
        guard !text.hasPrefix("{\n") else { return }
        let outcome = Outcome(stream: true, [Self.chunk(Self.content + text), Self.end])
        #expect(outcome.body.hasPrefix(Self.content) && outcome.ends == 1 && outcome.failures.isEmpty)
        let last = outcome.body.utf8.dropFirst(Self.content.utf8.count)
        let data = String(decoding: last, as: UTF8.self).split(separator: "\n").last { $0.hasPrefix("data: ") } ?? ""
        let error = (try? JSONValue.parse(Array(data.dropFirst(6).utf8)))?["error"]
        #expect(error?["message"]?.text?.contains(words) == true && !outcome.body.contains("[DONE]"), "\(outcome)")
        #expect(String(decoding: last, as: UTF8.self).hasSuffix("\n\n"))
    }

    @Test func anErrorInAPlainSuccessIsAFailure() {
        let body = #"{"error":{"message":"hot"}}"#
        for frame in [#"{"status":"ok","payload":\#(body)}"#, Self.wrapped(body, type: "application/json")] {
            #expect(Outcome(stream: false, [frame]) == Outcome(failure: .workerError))
            #expect(Outcome(stream: true, [frame]) == Outcome(failure: .workerError))
            #expect(Outcome(form: .bytes, [frame]) == Outcome(failure: .workerError))
        }
        // A response that failed is a response.
        let response = #"{"id":"r","object":"response","status":"failed","error":{"message":"hot"}}"#
        #expect(
            Outcome(form: .bytes, [#"{"status":"ok","payload":\#(response)}"#])
                == Outcome(head: AnswerFormTests.json, body: response))
    }

    // MARK: Content that is none

    @Test(
        arguments: [
            #"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            #"{"choices":[{"index":0,"delta":{"role":"assistant"},"logprobs":null,"finish_reason":null}]}"#,
            #"{"choices":[{"delta":{"content":null,"tool_calls":[ ],"refusal":null}}],"usage":null}"#,
            #"{"choices":[{"delta":{}},{"delta":{"content":""}}]}"#, #"{"choices":[]}"#, #"{"choices":[{"text":""}]}"#,
        ])
    func aRoleWithoutAWordIsNoContent(document: String) {
        let event = "data: \(document)\n\n"
        #expect(
            Outcome(stream: true, [Self.chunk(event), Self.chunk("data: {\"error\":{\"code\":\"busy\"}}\n\n")])
                == Outcome(failure: .workerBusy))
        #expect(
            Outcome(stream: true, [Self.chunk(event + Self.content + Self.done), Self.end])
                == AnswerStreamTests.stream(event + Self.content + Self.done))
        #expect(
            Outcome(stream: true, [Self.chunk(event + Self.done), Self.end])
                == AnswerStreamTests.stream(event + Self.done))
    }

    @Test(
        arguments: [
            #"{"choices":[{"delta":{"content":" "}}]}"#, #"{"choices":[{"delta":{"reasoning_content":"m"}}]}"#,
            #"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#, #"{"choices":[{"text":"x"}]}"#,
            #"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            #"{"choices":[{"delta":{"role":"assistant","x":0}}]}"#,
            #"{"choices":[{"message":{"content":""}}]}"#, #"{"choices":[7]}"#, #"{"choices":{}}"#, #"{"id":"x"}"#,
        ])
    func anythingElseIsContent(document: String) {
        let outcome = Outcome(stream: true, [Self.chunk("data: \(document)\n\n")])
        #expect(outcome.heads == [AnswerFormTests.events] && outcome.body == "data: \(document)\n\n")
    }

    // MARK: Blocks without data

    @Test(
        arguments: [
            ("id: 1\nevent: message\ndata: {\"a\":1}\n\n", "id: 1\nevent: message\ndata: {\"a\":1}\n\n"),
            ("data: {\"a\":1}\rid: 1\r\r", "data: {\"a\":1}\nid: 1\n\n"),
            (content + "id: 2\n\nevent: ping\n\nretry: 3\n\ndata:\n\ndata: \n\n", content),
            (content + ": busy\n\n", content + ": busy\n"),
            (content + ": busy\n: still\nid: 2\n\n", content + ": busy\n: still\n"),
            (content + ": ping - 12:00\n\n:ping\n\n", content + ": waiting\n: waiting\n"),
            (": busy\n\n" + content, ": busy\n" + content),
            (": busy\nevent: x\ndata: {\"a\":1}\n\n", ": busy\nevent: x\ndata: {\"a\":1}\n\n"),
            ("event: tick\ndata:\n\n", "event: tick\ndata:\n\n"),
            ("data: {\"a\":\ndata: 1}\n\n", "data: {\"a\":\ndata: 1}\n\n"),
            ("unknown: x\ndata: {\"a\":1}\n\n", "unknown: x\ndata: {\"a\":1}\n\n"),
        ])
    func noBlockIsWithoutData(text: String, passes: String) {
        let last = "id: 0192f6f0-7d6e-7c1a-9d57-3a3c8f0b2d41-3\nevent: message\ndata: [DONE]\n\n"
        #expect(Outcome(stream: true, [Self.chunk(text + last), Self.end]).body == passes + Self.done)
        #expect(Outcome(stream: true, [Self.chunk(text), Self.end]).body == passes + Self.done)
    }

    // MARK: Types and pages

    private static let page = "<!DOCTYPE html><html><head><title>Sign in</title></head></html>"

    @Test(arguments: [page, "\n <HTML>", "\u{FEFF}<!doctype HTML>", "<html lang=\"en\">", "<body>"])
    func aPageIsNoAnswer(page: String) {
        let refused = Outcome(failure: .workerBadAnswer)
        for type in ["text/html", "text/html; charset=utf-8", "text/plain", "text/event-stream", "application/json"] {
            for form in [AnswerForm.events, .document, .bytes]
            where form != .bytes || type != "text/event-stream" {
                #expect(Outcome(form: form, [Self.wrapped(page, type: type)]) == refused, "\(form) \(type)")
            }
        }
        #expect(Outcome(stream: true, [Self.chunk(page), Self.end]) == refused)
        #expect(Outcome(form: .bytes, [Self.chunk(page), Self.end]) == refused)
        let start = #"{"event":"start","payload":{"status_code":200,"content_type":"text/html"}}"#
        for form in [AnswerForm.events, .document, .bytes] { #expect(Outcome(form: form, [start]) == refused) }
    }

    @Test func aFileMayBeAPage() throws {
        let endpoint = try #require(EndpointPath("/v1/files/f/content"))
        var exchange = AnswerExchange(
            form: .bytes, subject: .init(endpoint), deadlines: .init(), now: SessionFixtures.start)
        let outcome = Outcome(exchange.receive(Self.wrapped(Self.page, type: "text/html")) ?? [])
        #expect(outcome == Outcome(head: "200 text/html", body: Self.page))
    }

    private static func binary(_ exchange: inout AnswerExchange, _ text: String) -> [AnswerExchange.Action] {
        switch Array(text.utf8).withUnsafeBytes({ exchange.binaryArrived($0, now: SessionFixtures.start) }) {
        case .pass: [.bytes(Array(text.utf8))]
        case .actions(let actions): actions
        }
    }

    /// A large answer to a streamed request, whatever its head says.
    @Test(arguments: ["application/json", "application/octet-stream", "text/plain", "text/event-stream"], [1, 40])
    func binaryFramesAreReadAsWhatTheyAre(type: String, step: Int) {
        let start = #"{"event":"start","payload":{"status_code":200,"content_type":"\#(type)"}}"#
        let completion = #"{"object":"chat.completion","choices":[{"message":{"content":"hello"}}]}"#
        let chunk = #"{"object":"chat.completion.chunk","choices":[{"delta":{"content":"hello"}}]}"#
        for (text, body) in [
            (completion, "data: \(chunk)\n\n"), (Self.content + Self.content, Self.content + Self.content),
        ] {
            var exchange = AnswerExchange(stream: true)
            var actions = exchange.receive(start) ?? []
            var rest = text.utf8[...]
            while !rest.isEmpty {
                actions += Self.binary(&exchange, String(decoding: rest.prefix(step), as: UTF8.self))
                rest = rest.dropFirst(step)
            }
            actions += exchange.receive(Self.end) ?? []
            #expect(Outcome(actions) == AnswerStreamTests.stream(body + Self.done))
        }
        var exchange = AnswerExchange(stream: true)
        _ = exchange.receive(start)
        #expect(Outcome(Self.binary(&exchange, Self.page)) == Outcome(failure: .workerBadAnswer))
        var cut = AnswerExchange(stream: true)
        _ = cut.receive(start)
        _ = Self.binary(&cut, #"{"choices":[{"#)
        #expect(Outcome(cut.receive(Self.end) ?? []) == Outcome(failure: .workerBadAnswer))
    }

    /// Sound with the wrong type, to a request that asked to stream it.
    @Test func whatIsNoEventsPassesAsItIs() throws {
        let endpoint = try #require(EndpointPath("/v1/audio/speech"))
        var exchange = AnswerExchange(
            form: .events, subject: .init(endpoint), deadlines: .init(), now: SessionFixtures.start)
        let start =
            #"{"event":"start","payload":{"status_code":200,"content_type":"application/octet-stream","length":9}}"#
        var actions = exchange.receive(start) ?? []
        for text in ["RIFF", "12", "345"] { actions += Self.binary(&exchange, text) }
        #expect(
            Outcome(actions + (exchange.receive(Self.end) ?? []))
                == Outcome(
                    head: "200 application/octet-stream", body: "RIFF12345"))
        // News of the work before it is no part of it.
        var late = AnswerExchange(
            form: .events, subject: .init(endpoint), deadlines: .init(), now: SessionFixtures.start)
        _ = late.receive(Self.chunk(": busy\n\n"))
        var news = late.receive(start) ?? []
        news += Self.binary(&late, "RIFF12345")
        #expect(
            Outcome(news + (late.receive(Self.end) ?? []))
                == Outcome(head: "200 application/octet-stream", body: "RIFF12345"))
        // Of a chat it is no answer.
        var chat = AnswerExchange(stream: true)
        _ = chat.receive(start)
        #expect(Outcome(Self.binary(&chat, "RIFF")) == Outcome(failure: .workerBadAnswer))
    }

    @Test func aDeepAnswerPasses() {
        for depth in [100, 127, 128, 129, 300, 5_000] {
            let body = #"{"x":"# + String(repeating: "[", count: depth) + String(repeating: "]", count: depth) + "}"
            #expect(
                Outcome(stream: false, [#"{"status":"ok","payload":\#(body)}"#])
                    == Outcome(head: AnswerFormTests.json, body: body))
            #expect(
                Outcome(stream: false, [Self.wrapped(body, type: "application/json")])
                    == Outcome(head: AnswerFormTests.json, body: body))
            #expect(
                Outcome(stream: true, [Self.chunk("data: \(body)\n\n"), Self.end])
                    == AnswerStreamTests.stream("data: \(body)\n\n" + Self.done))
        }
    }
}
