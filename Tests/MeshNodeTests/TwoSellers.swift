import MeshModel
import MeshNode
import MeshWire
import Synchronization

/// A worker that answers every request its own way.
final class Serving: Sendable {
    typealias Answer = @Sendable (ScriptedWorker, JSONValue) -> Void

    let worker: ScriptedWorker
    private let answer: Mutex<Answer>
    private let served = Mutex(0)
    private let seen = Mutex<JSONValue?>(nil)
    private let requested = Mutex<JSONValue?>(nil)

    init(_ worker: ScriptedWorker, answer: @escaping Answer = Serving.well) {
        self.worker = worker
        self.answer = Mutex(answer)
    }

    static let well: Answer = { $0.answer($1, payload: #"{"id":"x","choices":[]}"#) }
    static let silent: Answer = { _, _ in }
    static func status(_ status: Int, _ body: String = "{}") -> Answer {
        let wrapped: JSONValue = [
            "status_code": .integer(status), "content_type": "application/json", "body": .string(body),
        ]
        return { $0.answer($1, payload: String(decoding: wrapped.bytes, as: UTF8.self)) }
    }

    /// What the last request held.
    var latest: JSONValue? { seen.withLock { $0 } }
    /// The last request, for who answers it later.
    var asked: JSONValue? { requested.withLock { $0 } }
    var count: Int { served.withLock { $0 } }
    func answers(_ next: @escaping Answer) { answer.withLock { $0 = next } }

    func run() async {
        while !Task.isCancelled {
            guard let request = try? await worker.request("chat.completions") else { continue }
            seen.withLock { $0 = request["payload"] }
            requested.withLock { $0 = request }
            served.withLock { $0 += 1 }
            answer.withLock { $0 }(worker, request)
        }
    }
}

/// A node with two sellers and one buyer.
struct TwoSellers: Sendable {
    var node: TestNode
    var bob: Buyer
    var first: Serving
    var second: Serving

    func rotation(_ body: String) async throws { _ = try await node.administer("POST", "rotations", body) }

    func ask(_ model: String = "rotation/pair") async throws -> Reply { try await bob.ask(model: model) }

    /// Two providers, `lab` and `den`, each with one worker and its own model.
    /// - Parameter windows: of the models, in tokens.
    static func open(
        _ capabilities: String = "{}", windows: (Int?, Int?) = (nil, nil),
        _ body: @escaping @Sendable (TwoSellers) async throws -> Void
    ) async throws {
        try await withNode { node in
            try await node.user("bob")
            let bob = try await node.key(of: "bob")
            var serving: [Serving] = []
            for (provider, model, window) in [("lab", "m1", windows.0), ("den", "m2", windows.1)] {
                let token = try await node.provider(provider)
                let worker = try await eventually("the worker is admitted", within: 20) {
                    try? await ScriptedWorker.attach(
                        node.buyerPort, provider: provider, token: token, client: "w-\(provider)",
                        models: [model], window: window, capabilities: capabilities)
                }
                serving.append(Serving(worker))
                try await node.offers("\(provider)/\(model)", to: bob)
            }
            let shop = TwoSellers(node: node, bob: bob, first: serving[0], second: serving[1])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await shop.first.run() }
                group.addTask { await shop.second.run() }
                group.addTask { try await body(shop) }
                // The workers serve for as long as the test takes.
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }
}
