import MeshWire
import Testing

/// What a buyer is told when the worker does not do its part.
@Suite(.serialized, .nodeLog) struct WorkerFailureTests {
    @Test func aWorkerThatLeftIs503WithRetryAfter() async throws {
        try await Shop.open { shop in
            shop.worker.connection.close()
            try await eventually("503") { try await shop.buyer.ask(model: "lab/m1").status == 503 }
            let reply = try await shop.buyer.ask(model: "lab/m1")
            #expect(reply.errorCode == "worker_unavailable")
            #expect(reply["retry-after"] != nil)
            #expect(reply["aisbf-attempts"] == "0")
        }
    }

    @Test func aWorkerLostWhileItWorksIsAnError() async throws {
        try await Shop.open { shop in
            let connection = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
            _ = try await shop.worker.request("chat.completions")
            shop.worker.connection.close()
            let reply = try await connection.reply()
            #expect(reply.status == 502)
            #expect(reply.errorCode == "worker_lost")
        }
    }

    @Test(arguments: [
        "12", "\"text\"", "null", #"{"status_code":9999,"body":""}"#, #"{"status_code":200,"body_base64":"%%%"}"#,
    ])
    func garbageIs502(payload: String) async throws {
        try await Shop.open { shop in
            let (reply, _) = try await shop.exchange(#"{"model":"lab/m1"}"#, answer: payload)
            #expect(reply.status == 502)
            #expect(reply.errorCode == "worker_bad_answer")
        }
    }

    @Test func silenceIs504AndTheWorkerIsToldToStop() async throws {
        try await Shop.open(firstContentMs: 300) { shop in
            let connection = try await shop.buyer.start(#"{"model":"lab/m1","stream":true}"#)
            let request = try await shop.worker.request("chat.completions")
            let reply = try await connection.reply()
            #expect(reply.status == 504)
            #expect(reply.errorCode == "worker_timeout")
            #expect(try await shop.worker.request("cancel")["payload"]?.id == request.id)
            // The connection takes the next request.
            connection.request("GET", "/v1/models", key: shop.buyer.key)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func pendingExtendsTheDeadline() async throws {
        try await Shop.open(firstContentMs: 500) { shop in
            let connection = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
            let request = try await shop.worker.request("chat.completions")
            shop.worker.say(
                #"{"event":"pending","status":"pending","request_id":"\#(request.id)","payload":{"estimated_timeout":30}}"#
            )
            // Three times the deadline: without the extension the answer would be a 504 by then.
            let until = ContinuousClock.now.advanced(by: .milliseconds(1_800))
            while ContinuousClock.now < until {
                #expect(connection.received == 0)
                try await Task.sleep(for: .milliseconds(100))
            }
            shop.worker.answer(request, payload: #"{"id":"late"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply.text == #"{"id":"late"}"#)
        }
    }

    @Test func theWorkersOwnErrorsPassThrough() async throws {
        try await Shop.open { shop in
            let wrapped = #"{"status_code":422,"content_type":"application/json","body":"{\"error\":\"too hot\"}"}"#
            let (reply, _) = try await shop.exchange(#"{"model":"lab/m1"}"#, answer: wrapped)
            #expect(reply.status == 422)
            #expect(reply.errorCode == "worker_error" && reply.errorMessage.contains("too hot"))
            let connection = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
            let request = try await shop.worker.request("chat.completions")
            shop.worker.say(
                #"{"request_id":"\#(request.id)","status":"error","error":{"code":"model_not_found","message":"gone"}}"#
            )
            let named = try await connection.reply()
            #expect(named.status == 404)
            #expect(named.errorMessage.contains("gone"))
        }
    }

    @Test func aWorkerLostInMidStreamIsAnInBandErrorAndTheEnd() async throws {
        try await Shop.open { shop in
            let connection = try await shop.buyer.start(#"{"model":"lab/m1","stream":true}"#)
            let request = try await shop.worker.request("chat.completions")
            shop.worker.chunk(request, "data: {\"a\":1}\n\n")
            try await eventually("the first event") { connection.received > 0 }
            shop.worker.connection.close()
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply.text.hasPrefix("data: {\"a\":1}\n\ndata: {\"error\":{"))
            #expect(reply.text.contains("worker_lost") || reply.text.contains("stream_interrupted"))
            #expect(!reply.text.contains("[DONE]"))
        }
    }
}
