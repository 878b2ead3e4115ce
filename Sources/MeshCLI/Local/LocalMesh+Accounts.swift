internal import Foundation
internal import MeshTopology

extension LocalMesh {
    /// Users, keys, providers and worker files; each only when it is not there yet, the state saved after each.
    func createAccounts(_ state: inout LocalState) async throws {
        for user in topology.users {
            _ = try await admin(user.home).create("users", .object(["username": .string(user.name)]))
        }
        for buyer in topology.buyers
        where !state.buyers.contains(where: { $0.name == buyer.name && $0.node == buyer.node }) {
            try await createBuyer(buyer, &state)
        }
        for provider in topology.providers where provider.backend != nil {
            guard !state.providers.contains(provider.fullName) else { continue }
            try await createUpstream(provider, &state)
        }
        for provider in topology.providers where provider.backend == nil {
            let workers = topology.workers.filter { topology.provider($0.provider) == provider }
            let complete = workers.allSatisfy { worker in
                state.workers.contains {
                    $0.name == worker.name && FileManager.default.fileExists(atPath: $0.configPath)
                }
            }
            guard !complete || !state.providers.contains(provider.fullName) else { continue }
            try await createProvider(provider, workers, &state)
        }
    }

    private func createBuyer(_ buyer: Topology.Buyer, _ state: inout LocalState) async throws {
        _ = try await admin(buyer.node).create("users", .object(["username": .string(buyer.name)]))
        let answer = try await admin(buyer.node).send(
            "POST", "keys",
            body: .object([
                "username": .string(buyer.name), "label": .string("local"), "scopes": .array([.string("inference")]),
            ]))
        guard let key = SecretDocument(answer).key else {
            throw CommandFailure("node \(buyer.node) did not answer with a key for \(buyer.name)")
        }
        state.buyers.append(.init(name: buyer.name, node: buyer.node, key: key))
        try state.save(to: directory)
    }

    private func createProvider(
        _ provider: Topology.Provider, _ workers: [Topology.Worker], _ state: inout LocalState
    ) async throws {
        let body = try await terms(of: provider)
        var answer = try await admin(provider.home).create("providers", .object(body))
        if answer == nil {
            // It is there, but its token is shown once only: a new one for the worker files that are missing.
            let path =
                "providers/\(AdminClient.segment(provider.owner))/\(AdminClient.segment(provider.id))/rotate-token"
            answer = try await admin(provider.home).send("POST", path, body: .object(["overlap_seconds": .integer(0)]))
        }
        guard case .object(let template)? = answer.flatMap({ SecretDocument($0).workerFile }) else {
            throw CommandFailure("node \(provider.home) did not answer with a worker file for \(provider.key)")
        }
        for worker in workers { try writeWorker(worker, template, &state) }
        if !state.providers.contains(provider.fullName) { state.providers.append(provider.fullName) }
        try state.save(to: directory)
    }

    private func terms(of provider: Topology.Provider) async throws -> [String: JSONValue] {
        var body: [String: JSONValue] = [
            "owner": .string(provider.owner), "provider_id": .string(provider.id),
            "access": .string(provider.access.rawValue),
        ]
        body["max_concurrency"] = provider.maxConcurrency.map { .integer(Int64($0)) }
        if provider.access == .named { body["named"] = .array(try await ownerIDs(provider.named)) }
        return body
    }

    /// A provider that its home node serves itself.
    private func createUpstream(_ provider: Topology.Provider, _ state: inout LocalState) async throws {
        var body = try await terms(of: provider)
        body["kind"] = .string("openai")
        switch provider.backend {
        case .openAI(let url)?: body["base_url"] = .string(url)
        case .demo?, nil:
            guard let server = state.server(provider.fullName) else { return }
            body["base_url"] = .string("http://127.0.0.1:\(server.port)/v1")
        }
        _ = try await admin(provider.home).create("providers", .object(body))
        state.providers.append(provider.fullName)
        try state.save(to: directory)
    }

    /// The node's own worker file, pointed at the node the worker attaches to, with a client id of its own.
    private func writeWorker(
        _ worker: Topology.Worker, _ template: [String: JSONValue], _ state: inout LocalState
    ) throws {
        guard case .object(var broker)? = template["broker"], let node = state.node(worker.attach) else {
            throw CommandFailure("the worker file of \(worker.provider) has no 'broker' section")
        }
        broker["base_url"] = .string(node.baseURL)
        broker["client_id"] = .string(worker.name)
        var file = template
        file["broker"] = .object(broker)
        file["backend"] = backend(worker)
        let path = configPath("worker-\(worker.name)")
        try PrivateFile.write(JSONValue.object(file).pretty + "\n", to: path)
        state.workers.removeAll { $0.name == worker.name && !LocalProcess.isRunning($0.process) }
        if !state.workers.contains(where: { $0.name == worker.name }) {
            state.workers.append(.init(name: worker.name, configPath: path))
        }
    }

    private func ownerIDs(_ accounts: [Topology.AccountName]) async throws -> [JSONValue] {
        var owners: [JSONValue] = []
        for account in accounts {
            let users = try await admin(account.node).get("users").users
            guard let owner = users.first(where: { $0["username"]?.text == account.user })?["owner_id"] else {
                throw CommandFailure("node \(account.node) knows no user \(account.user)")
            }
            owners.append(owner)
        }
        return owners
    }
}
