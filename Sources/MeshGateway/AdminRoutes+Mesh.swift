import MeshModel
import MeshRuntime
import MeshWire
import NIOHTTP1

/// `mesh/…`: what the node knows of its mesh, and whom it admits and dials.
extension AdminRoutes {
    func meshRoute(_ request: Request, _ path: [String]) async throws -> Response {
        switch (path.first, path.count) {
        case ("allow", 1...2): return try await changeRules(request, .allow, Array(path.dropFirst()))
        case ("static-peers", 1...2): return try await changeRules(request, .peer, Array(path.dropFirst()))
        case (_, _) where request.method != .GET: throw Self.wrongMethod("GET, HEAD")
        case ("peers", 1):
            return .json([
                "peers": .array(views.peers.map(\.document)), "knocks": .array(views.knocks.map(\.document)),
            ])
        case ("providers", 1): return .json(["providers": .array(views.providers.map(\.document))])
        case ("names", 1):
            let onlyConflicts = request.query.contains { $0.name == "conflicts" && $0.value == "true" }
            return .json(["names": .array(await views.names(onlyConflicts: onlyConflicts).map(\.document))])
        case ("records", 1):
            return .json(["records": .array(await records(request).map(\.document))])
        case ("records", 2):
            guard let key = bytesOfHex(path[1]).flatMap({ RecordKey($0) }), let record = await views.record(key) else {
                throw MeshError(.notFound, "there is no record with this key; 'aisbf mesh records' lists them")
            }
            return .json(record.document)
        default: throw MeshError(.notFound, "there is no administration route for this")
        }
    }

    /// Records of a type that this version does not know are none.
    private func records(_ request: Request) async -> [RecordView] {
        guard let name = request.query.first(where: { $0.name == "type" })?.value else { return await views.records() }
        guard let type = RecordType.allCases.first(where: { $0.name == name }) else { return [] }
        return await views.records(type)
    }

    private func changeRules(_ request: Request, _ kind: MeshRule.Kind, _ path: [String]) async throws -> Response {
        let name = kind == .allow ? "allow" : "peers"
        switch (request.method, path.count) {
        case (.GET, 0): return .json(.object([JSONValue.Member(name, .array(views.rules(kind).map(\.document)))]))
        case (.POST, 0):
            guard let value = try request.document()["value"]?.text else {
                throw MeshError(.invalidRequest, "the body needs a string field 'value'", parameter: "value")
            }
            try await rules.add(value, kind)
            return .json(["value": .string(value)], status: 201)
        case (.DELETE, 1):
            try await rules.remove(path[0], kind)
            return .noContent
        default: throw Self.wrongMethod(path.isEmpty ? "GET, HEAD, POST" : "DELETE")
        }
    }
}
