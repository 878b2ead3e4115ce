import MeshModel
import MeshWire
import Testing

/// Workers of one provider that differ in what they offer.
@Suite(.serialized, .nodeLog) struct ProviderIndexTests {
    @Test func oneAmongManyIsFoundByItsModel() async throws {
        try await Shop.open { shop in
            var others: [ScriptedWorker] = []
            for number in 0..<20 {
                others.append(
                    try await ScriptedWorker.attach(
                        shop.node.buyerPort, provider: "lab", token: shop.token, client: "c\(number)",
                        models: ["m1", "own-\(number)"]))
            }
            for number in [0, 7, 19] {
                let connection = try await eventually("the model is known") { () -> RawConnection? in
                    let connection = try await shop.buyer.start(#"{"model":"lab/own-\#(number)"}"#)
                    if others[number].connection.pending.isEmpty { try await Task.sleep(for: .milliseconds(100)) }
                    return others[number].connection.pending.isEmpty ? nil : connection
                }
                others[number].answer(try await others[number].request("chat.completions"), payload: "{}")
                #expect(try await connection.reply().status == 200)
            }
            // A worker that offers something else from now on is not asked for what it had.
            others[7].register("again")
            _ = try await others[7].event("registered")
            others[7].answer(try await others[7].request("models.list"), payload: #"{"data":["new-7"]}"#)
            try await shop.node.offers("lab/new-7", to: shop.buyer)
            let connection = try await shop.buyer.start(#"{"model":"lab/new-7"}"#)
            others[7].answer(try await others[7].request("chat.completions"), payload: "{}")
            #expect(try await connection.reply().status == 200)
            #expect(try await shop.buyer.ask(model: "lab/own-7").status == 503)
            others[19].connection.close()
            try await eventually("503") { try await shop.buyer.ask(model: "lab/own-19").status == 503 }
        }
    }
}
