import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOHTTP1

/// `rotations` and `apply`.
extension AdminRoutes {
    func rotations(_ request: Request, _ path: [String]) async throws -> Response {
        switch (path.count, request.method) {
        case (0, .GET):
            return .json(["rotations": .array(try await administration.rotations().map(\.document))])
        case (0, .POST):
            let body = try request.document()
            let made = try await administration.save([try Self.draft(body)], replaces: false)
            return .json(made.first?.document ?? .null, status: 201)
        case (2, .GET): return .json(try await administration.rotation(Self.pool(path)).document)
        case (2, .PUT):
            var (scope, rotation) = try Self.draft(try request.document(), name: path[1])
            scope = OwnerScope(username: path[0])
            let made = try await administration.save([(scope, rotation)], replaces: true)
            return .json(made.first?.document ?? .null)
        case (2, .DELETE):
            try await administration.removeRotation(Self.pool(path))
            return .noContent
        case (0, _): throw Self.wrongMethod("GET, HEAD, POST")
        case (2, _): throw Self.wrongMethod("GET, HEAD, PUT, DELETE")
        default: throw MeshError(.notFound, "there is no administration route for this")
        }
    }

    /// A whole file: everything in it, or nothing.
    func apply(_ request: Request) async throws -> Response {
        guard request.method == .POST else { throw Self.wrongMethod("POST") }
        let body = try request.document()
        for field in body.members ?? [] where field.name != "rotations" {
            throw MeshError(
                .invalidRequest, "a file for 'apply' has 'rotations'", parameter: String(field.name.prefix(64)))
        }
        let drafts = try (body["rotations"]?.elements ?? []).map { try Self.draft($0) }
        guard !drafts.isEmpty else {
            throw MeshError(.invalidRequest, "there is nothing to apply: 'rotations' is empty", parameter: "rotations")
        }
        let made = try await administration.save(drafts, replaces: true)
        return .json(["rotations": .array(made.map(\.document))])
    }

    private static func pool(_ path: [String]) -> PoolID {
        PoolID(scope: OwnerScope(username: path[0]), name: path[1])
    }

    private static func draft(
        _ body: JSONValue, name: String? = nil
    ) throws(MeshError) -> (scope: OwnerScope, rotation: Rotation) {
        var members = body.members ?? []
        let scope = OwnerScope(username: body["owner"]?.text ?? "global")
        members.removeAll { $0.name == "owner" }
        if let name {
            members.removeAll { $0.name == "name" }
            members.append(.init("name", .string(name)))
        }
        let (rotation, problems) = Rotation.read(body.members == nil ? body : .object(members))
        if let first = problems.first {
            let words = problems.prefix(8).map(\.description).joined(separator: "; ")
            throw MeshError(.invalidRequest, "rotation '\(rotation.name.prefix(64))': \(words)", parameter: first.path)
        }
        return (scope, rotation)
    }
}

extension Administration.RotationAccount {
    var document: JSONValue {
        .object(
            [.init("owner", .string(id.scope.username))] + (rotation.document.members ?? [])
                + [.init("changed_at", .integer(changedAt.seconds))])
    }
}
