package import MeshModel

/// For whom a request is made.
package struct Principal: Hashable, Sendable {
    package var owner: PublicKey
    /// Username at the entry node; nil at every other node, which knows the owner key only.
    package var username: String?
    /// The node the buyer called.
    package var node: PublicKey
    package var nodeOperator: PublicKey?

    package init(owner: PublicKey, username: String?, node: PublicKey, nodeOperator: PublicKey?) {
        self.owner = owner
        self.username = username
        self.node = node
        self.nodeOperator = nodeOperator
    }

    /// Under which a provider may name the caller.
    var keys: [PublicKey] { [owner, node] + (nodeOperator.map { [$0] } ?? []) }
}
