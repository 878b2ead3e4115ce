package import MeshModel
internal import MeshWire

/// Who may link to this node. A node is let in when any rule admits it.
package struct LinkAdmission: Hashable, Sendable {
    /// Everybody who proves a key of this network.
    package var isOpen: Bool
    package var nodes: [PublicKey]
    /// Nodes whose descriptor carries a valid certificate of one of these operators.
    package var operators: [PublicKey]

    package init(isOpen: Bool = false, nodes: [PublicKey] = [], operators: [PublicKey] = []) {
        self.isOpen = isOpen
        self.nodes = nodes
        self.operators = operators
    }

    package func admits(node: PublicKey, operatorKey: PublicKey?) -> Bool {
        if isOpen || nodes.contains(node) { return true }
        guard let operatorKey else { return false }
        return operators.contains(operatorKey)
    }
}

/// A node that asked for a link and is not admitted.
package struct LinkKnock: Hashable, Sendable {
    package var node: PublicKey
    /// Whose certificate it carries, verified.
    package var operatorKey: PublicKey?

    package init(node: PublicKey, operatorKey: PublicKey?) {
        self.node = node
        self.operatorKey = operatorKey
    }
}
