package import MeshModel
package import MeshWire

/// A record that the node holds, without what is in it.
package struct RecordView: Sendable {
    package var key: RecordKey
    package var type: RecordType
    package var signer: PublicKey
    package var version: RecordVersion
    package var issued: Timestamp
    package var expires: Timestamp
    package var bytes: Int
    package var isTombstone: Bool
}

extension RecordView {
    init(_ record: VerifiedRecord) {
        key = record.key
        type = record.type
        signer = record.signer
        version = record.version
        issued = record.envelope.issued
        expires = record.envelope.expires
        bytes = record.envelope.bytes.count
        isTombstone = record.envelope.isTombstone
    }
}

/// One record with everything in it.
package struct RecordDetailView: Sendable {
    package var summary: RecordView
    /// Whether everything it rests on is there.
    package var isUsable: Bool
    package var record: VerifiedRecord
}
