/// One line that was added by command to what the configuration says of the mesh: whom to admit, whom to dial.
package struct MeshRule: Hashable, Sendable {
    package enum Kind: String, CaseIterable, Sendable {
        case allow
        case peer
    }

    package var kind: Kind
    /// As it would stand in the configuration: `aisbf_op_…`, `aisbf_node_…`, `aisbf_node_…@host:port`.
    package var value: String
    package var addedAt: Timestamp

    package init(kind: Kind, value: String, addedAt: Timestamp) {
        self.kind = kind
        self.value = value
        self.addedAt = addedAt
    }
}
