import MeshModel
package import MeshRuntime
import MeshWire
import NIOHTTP1

/// `mesh/…`: what the node knows of its mesh, and whom it admits and dials.
extension AdminRoutes {
    func meshRoute(_ request: Request, _ path: [String]) async throws -> Response {
        switch (path.first, path.count) {
        case ("allow", 1...2): return try await rules(request, .allow, Array(path.dropFirst()))
        case ("static-peers", 1...2): return try await rules(request, .peer, Array(path.dropFirst()))
        case (_, _) where request.method != .GET: throw Self.wrongMethod("GET, HEAD")
        case ("peers", 1): return .json(["peers": .array(await mesh.peers()), "knocks": .array(mesh.knocks())])
        case ("providers", 1): return .json(["providers": .array(mesh.providers())])
        case ("names", 1):
            let onlyConflicts = request.query.contains { $0.name == "conflicts" && $0.value == "true" }
            return .json(["names": .array(await mesh.names(onlyConflicts: onlyConflicts))])
        case ("records", 1):
            let type = request.query.first { $0.name == "type" }?.value
            return .json(["records": .array(await mesh.records(type: type))])
        case ("records", 2):
            guard let key = bytesOfHex(path[1]).flatMap({ RecordKey($0) }), let record = await mesh.record(key) else {
                throw MeshError(.notFound, "there is no record with this key; 'aisbf mesh records' lists them")
            }
            return .json(record)
        default: throw MeshError(.notFound, "there is no administration route for this")
        }
    }

    private func rules(_ request: Request, _ kind: MeshRule.Kind, _ path: [String]) async throws -> Response {
        let name = kind == .allow ? "allow" : "peers"
        switch (request.method, path.count) {
        case (.GET, 0): return .json(.object([JSONValue.Member(name, .array(mesh.lines(kind)))]))
        case (.POST, 0):
            guard let value = try request.document()["value"]?.text else {
                throw MeshError(.invalidRequest, "the body needs a string field 'value'", parameter: "value")
            }
            try await mesh.rules.add(value, kind)
            return .json(["value": .string(value)], status: 201)
        case (.DELETE, 1):
            try await mesh.rules.remove(path[0], kind)
            return .noContent
        default: throw Self.wrongMethod(path.isEmpty ? "GET, HEAD, POST" : "DELETE")
        }
    }
}

extension MeshView {
    func lines(_ kind: MeshRule.Kind) -> [JSONValue] {
        func line(_ value: String, _ isConfigured: Bool) -> [JSONValue.Member] {
            [.init("value", .string(value)), .init("from", isConfigured ? "configuration" : "command")]
        }
        switch kind {
        case .allow: return rules.allowed.map { .object(line($0.value.description, $0.isConfigured)) }
        case .peer:
            return rules.peers.map {
                .object(
                    line($0.value.description, $0.isConfigured) + [.init("state", .string(state(of: $0.value)))])
            }
        }
    }

    /// Nodes that asked for a link and are not admitted, with what would admit them.
    func knocks() -> [JSONValue] {
        journal.knocks.map { knock in
            let entry: MeshAdmission = knock.operatorKey.map { .operatorKey($0) } ?? .node(knock.node)
            return [
                "node_id": .string(KeyText.node.text(knock.node.bytes)),
                "operator_id": .optional(knock.operatorKey.map { KeyText.operatorKey.text($0.bytes) }),
                "address": .string(knock.remote), "first_at": .integer(knock.first.seconds),
                "last_at": .integer(knock.last.seconds), "count": .integer(knock.count),
                "admit": .string("aisbf mesh allow add \(entry)"),
            ]
        }
    }

    /// What became of the last dial of a configured peer, in words.
    func state(of peer: MeshPeer) -> String {
        if links.link(to: peer.node) != nil { return "linked" }
        guard let attempt = journal.attempt(peer.address) else { return "not dialled yet" }
        return links.words(attempt)
    }
}
