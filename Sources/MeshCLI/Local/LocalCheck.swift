/// Asks every node of a running local mesh with each buyer's key.
struct LocalCheck {
    let mesh: LocalMesh
    let state: LocalState

    struct Result: Sendable {
        var node: String
        var check: String
        var passed: Bool
        var milliseconds: Int64
        var detail: String

        var row: [String] { [node, check, passed ? "ok" : "FAILED", "\(milliseconds)", detail] }
        var json: JSONValue {
            .object([
                "node": .string(node), "check": .string(check), "passed": .bool(passed),
                "milliseconds": .integer(milliseconds), "detail": .string(detail),
            ])
        }
    }

    func run() async -> [Result] {
        var results: [Result] = []
        for buyer in state.buyers {
            guard let node = state.node(buyer.node) else { continue }
            let probe = LocalProbe(baseURL: node.baseURL, key: buyer.key)
            results.append(await measure(node.name, "models") { try await models(probe) })
            for expected in mesh.expectedModels {
                let model = "\(expected.provider)/\(expected.model)"
                results.append(
                    await measure(node.name, "chat \(model)") {
                        let text = try await probe.chat(model: model, prompt: "ping")
                        guard !text.isEmpty else { throw CommandFailure("the answer is empty") }
                        return "\(text.count) characters"
                    })
                results.append(
                    await measure(node.name, "stream \(model)") {
                        let answer = try await probe.stream(model: model, prompt: "ping") { _ in }
                        guard !answer.text.isEmpty else { throw CommandFailure("the answer is empty") }
                        return "\(answer.text.count) characters in \(answer.pieces) pieces"
                    })
            }
        }
        return results
    }

    private func models(_ probe: LocalProbe) async throws -> String {
        let ids = try await probe.models()
        for expected in mesh.expectedModels
        where !ids.contains(where: { LocalProbe.names($0, provider: expected.provider, model: expected.model) }) {
            throw CommandFailure("\(expected.provider)/\(expected.model) is not listed")
        }
        return "\(ids.count) listed"
    }

    private func measure(_ node: String, _ check: String, _ body: () async throws -> String) async -> Result {
        let start = ContinuousClock.now
        var result = Result(node: node, check: check, passed: true, milliseconds: 0, detail: "")
        do {
            result.detail = try await body()
        } catch {
            result.passed = false
            result.detail = (error as? CommandFailure)?.message ?? "no connection"
        }
        result.milliseconds = Int64(start.duration(to: .now) / .milliseconds(1))
        return result
    }
}
