import MeshModel
import MeshWire
import Testing

/// Frames at their bounds, to the byte.
@Suite(.serialized, .nodeLog) struct FrameSizeTests {
    /// An answer whose frame has exactly `size` bytes.
    private static func answer(_ request: JSONValue, size: Int) -> (frame: [UInt8], body: [UInt8]) {
        let front = Array(#"{"v":1,"request_id":"\#(request.id)","status":"ok","payload":"#.utf8)
        let open = Array(#"{"x":""#.utf8)
        let close = Array(#""}"#.utf8)
        let filler = [UInt8](
            repeating: UInt8(ascii: "y"), count: size - front.count - open.count - close.count - 1)
        let body = open + filler + close
        return (front + body + [UInt8(ascii: "}")], body)
    }

    @Test func anAnswerOfExactly16MiBIsTakenWholeAndInFragments() async throws {
        try await Shop.open(firstContentMs: 60_000) { shop in
            for fragments in [1, 4] {
                let connection = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
                let request = try await shop.worker.request("chat.completions")
                let (frame, body) = Self.answer(request, size: Limits.workerFrameBytes)
                #expect(frame.count == 16 << 20)
                let size = frame.count / fragments
                for number in 0..<fragments {
                    shop.worker.frame(
                        number == 0 ? 1 : 0, isFinal: number == fragments - 1,
                        Array(frame[(number * size)..<((number + 1) * size)]))
                    // Control frames may stand between the fragments of a message (RFC 6455, section 5.4).
                    if number < fragments - 1 { shop.worker.frame(9, [UInt8(number)]) }
                }
                let reply = try await connection.reply(within: 60)
                #expect(reply.status == 200)
                #expect(reply.body.count == body.count && reply.body == body)
                #expect(try await shop.worker.isAlive())
                connection.close()
            }
        }
    }

    @Test func aRequestOfExactlyOneMebibyteIsSentAndOneByteMoreIsNot() async throws {
        try await Shop.open(firstContentMs: 20_000) { shop in
            func body(_ size: Int) -> String {
                let open = #"{"model":"m1","x":""#
                return open + String(repeating: "y", count: size - open.utf8.count - 2) + #""}"#
            }
            let small = try await shop.buyer.start(body(100))
            let frame = try await shop.worker.next("the request")
            let around = frame.payload.count - 100
            shop.worker.answer(try #require(frame.document), payload: "{}")
            #expect(try await small.reply().status == 200)
            let largest = Limits.workerRequestFrameBytes - around
            let exact = try await shop.buyer.start(body(largest))
            let sent = try await shop.worker.next("the largest request", within: 20)
            #expect(sent.payload.count == 1 << 20)
            shop.worker.answer(try #require(sent.document), payload: "{}")
            #expect(try await exact.reply().status == 200)
            let refused = try await shop.buyer.ask(body(largest + 1))
            #expect(refused.status == 413 && refused.errorCode == "worker_frame_limit")
            #expect(refused.errorMessage.contains("1048577") && refused.errorMessage.contains("1048576"))
            #expect(try await shop.worker.isAlive())
        }
    }

    @Test func theLimitOfAWorkerElsewhereIsToldWithItsCodeAndSize() async throws {
        try await withTwoNodes(firstContentMs: 20_000) { north, south in
            try await south.user("bob")
            let bob = try await south.key(of: "bob")
            let token = try await north.provider("lab")
            let worker = try await ScriptedWorker.admitted(
                at: north, token: token, capabilities: RequestHygieneTests.studio)
            try await south.offers("lab/m1", to: bob)
            let filler = String(repeating: "y", count: 1 << 20)
            for path in [Buyer.chat, "/v1/embeddings"] {
                let reply = try await bob.call(
                    "POST", path, headers: ["content-type: application/json"],
                    body: #"{"model":"lab/m1","x":"\#(filler)"}"#, within: 20)
                #expect(reply.status == 413, "\(path)")
                #expect(reply.errorCode == "worker_frame_limit", "\(path)")
                #expect(reply.errorMessage.contains("1048576"), "\(path)")
                // Another host would refuse it as well.
                #expect(reply["aisbf-attempts"] == "1", "\(path)")
            }
            #expect(try await worker.isAlive())
        }
    }
}
