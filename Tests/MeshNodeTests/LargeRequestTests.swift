import MeshModel
import MeshWire
import Testing

/// Requests that a worker's socket does not take at once.
@Suite(.serialized, .nodeLog) struct LargeRequestTests {
    /// A worker for `big` with a small window, that takes large frames and reads when it is told to.
    private static func attach(_ shop: Shop) async throws -> ScriptedWorker {
        let connection = try await RawConnection.open(port: shop.node.buyerPort, receiveBuffer: 8_192)
        let headers = ScriptedWorker.identity("lab", token: shop.token, client: "w2")
        let reply = try await ScriptedWorker.dial(on: connection, path: "/api/coderai/wss", headers: headers)
        guard reply.status == 101 else { throw NotSeen(description: "an upgrade, but \(reply.status)") }
        let worker = ScriptedWorker(connection: connection)
        worker.say(#"{"op":"register","request_id":"r","payload":{"capabilities":{"max_frame_bytes":16777216}}}"#)
        _ = try await worker.event("registered")
        worker.answer(try await worker.request("models.list"), payload: #"{"data":[{"id":"big"}]}"#)
        try await shop.node.offers("lab/big", to: shop.buyer)
        return worker
    }

    private static func body(_ mark: String) -> String {
        #"{"model":"big","mark":"\#(mark)","x":""# + String(repeating: "y", count: 7 << 20) + #""}"#
    }

    @Test func pingsPassBetweenTheFragmentsOfWhatIsOnItsWay() async throws {
        try await Shop.open(firstContentMs: 60_000) { shop in
            let worker = try await Self.attach(shop)
            try await worker.connection.readNothing()
            // More than the kernel holds.
            let buyers = [try await shop.buyer.start(Self.body("one")), try await shop.buyer.start(Self.body("two"))]
            for buyer in buyers {
                try await eventually("the node has the request", within: 30) { try await buyer.unsent() == 0 }
            }
            try await eventually("both are under way") { try await shop.node.requestsInFlight() == 2 }
            worker.frame(9, Array("are you there".utf8))
            try await worker.connection.readAgain()
            var (fragments, messages, before) = (0, [[UInt8]](), -1)
            var message: [UInt8] = []
            while messages.count < 2 {
                let frame = try await worker.fragment("a fragment", within: 30)
                if frame.opcode == 10 {
                    #expect(frame.text == "are you there")
                    before = messages.count
                }
                guard frame.opcode < 8 else { continue }
                #expect(frame.payload.count <= Limits.workerFragmentBytes)
                #expect((frame.opcode == 0) == !message.isEmpty, "fragments of two messages do not mix")
                fragments += 1
                message += frame.payload
                if frame.isFinal {
                    messages.append(message)
                    message = []
                }
            }
            #expect(before >= 0 && before < 2, "the pong came before the last fragment")
            #expect(fragments >= 2 * (7 << 20) / Limits.workerFragmentBytes)
            let requests = try messages.map { try JSONValue.parse($0) }
            let marks = requests.compactMap { $0["payload"]?["mark"]?.text }
            #expect(Set(marks) == ["one", "two"])
            for request in requests { worker.answer(request, payload: #"{"choices":[]}"#) }
            for buyer in buyers { #expect(try await buyer.reply(within: 30).status == 200) }
        }
    }

    @Test func aWorkerThatLeavesInTheMiddleCostsItsRequestsOnly() async throws {
        try await Shop.open(firstContentMs: 60_000) { shop in
            let worker = try await Self.attach(shop)
            try await worker.connection.readNothing()
            let buyer = try await shop.buyer.start(Self.body("one"))
            try await eventually("it is under way", within: 30) { try await shop.node.requestsInFlight() == 1 }
            worker.connection.close()
            #expect(try await buyer.reply(within: 30).status >= 500)
            try await eventually("nothing is left of it") { try await shop.node.requestsInFlight() == 0 }
            let (reply, _) = try await shop.exchange(#"{"model":"m1"}"#, answer: #"{"choices":[]}"#)
            #expect(reply.status == 200)
        }
    }
}
