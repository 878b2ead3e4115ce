import Glibc
package import MeshCrypto

/// Who this node is, and whose.
package struct NodeIdentity: Sendable {
    package let node: SigningKey
    package let operatorKey: SigningKey

    package init(node: SigningKey, operatorKey: SigningKey) {
        self.node = node
        self.operatorKey = operatorKey
    }

    /// The identity in `directory`, nil when it has none yet.
    /// - Throws: `StoreError.missingKey` when one of the keys is lost while the rest of the node is there: a new key
    ///   would be another node, and its users' records would name a home that is gone.
    package static func load(from directory: DataDirectory) throws(StoreError) -> NodeIdentity? {
        let layout = directory.layout
        let node = try KeyFile.node.load(layout.nodeKey)
        let operatorKey = try KeyFile.operatorKey.load(layout.operatorKey)
        if let node, let operatorKey { return NodeIdentity(node: node, operatorKey: operatorKey) }
        let advice = "restore it from a backup; to start over as a new node, use an empty data directory"
        if access(layout.database, F_OK) == 0 {
            throw .missingKey(path: node == nil ? layout.nodeKey : layout.operatorKey, reason: advice)
        }
        return nil
    }

    /// Looks at every key file of a data directory as a start would, changing nothing.
    /// - Returns: how many there are.
    /// - Throws: what would end the start.
    package static func examine(_ layout: DataDirectoryLayout) throws(StoreError) -> Int {
        let node = try KeyFile.node.load(layout.nodeKey)
        let operatorKey = try KeyFile.operatorKey.load(layout.operatorKey)
        if node == nil || operatorKey == nil, access(layout.database, F_OK) == 0 {
            throw .missingKey(
                path: node == nil ? layout.nodeKey : layout.operatorKey,
                reason: "restore it from a backup; to start over as a new node, use an empty data directory")
        }
        var count = [node, operatorKey].count { $0 != nil }
        for name in SecretFile.names(in: layout.owners) where name.hasSuffix(".key") {
            if try KeyFile.owner.load("\(layout.owners)/\(name)") != nil { count += 1 }
        }
        // The certificate of the links holds a key as well.
        if try SecretFile.read(layout.linkCertificate) != nil { count += 1 }
        return count
    }

    /// The identity in `directory`, made where it is missing; a second call changes nothing. A crash between the two
    /// keys is healed by the next call, because nothing was signed with the first one yet.
    /// - Parameter operatorKey: the key of an operator who runs other nodes already; nil keeps what is there, or makes
    ///   one.
    /// - Returns: the identity, and whether anything was made.
    @discardableResult
    package static func initialise(
        in directory: DataDirectory, operatorKey given: SigningKey? = nil
    ) throws(StoreError) -> (identity: NodeIdentity, created: Bool) {
        if let present = try load(from: directory) {
            guard given == nil || given?.publicKey == present.operatorKey.publicKey else {
                throw .conflict("this node belongs to another operator key already; it was kept")
            }
            return (present, false)
        }
        let layout = directory.layout
        let presentOperator = try KeyFile.operatorKey.load(layout.operatorKey)
        if let presentOperator, let given, presentOperator.publicKey != given.publicKey {
            throw .conflict("this node belongs to another operator key already; it was kept")
        }
        let operatorKey = presentOperator ?? given ?? .random()
        if presentOperator == nil { try KeyFile.operatorKey.save(operatorKey, to: layout.operatorKey) }
        let presentNode = try KeyFile.node.load(layout.nodeKey)
        let node = presentNode ?? .random()
        if presentNode == nil { try KeyFile.node.save(node, to: layout.nodeKey) }
        return (NodeIdentity(node: node, operatorKey: operatorKey), true)
    }
}
