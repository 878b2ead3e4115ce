internal import ArgumentParser

/// Whose rotation or policy is meant.
struct MarketScope: ParsableArguments {
    @Option(help: "Whose it is: a username, or 'global' for everybody at this node.") var owner = "global"

    /// - Parameter kind: `rotations` or `policies`.
    func path(_ kind: String, _ name: String) -> String {
        "\(kind)/\(AdminClient.segment(owner))/\(AdminClient.segment(name))"
    }

    /// Tells the mesh of it, or no longer.
    func publish(_ isPublished: Bool, _ kind: String, _ name: String, _ client: AdminClient) async throws -> JSONValue {
        var document = RotationDocument(try await client.get(path(kind, name))).written
        document["publish"] = .bool(isPublished)
        return try await client.send("PUT", path(kind, name), body: .object(document))
    }
}
