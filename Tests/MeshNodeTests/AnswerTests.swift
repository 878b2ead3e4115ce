import MeshWire
import Testing

/// A request's way to the worker and the answer's way back, byte for byte.
@Suite(.serialized, .nodeLog) struct AnswerTests {
    @Test func everyFieldArrivesByteForByteAndOnlyTheModelIsReplaced() async throws {
        try await Shop.open { shop in
            let front = #"{ "x_unknown" : {"deep":[1, 2.50, 1e400, "é\u00e9 \"q\"", null]},"model":"#
            let back =
                #","messages":[{"role":"user","content":"}],\"op\":\"proxy\""}], "seed":9007199254740993 ,"op":"proxy"}"#
            let connection = try await shop.buyer.start(front + #""lab/m1""# + back)
            let frame = try await shop.worker.next("the request")
            #expect(frame.text.hasSuffix(#","payload":"# + front + #""m1""# + back + "}"))
            let request = try #require(frame.document)
            #expect(request["op"]?.text == "chat.completions")
            #expect(request["provider_id"]?.text == "lab")
            #expect(request["client_id"]?.text == "w1")
            #expect(!frame.text.contains("sk-aisbf-"))
            shop.worker.answer(request, payload: #"{"id":"c1", "x_extra":1.0}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply.text == #"{"id":"c1", "x_extra":1.0}"#)
            #expect(reply["content-type"] == "application/json")
            #expect(reply["content-length"] == String(reply.body.count))
            #expect(reply["aisbf-provider"] == "global@north/lab")
            #expect(reply["aisbf-node"] == "north")
            #expect(reply["aisbf-attempts"] == "1")
            #expect(reply["server-timing"]?.hasPrefix("first;dur=") == true)
            #expect(reply["x-request-id"]?.hasPrefix("req_") == true)
        }
    }

    @Test(
        arguments: ["lab/m1", "m1", "global@north/lab/m1"],
        [Buyer.chat, "/api/v1/chat/completions", "/api/u/bob/chat/completions"])
    func everyNameAndBasePathReachesTheWorker(model: String, path: String) async throws {
        try await Shop.open { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            connection.request("POST", path, key: shop.buyer.key, body: Array(#"{"model":"\#(model)"}"#.utf8))
            let request = try await shop.worker.request("chat.completions")
            #expect(request["payload"]?["model"]?.text == "m1")
            shop.worker.answer(request, payload: "{}")
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func rawReadsAreFramedAnewAndDoneComesOnce() async throws {
        try await Shop.open { shop in
            for marker in ["", "data: [DONE]\n\n", "data: [DONE]\n\ndata: [DONE]\n\n"] {
                let connection = try await shop.buyer.start(#"{"model":"lab/m1","stream":true}"#)
                let request = try await shop.worker.request("chat.completions")
                let events = "data: {\"t\":\"grün\"}\n\ndata: {\"t\":\"2\"}\n\n" + marker
                for character in events.unicodeScalars { shop.worker.chunk(request, String(character)) }
                shop.worker.done(request)
                let reply = try await connection.reply()
                #expect(reply.status == 200)
                #expect(reply["content-type"] == "text/event-stream")
                #expect(reply.isChunked)
                #expect(reply["content-length"] == nil)
                #expect(reply.text == "data: {\"t\":\"grün\"}\n\ndata: {\"t\":\"2\"}\n\ndata: [DONE]\n\n")
            }
        }
    }

    @Test func aWholeStreamInOneWrappedFrameIsRelayedAsAStream() async throws {
        try await Shop.open { shop in
            let payload =
                #"{"status_code":200,"content_type":"text/event-stream","body":"data: {\"a\":1}\n\ndata: [DONE]\n\n"}"#
            let (reply, _) = try await shop.exchange(#"{"model":"lab/m1","stream":true}"#, answer: payload)
            #expect(reply.text == "data: {\"a\":1}\n\ndata: [DONE]\n\n")
        }
    }

    @Test func aBuyerWhoLeavesCancelsTheWorker() async throws {
        try await Shop.open { shop in
            let connection = try await shop.buyer.start(#"{"model":"lab/m1","stream":true}"#)
            let request = try await shop.worker.request("chat.completions")
            shop.worker.chunk(request, "data: 1\n\n")
            try await eventually("the first event") { connection.received > 0 }
            connection.close()
            #expect(try await shop.worker.request("cancel")["payload"]?.id == request.id)
            // Released clients answer a cancel with an error; it costs nothing.
            shop.worker.say(#"{"request_id":"\#(request.id)","status":"error","error":"unsupported operation"}"#)
            #expect(try await shop.exchange(#"{"model":"lab/m1"}"#, answer: "{}").reply.status == 200)
        }
    }

    @Test func aBuyerWhoDoesNotReadHoldsUpNobodyElse() async throws {
        try await Shop.open { shop in
            let slow = try await shop.buyer.start(#"{"model":"lab/m1","stream":true}"#, receiveBuffer: 4_096)
            try await slow.readNothing()
            let first = try await shop.worker.request("chat.completions")
            let event = "data: " + String(repeating: "x", count: 60_000) + "\n\n"
            for _ in 0..<200 { shop.worker.chunk(first, event) }
            // Twelve megabytes nobody reads: the stream is cut and the worker told, while others are served.
            let quick = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
            var operations: [String] = []
            while operations.count < 2 {
                let frame = try #require(try await shop.worker.next().document)
                let operation = frame["op"]?.text ?? ""
                operations.append(operation)
                if operation == "chat.completions" { shop.worker.answer(frame, payload: "{}") }
                if operation == "cancel" { #expect(frame["payload"]?.id == first.id) }
            }
            #expect(operations.sorted() == ["cancel", "chat.completions"])
            #expect(try await quick.reply().status == 200)
            try await slow.readAgain()
            try await eventually("the slow buyer's stream was cut") { slow.isClosed }
            #expect(slow.received < 12_000_000)
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        try await Shop.open { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            for path in ["/v1/models", "/v1/models/lab/m1", "/v1/none", "/healthz"] {
                connection.request("GET", path, key: shop.buyer.key)
            }
            var statuses: [Int] = []
            for _ in 0..<4 { statuses.append(try await connection.reply().status) }
            #expect(statuses == [200, 200, 404, 200])
        }
    }
}
