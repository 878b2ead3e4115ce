import Foundation
import Testing

/// A node with alice's public provider `gpu`, whose workers are Python.
struct Market {
    let shop: WorkerTests.Shop
    let token: String

    static func open(_ extra: [String: Any] = [:]) async throws -> Market {
        try #require(
            FileManager.default.isExecutableFile(atPath: Products.python),
            "the Python packages are not installed; run 'make venv', as 'make test' does")
        let shop = try await WorkerTests.Shop.open(extra)
        let file = try Data(contentsOf: URL(fileURLWithPath: shop.workerFile))
        let broker = (try JSONSerialization.jsonObject(with: file) as? [String: Any])?["broker"] as? [String: Any]
        return Market(shop: shop, token: try #require(broker?["registration_token"] as? String))
    }

    func start(_ generation: String, _ flags: [String] = []) throws -> ChildProcess {
        try ChildProcess(
            Products.python,
            [
                "\(Products.root)/Tests/EndToEndTests/Clients/coderai_client.py", "--generation", generation,
                "--url", "ws://127.0.0.1:\(shop.node.port)", "--username", "alice", "--provider-id", "gpu",
                "--client-id", "rig", "--token", token,
                "--identity", GenerationTests.identities[generation] ?? "both",
            ] + flags)
    }

    /// Whether the buyer's list of models becomes exactly these models of the provider.
    func lists(_ models: Set<String>, within seconds: Double = 15) async -> Bool {
        await eventually(within: seconds) {
            let answer = try? await Curl.run([
                "-H", "authorization: Bearer \(shop.key)", "\(shop.node.url)/v1/models",
            ])
            guard let body = answer?.body, answer?.status == 200,
                let document = try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any],
                let items = document["data"] as? [[String: Any]]
            else { return false }
            let names = items.compactMap { ($0["id"] as? String)?.split(separator: "/").last.map(String.init) }
            return names.count == models.count && Set(names) == models
        }
    }

    func ask(_ model: String, stream: Bool = false) async throws -> ChatReply {
        let answer = try await Curl.run([
            "-H", "authorization: Bearer \(shop.key)", "-d",
            #"{"model":"gpu/\#(model)","stream":\#(stream),"messages":[{"role":"user","content":"Hi"}]}"#,
            "\(shop.node.url)/v1/chat/completions",
        ])
        return ChatReply(answer)
    }

    func close() async { await shop.close() }
}

/// What a buyer makes of an answer, streamed or whole.
struct ChatReply: Sendable {
    let status: Int
    let code: String?
    let headers: [String: String]
    let body: String
    private(set) var text = ""
    private(set) var totalTokens: Int?
    private(set) var doneMarkers = 0
    private let isStream: Bool

    init(_ answer: LocalMesh.Answer) {
        status = answer.status
        code = answer.code
        headers = answer.headers
        body = answer.body
        let lines = body.components(separatedBy: "\n")
        let events = lines.filter { $0.hasPrefix("data: ") }.map { String($0.dropFirst(6)) }
        isStream = !events.isEmpty
        for document in events.isEmpty ? [body] : events {
            if document == "[DONE]" { doneMarkers += 1 } else { read(document) }
        }
    }

    private mutating func read(_ document: String) {
        let value = (try? JSONSerialization.jsonObject(with: Data(document.utf8))) as? [String: Any]
        let choice = (value?["choices"] as? [[String: Any]])?.first
        // What OpenAI's programs read: `delta` in an event, `message` in a document.
        let part = choice?[isStream ? "delta" : "message"] as? [String: Any]
        text += part?["content"] as? String ?? ""
        if let usage = value?["usage"] as? [String: Any] { totalTokens = usage["total_tokens"] as? Int }
    }
}
