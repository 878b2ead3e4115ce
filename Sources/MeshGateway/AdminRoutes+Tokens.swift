import MeshCrypto
import MeshModel
import MeshRuntime
import MeshWire
import NIOHTTP1

/// `providers/{owner}/{id}/tokens`: a provider's registration tokens.
extension AdminRoutes {
    func tokens(
        _ request: Request, _ scope: OwnerScope, _ id: String, token: String?
    ) async throws -> Response {
        switch (token, request.method) {
        case (nil, .GET):
            let provider = try await administration.provider(scope, id)
            return .json(["tokens": .array(provider.attachKeys.map(\.document))])
        case (nil, .POST):
            let added = try await administration.addToken(scope, id, try Self.tokenRequest(try request.document()))
            var members: [JSONValue.Member]
            if let token = added.token {
                members = secretDocument(added.provider, token.text).members ?? []
            } else {
                members = [.init("provider", views.provider(added.provider).document)]
            }
            members.insert(.init("token", added.entry.document), at: 0)
            return .json(.object(members), status: 201)
        case (let token?, .DELETE):
            try await administration.removeToken(scope, id, token)
            return .noContent
        default: throw Self.wrongMethod(token == nil ? "GET, HEAD, POST" : "DELETE")
        }
    }

    private static func tokenRequest(_ body: JSONValue) throws(MeshError) -> TokenRequest {
        var nodes: [PublicKey] = []
        for node in body["allowed_nodes"]?.elements ?? [] {
            guard let text = node.text, case .success(let bytes) = KeyText.node.parse(text),
                let key = PublicKey(bytes)
            else {
                throw MeshError(
                    .invalidRequest,
                    "'allowed_nodes' takes node ids such as aisbf_node_…; 'aisbf mesh peers' lists them",
                    parameter: "allowed_nodes")
            }
            if !nodes.contains(key) { nodes.append(key) }
        }
        // A wrong type must not become a token without the bound that was meant.
        for (name, isRight) in [
            ("allowed_nodes", body["allowed_nodes"].map { $0.elements != nil || $0 == .null } ?? true),
            ("expires_in_seconds", body["expires_in_seconds"].map { $0.integer != nil || $0 == .null } ?? true),
            ("import", body["import"].map { $0.text != nil || $0 == .null } ?? true),
        ] where !isRight {
            throw MeshError(.invalidRequest, "the field '\(name)' has the wrong type", parameter: name)
        }
        return TokenRequest(
            label: body["label"]?.text ?? "", lifeSeconds: body["expires_in_seconds"]?.integer, allowedNodes: nodes,
            imported: body["import"]?.text)
    }
}
