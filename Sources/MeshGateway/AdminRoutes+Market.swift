import MeshAccounting
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOHTTP1

/// `rotations`, `policies` and `apply`.
extension AdminRoutes {
    func rotations(_ request: Request, _ path: [String]) async throws -> Response {
        var drafts = Administration.Drafts()
        switch (path.count, request.method) {
        case (0, .GET):
            return .json(["rotations": .array(try await administration.rotations().map(document))])
        case (0, .POST), (2, .PUT):
            drafts.rotations = [try Self.rotation(try request.document(), at: path)]
            try await administration.save(drafts, replaces: !path.isEmpty)
            let id = PoolID(scope: drafts.rotations[0].scope, name: drafts.rotations[0].rotation.name)
            let made = try await administration.rotation(id)
            return .json(document(made), status: path.isEmpty ? 201 : 200)
        case (2, .GET): return .json(document(try await administration.rotation(Self.pool(path))))
        case (2, .DELETE):
            try await administration.removeRotation(Self.pool(path))
            return .noContent
        default: throw Self.wrongMarketRoute(path)
        }
    }

    func policies(_ request: Request, _ path: [String]) async throws -> Response {
        var drafts = Administration.Drafts()
        switch (path.count, request.method) {
        case (0, .GET): return .json(["policies": .array(try await administration.policies().map(document))])
        case (0, .POST), (2, .PUT):
            let draft = try Self.policy(try request.document(), at: path)
            drafts.policies = [draft]
            try await administration.save(drafts, replaces: !path.isEmpty)
            let made = try await administration.policy(draft.scope, draft.policy.name)
            return .json(document(made), status: path.isEmpty ? 201 : 200)
        case (2, .GET):
            return .json(document(try await administration.policy(OwnerScope(username: path[0]), path[1])))
        case (2, .DELETE):
            try await administration.removePolicy(OwnerScope(username: path[0]), path[1])
            return .noContent
        default: throw Self.wrongMarketRoute(path)
        }
    }

    /// A whole file: everything in it, or nothing.
    func apply(_ request: Request) async throws -> Response {
        guard request.method == .POST else { throw Self.wrongMethod("POST") }
        let body = try request.document()
        let known = ["rotations", "policies"]
        for field in body.members ?? [] where !known.contains(field.name) {
            throw MeshError(
                .invalidRequest,
                "a file for 'apply' has 'rotations' and 'policies'\(NearName.hint(for: field.name, among: known))",
                parameter: field.name.cut(toUTF8Bytes: 64))
        }
        var drafts = Administration.Drafts()
        drafts.rotations = try (body["rotations"]?.elements ?? []).map { try Self.rotation($0) }
        drafts.policies = try (body["policies"]?.elements ?? []).map { try Self.policy($0) }
        guard !drafts.rotations.isEmpty || !drafts.policies.isEmpty else {
            throw MeshError(
                .invalidRequest, "there is nothing to apply: the file has neither rotations nor policies",
                parameter: "rotations")
        }
        try await administration.save(drafts, replaces: true)
        return .json([
            "rotations": .array(drafts.rotations.map { Self.named($0.scope, $0.rotation.name) }),
            "policies": .array(drafts.policies.map { Self.named($0.scope, $0.policy.name) }),
        ])
    }

    /// Where a request of a user's, or of the operator's own, would go.
    func explain(_ request: Request, _ context: GatewayContext) async throws -> Response {
        let username = request.query.last { $0.name == "owner" }?.value ?? OwnerScope.global.username
        var owner = context.identity.operatorKey
        if username != OwnerScope.global.username {
            guard let user = try await administration.users().first(where: { $0.username == username }) else {
                throw MeshError(.notFound, "there is no user '\(username.cut(toUTF8Bytes: 64))' at this node")
            }
            owner = user.ownerKey
        }
        return try context.explain(
            request, for: context.principal(owner, username), [QuotaSubject(.user, username)])
    }

