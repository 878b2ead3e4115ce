import MeshUpstream
import MeshWire
import NIOCore
import Synchronization
import Testing

@testable import MeshWorker

private final class Collected: Sendable {
    let parts = Mutex((status: 0, body: ""))
}

private func ask(_ body: String, _ backend: DemoBackend = DemoBackend(tokensPerSecond: 0)) async throws -> (
    status: Int, body: String
) {
    let collected = Collected()
    let request = BackendRequest(method: "POST", path: "/chat/completions", body: ByteBuffer(string: body))
    try await backend.perform(request) { part in
        collected.parts.withLock { parts in
            switch part {
            case .words: break
            case .head(let status, _, _, _): parts.status = status
            case .body(let bytes): parts.body += String(buffer: bytes)
            }
        }
    }
    return collected.parts.withLock { $0 }
}

@Suite struct DemoBackendTests {
    @Test func `max_tokens cuts the answer`() async throws {
        let answer = try await ask(
            #"{"model":"demo-chat","max_tokens":3,"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}"#
        )
        let document = try JSONValue.parse(Array(answer.body.utf8))
        #expect(document["choices"]?.elements?.first?["finish_reason"] == "length")
        #expect(document["usage"]?["completion_tokens"]?.integer == 3)
    }

    @Test func `usage comes in the last chunk when asked for`() async throws {
        let answer = try await ask(
            #"{"model":"demo-chat","stream":true,"stream_options":{"include_usage":true},"messages":[{"content":"x"}]}"#
        )
        let events = answer.body.split(separator: "\n\n").map { $0.dropFirst(6) }
        #expect(events.last == "[DONE]")
        let usage = try JSONValue.parse(Array(events[events.count - 2].utf8))
        #expect(usage["choices"] == [] && usage["usage"]?["total_tokens"]?.integer != nil)
    }

    @Test(arguments: [
        (#"{"model":"gpt-9","messages":[{}]}"#, 404, "model_not_found"), ("{", 400, "invalid_json"),
        (#"{"model":"demo-chat","messages":[]}"#, 400, "invalid_request"),
    ])
    func `bad requests get OpenAI errors`(body: String, status: Int, code: String) async throws {
        let answer = try await ask(body)
        #expect(answer.status == status)
        #expect(try JSONValue.parse(Array(answer.body.utf8))["error"]?["code"]?.text == code)
    }

    @Test func `a fault's status is answered`() async throws {
        let backend = DemoBackend(tokensPerSecond: 0, faults: DemoFaults(errorStatus: 503))
        #expect(try await ask("{}", backend).status == 503)
    }
}
