package import MeshModel
import MeshTransport

/// One line of the allow-list: a node, or all nodes that an operator certifies.
package enum MeshAdmission: Hashable, Sendable, CustomStringConvertible {
    case node(PublicKey)
    case operatorKey(PublicKey)

    /// `aisbf_node_…` or `aisbf_op_…`.
    package static func parse(_ text: String) -> Result<MeshAdmission, MeshListProblem> {
        let kind: KeyText = text.hasPrefix(KeyText.operatorKey.rawValue) ? .operatorKey : .node
        switch kind.parse(text) {
        case .success(let bytes):
            guard let key = PublicKey(bytes) else { return .failure(MeshListProblem("is no valid key")) }
            return .success(kind == .node ? .node(key) : .operatorKey(key))
        case .failure(.unknownPrefix):
            return .failure(MeshListProblem("must be a node id (aisbf_node_…) or an operator id (aisbf_op_…)"))
        case .failure(let error): return .failure(MeshListProblem(error.message(expected: kind)))
        }
    }

    package var description: String {
        switch self {
        case .node(let key): KeyText.node.text(key.bytes)
        case .operatorKey(let key): KeyText.operatorKey.text(key.bytes)
        }
    }
}

/// A peer that is dialled for ever and admitted.
package struct MeshPeer: Hashable, Sendable, CustomStringConvertible {
    package var node: PublicKey
    package var address: String

    package init(node: PublicKey, address: String) {
        self.node = node
        self.address = address
    }

    /// `aisbf_node_…@host:port`.
    package static func parse(_ text: String) -> Result<MeshPeer, MeshListProblem> {
        guard let at = text.firstIndex(of: "@") else {
            return .failure(MeshListProblem("must look like aisbf_node_…@host:port"))
        }
        let address = String(text[text.index(after: at)...])
        guard let (host, _) = LinkEndpoint.parse(address),
            host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2F && $0 != 0x40 })
        else { return .failure(MeshListProblem("must look like aisbf_node_…@host:port")) }
        switch KeyText.node.parse(String(text[..<at])) {
        case .success(let bytes):
            guard let key = PublicKey(bytes) else { return .failure(MeshListProblem("is no valid key")) }
            return .success(MeshPeer(node: key, address: address))
        case .failure(let error): return .failure(MeshListProblem(error.message(expected: .node)))
        }
    }

    package var description: String { "\(KeyText.node.text(node.bytes))@\(address)" }
}

/// What is wrong with a line, in words that follow its name.
package struct MeshListProblem: Error, Hashable, Sendable {
    package let message: String

    init(_ message: String) { self.message = message }
}

/// Whom a node admits and whom it dials.
package struct MeshLists: Hashable, Sendable {
    package var allow: [MeshAdmission]
    package var peers: [MeshPeer]

    package init(allow: [MeshAdmission] = [], peers: [MeshPeer] = []) {
        self.allow = allow
        self.peers = peers
    }
}
