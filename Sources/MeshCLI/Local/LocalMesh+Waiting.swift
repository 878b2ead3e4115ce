internal import Foundation
internal import MeshTopology

extension LocalMesh {
    /// Until the admin socket of `node` answers; a process that ended says why.
    func waitForAdmin(_ node: String, _ state: LocalState, _ deadline: ContinuousClock.Instant) async throws {
        while true {
            if (try? await admin(node).send("GET", "status", seconds: 2)) != nil { return }
            try checkAlive(state)
            guard ContinuousClock.now < deadline else {
                throw CommandFailure("node \(node) did not answer within \(Self.startSeconds) s; see \(logPath("node-\(node)"))")
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// Until every node with a buyer lists every public model to it.
    func waitForModels(_ state: LocalState, _ deadline: ContinuousClock.Instant) async throws {
        var waiting = state.buyers
        var lastReport = ContinuousClock.now
        while true {
            var left: [LocalState.Buyer] = []
            for buyer in waiting where await !seesModels(buyer, state) { left.append(buyer) }
            waiting = left
            if waiting.isEmpty { return progress("every node sees every public provider") }
            try checkAlive(state)
            let names = waiting.map(\.node).joined(separator: ", ")
            guard ContinuousClock.now < deadline else {
                throw CommandFailure(
                    "after \(Self.startSeconds) s these nodes do not list the providers: \(names); see \(directory)/logs")
            }
            if lastReport.duration(to: .now) > .seconds(3) {
                progress("waiting until these nodes see the providers: \(names)")
                lastReport = .now
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func seesModels(_ buyer: LocalState.Buyer, _ state: LocalState) async -> Bool {
        guard let node = state.node(buyer.node),
            let ids = try? await LocalProbe(baseURL: node.baseURL, key: buyer.key).models(seconds: 3)
        else { return false }
        return expectedModels.allSatisfy { expected in
            ids.contains { LocalProbe.names($0, provider: expected.provider, model: expected.model) }
        }
    }

    private func checkAlive(_ state: LocalState) throws {
        for node in state.nodes where node.process != nil && !LocalProcess.isRunning(node.process) {
            throw CommandFailure("node \(node.name) ended:\n\(LocalProcess.tail(logPath("node-\(node.name)")))")
        }
        for worker in state.workers where worker.process != nil && !LocalProcess.isRunning(worker.process) {
            throw CommandFailure("worker \(worker.name) ended:\n\(LocalProcess.tail(logPath("worker-\(worker.name)")))")
        }
    }
}
