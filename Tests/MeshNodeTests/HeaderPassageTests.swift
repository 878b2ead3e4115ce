import MeshModel
import MeshWire
import Testing

/// Which header fields pass between a buyer and what serves the models, at the worker's node and from another one.
@Suite(.serialized, .nodeLog) struct HeaderPassageTests {
    /// A worker at the north node, and a buyer at each.
    private struct Market: Sendable {
        var worker: ScriptedWorker
        var sides: [(node: TestNode, buyer: Buyer)]

        static func open(_ capabilities: String, _ body: @escaping @Sendable (Market) async throws -> Void) async throws
        {
            try await withTwoNodes { north, south in
                let token = try await north.provider("lab")
                let worker = try await ScriptedWorker.admitted(at: north, token: token, capabilities: capabilities)
                var sides: [(node: TestNode, buyer: Buyer)] = []
                for node in [north, south] {
                    try await node.user("bob")
                    let buyer = try await node.key(of: "bob")
                    try await node.offers("lab/m1", to: buyer)
                    sides.append((node, buyer))
                }
                try await body(Market(worker: worker, sides: sides))
            }
        }

        /// A GET of a file by each buyer; `answer` is the worker's payload.
        func get(
            _ headers: [String], answer: String, _ check: (Reply, JSONValue) throws -> Void
        ) async throws {
            for side in sides {
                let connection = try await RawConnection.open(port: side.node.buyerPort)
                connection.request("GET", "/v1/files/f/content?model=lab/m1", key: side.buyer.key, headers: headers)
                let request = try await worker.request("proxy")
                worker.answer(request, payload: answer)
                try check(try await connection.reply(), request["payload"]?["headers"] ?? .null)
                connection.close()
            }
        }
    }

    private static func file(_ status: Int, _ headers: String) -> String {
        #"{"status_code":\#(status),"content_type":"text/plain","headers":{\#(headers)},"body":"bc"}"#
    }

    @Test func aRangePassesAndItsPartComesBack() async throws {
        let capabilities = #"{"ranges":true,"studio":{"endpoints":["v1/files"]}}"#
        try await Market.open(capabilities) { market in
            let part = Self.file(206, #""content-range":"bytes 1-2/4","accept-ranges":"bytes","etag":"\"v\"""#)
            try await market.get(["Range: bytes=1-2", #"If-Range: "v""#], answer: part) { reply, headers in
                #expect(headers == ["range": "bytes=1-2", "if-range": "\"v\""])
                #expect(reply.status == 206 && reply.text == "bc" && reply["content-range"] == "bytes 1-2/4")
                #expect(reply["accept-ranges"] == "bytes" && reply["etag"] == "\"v\"")
            }
            try await market.get([], answer: Self.file(200, #""accept-ranges":"bytes""#)) { reply, headers in
                #expect(headers == [:] && reply.status == 200 && reply["accept-ranges"] == "bytes")
            }
            let none = #"{"status_code":416,"headers":{"content-range":"bytes */4"},"body":{"error":{"message":"no"}}}"#
            try await market.get(["range: bytes=9-"], answer: none) { reply, _ in
                #expect(reply.status == 416 && reply["content-range"] == "bytes */4")
            }
            // What a server could not be sure of is not asked: several fields, or a condition that cannot be passed on.
            for odd in [["range: bytes=1-2", "range: bytes=3-4"], ["range: bytes=1-2", "if-range: \u{E9}"]] {
                try await market.get(odd, answer: Self.file(200, "")) { reply, headers in
                    #expect(headers == [:] && reply.status == 200)
                }
            }
        }
    }

    @Test func rangesOfAWorkerThatDoesNotPassThemAreNotAnnounced() async throws {
        try await Market.open(#"{"studio":{"endpoints":["v1/files"]}}"#) { market in
            let whole = Self.file(200, #""accept-ranges":"bytes","etag":"\"v\"""#)
            try await market.get(["range: bytes=1-2"], answer: whole) { reply, _ in
                #expect(reply.status == 200 && reply["accept-ranges"] == nil && reply["etag"] == "\"v\"")
            }
        }
    }

    @Test func whatSteersAnSDKsRetriesPasses() async throws {
        try await Market.open("{}") { market in
            let limited =
                #"{"status_code":429,"headers":{"X-Should-Retry":"false","Retry-After-Ms":"17250","retry-after":"18","#
                + #""x-internal":"1"},"body":{"error":{"message":"slow down","type":"requests"}}}"#
            for side in market.sides {
                for streams in [false, true] {
                    let connection = try await side.buyer.start(#"{"model":"lab/m1","stream":\#(streams)}"#)
                    market.worker.answer(try await market.worker.request("chat.completions"), payload: limited)
                    let reply = try await connection.reply()
                    #expect(reply.status == 429 && reply["x-should-retry"] == "false")
                    #expect(reply["retry-after-ms"] == "17250" && reply["retry-after"] == "18")
                    #expect(reply["x-internal"] == nil)
                    connection.close()
                }
            }
        }
    }

    /// Workers of other makes say where they stand.
    @Test func wordsOfAnyWorkerLoseItsAddresses() async throws {
        try await Market.open("{}") { market in
            for side in market.sides {
                let known =
                    #"{"error":{"message":"no answer from http://10.0.0.3:8000/v1","type":"server_error"},"n":1.50}"#
                let connection = try await side.buyer.start(#"{"model":"lab/m1"}"#)
                market.worker.answer(
                    try await market.worker.request("chat.completions"),
                    payload: #"{"status_code":500,"body":\#(known)}"#)
                let reply = try await connection.reply()
                #expect(reply.text == known.replacing("http://10.0.0.3:8000/v1", with: "(address)"))
                #expect(reply["content-length"] == "\(reply.body.count)")
                connection.close()

                let failed = try await side.buyer.start(#"{"model":"lab/m1"}"#)
                let request = try await market.worker.request("chat.completions")
                market.worker.say(
                    #"{"request_id":"\#(request.id)","status":"error","error":{"message":"no /srv/models/x.gguf here"}}"#
                )
                let error = try await failed.reply()
                #expect(error.errorMessage.contains("no (path) here"), "\(error.text)")
                failed.close()
            }
        }
    }
}