    private static func named(_ scope: OwnerScope, _ name: String) -> JSONValue {
        ["owner": .string(scope.username), "name": .string(name)]
    }

    private static func wrongMarketRoute(_ path: [String]) -> MeshError {
        switch path.count {
        case 0: wrongMethod("GET, HEAD, POST")
        case 2: wrongMethod("GET, HEAD, PUT, DELETE")
        default: MeshError(.notFound, "there is no administration route for this")
        }
    }

    private static func pool(_ path: [String]) -> PoolID {
        PoolID(scope: OwnerScope(username: path[0]), name: path[1])
    }

    private static func rotation(
        _ body: JSONValue, at path: [String] = []
    ) throws(MeshError) -> (scope: OwnerScope, rotation: Rotation, publish: Bool?) {
        let (scope, publish, document) = try owned(body, path)
        let (rotation, problems) = Rotation.read(document)
        if let first = problems.first {
            throw problem("rotation", rotation.name, problems.map(\.description), first.path)
        }
        return (scope, rotation, publish)
    }

    private static func policy(
        _ body: JSONValue, at path: [String] = []
    ) throws(MeshError) -> (scope: OwnerScope, policy: Policy, publish: Bool?) {
        let (scope, publish, document) = try owned(body, path)
        let (policy, problems) = Policy.read(document)
        if let first = problems.first { throw problem("policy", policy.name, problems.map(\.description), first.path) }
        return (scope, policy, publish)
    }

    private static func problem(
        _ kind: String, _ name: String, _ problems: [String], _ path: String
    ) -> MeshError {
        let words = problems.prefix(8).joined(separator: "; ")
        return MeshError(
            .invalidRequest, "\(kind) '\(name.cut(toUTF8Bytes: 64))': \(words)",
            parameter: path.cut(toUTF8Bytes: 64))
    }

    /// Whose it is, whether the mesh is to be told, and the rest of the document. What the path names, the body need not.
    private static func owned(
        _ body: JSONValue, _ path: [String]
    ) throws(MeshError) -> (OwnerScope, Bool?, JSONValue) {
        guard var members = body.members else { return (.global, nil, body) }
        let owner = path.first ?? body["owner"]?.text ?? "global"
        let publish = body["publish"]
        guard publish == nil || publish == .null || publish?.flag != nil else {
            throw MeshError(.invalidRequest, "publish is true or false", parameter: "publish")
        }
        members.removeAll { ["owner", "changed_at", "publish", "published_as"].contains($0.name) }
        if path.count > 1 {
            members.removeAll { $0.name == "name" }
            members.append(.init("name", .string(path[1])))
        }
        return (OwnerScope(username: owner), publish?.flag, .object(members))
    }

    // MARK: As they are answered

    private func document(_ account: Administration.RotationAccount) -> JSONValue {
        account.rotation.document.owned(
            by: account.id.scope, account.changedAt,
            publishedAs: account.isPublished ? fullName(.rotation, account.id.scope, account.id.name) : nil)
    }

    private func document(_ account: Administration.PolicyAccount) -> JSONValue {
        account.policy.document.owned(
            by: account.scope, account.changedAt,
            publishedAs: account.isPublished ? fullName(.policy, account.scope, account.policy.name) : nil)
    }

    /// What buyers at other nodes ask for.
    private func fullName(_ kind: Publication.Kind, _ scope: OwnerScope, _ name: String) -> String {
        "\(scope.username)@\(views.facts.name)/\(kind.word)/\(name)"
    }
}

extension JSONValue {
    fileprivate func owned(by scope: OwnerScope, _ changedAt: Timestamp, publishedAs name: String?) -> JSONValue {
        let told: [Member] = name.map { [.init("publish", true), .init("published_as", .string($0))] } ?? []
        return .object(
            [.init("owner", .string(scope.username))] + (members ?? []) + told
                + [.init("changed_at", .integer(changedAt.seconds))])
    }
}
