internal import Foundation
internal import MeshTopology

/// What `local up` tells: addresses, keys, a line to paste for each buyer.
enum LocalReport {
    static func print(_ mesh: LocalMesh, _ state: LocalState, json: Bool) {
        let model = modelName(mesh)
        if json { return Console.print(object(mesh, state).pretty) }
        Console.print("\n\(mesh.topology.name) is up. State and logs: \(mesh.directory)\n")
        for buyer in state.buyers {
            guard let node = state.node(buyer.node) else { continue }
            Console.print("node \(node.name)  base URL \(node.baseURL)/v1")
            Console.print("        key      \(buyer.key)")
            if let model {
                Console.print(
                    "        curl -N \(node.baseURL)/v1/chat/completions -H 'authorization: Bearer \(buyer.key)' "
                        + "-H 'content-type: application/json' -d '{\"model\":\"\(model)\",\"stream\":true,"
                        + "\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'")
            }
            Console.print("")
        }
    }

    static func modelName(_ mesh: LocalMesh) -> String? {
        mesh.expectedModels.first.map { "\($0.provider)/\($0.model)" }
    }

    static func showStream(_ mesh: LocalMesh, _ state: LocalState, node name: String) async throws {
        guard let model = modelName(mesh), let node = state.node(name),
            let buyer = state.buyers.first(where: { $0.node == name })
        else { throw CommandFailure("no buyer at a node '\(name)', or no public demo provider", exitCode: 64) }
        Console.print("asking \(model) through node \(name), which answers as it streams:\n")
        let probe = LocalProbe(baseURL: node.baseURL, key: buyer.key)
        // After a mesh that was killed, what a node knew of the worker is replaced at about this moment.
        let deadline = ContinuousClock.now.advanced(by: .seconds(10))
        while true {
            do {
                _ = try await probe.stream(model: model, prompt: "Say hello from the other side of the mesh.") {
                    Console.printRaw(Table.printable($0))
                }
                return Console.print("\n")
            } catch let failure as CommandFailure
                where failure.exitCode == LocalProbe.unavailable && ContinuousClock.now < deadline
            { try await Task.sleep(for: .milliseconds(200)) }
        }
    }

    private static func object(_ mesh: LocalMesh, _ state: LocalState) -> JSONValue {
        let nodes = state.nodes.map { node in
            JSONValue.object([
                "name": .string(node.name), "node_id": .string(node.nodeID), "base_url": .string("\(node.baseURL)/v1"),
                "link": .string("127.0.0.1:\(node.linkPort)"), "data_dir": .string(mesh.dataDirectory(node.name)),
                "pid": node.process.map { .integer(Int64($0.pid)) } ?? .null,
                "keys": .array(state.buyers.filter { $0.node == node.name }.map { .string($0.key) }),
            ])
        }
        let workers = state.workers.map { worker in
            JSONValue.object([
                "name": .string(worker.name), "config": .string(worker.configPath),
                "pid": worker.process.map { .integer(Int64($0.pid)) } ?? .null,
            ])
        }
        return .object([
            "name": .string(mesh.topology.name), "state_dir": .string(mesh.directory),
            "model": modelName(mesh).map(JSONValue.string) ?? .null, "nodes": .array(nodes), "workers": .array(workers),
        ])
    }
}
