internal import ArgumentParser

/// Whose rotation or policy is meant.
struct MarketScope: ParsableArguments {
    @Option(help: "Whose it is: a username, or 'global' for everybody at this node.") var owner = "global"

    /// - Parameter kind: `rotations` or `policies`.
    func path(_ kind: String, _ name: String) -> String {
        "\(kind)/\(AdminClient.segment(owner))/\(AdminClient.segment(name))"
    }
}
