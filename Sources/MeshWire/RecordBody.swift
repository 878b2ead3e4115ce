package import MeshModel
package import SwiftProtobuf

/// The decoded body of a verified record.
package enum RecordBody: Hashable, Sendable {
    case nodeDescriptor(Aisbf_Mesh_V1_NodeDescriptor)
    case beacon(Aisbf_Mesh_V1_Beacon)
    case providerAdvert(Aisbf_Mesh_V1_ProviderAdvert)
    case attachGrant(Aisbf_Mesh_V1_AttachGrant)
    case attachment(Aisbf_Mesh_V1_Attachment)
    case tombstone(Aisbf_Mesh_V1_Tombstone)

    /// Protobuf nests at most this deep in our schemas; a deeper body is somebody's attempt on the stack.
    private static let options: BinaryDecodingOptions = {
        var options = BinaryDecodingOptions()
        options.messageDepthLimit = 8
        return options
    }()

    package static func decode(_ envelope: RecordEnvelope) -> RecordBody? {
        let bytes = Array(envelope.body)
        if envelope.isTombstone { return message(bytes).map(RecordBody.tombstone) }
        return decode(envelope.type, bytes)
    }

    /// A body that is no tombstone.
    package static func decode(_ type: RecordType, _ bytes: [UInt8]) -> RecordBody? {
        switch type {
        case .nodeDescriptor: message(bytes).map(RecordBody.nodeDescriptor)
        case .beacon: message(bytes).map(RecordBody.beacon)
        case .providerAdvert: message(bytes).map(RecordBody.providerAdvert)
        case .attachGrant: message(bytes).map(RecordBody.attachGrant)
        case .attachment: message(bytes).map(RecordBody.attachment)
        }
    }

    private static func message<Body: Message>(_ bytes: [UInt8]) -> Body? {
        try? Body(serializedBytes: bytes, options: options)
    }

    /// What, with type and signer, makes the record key: one node descriptor and beacon per node, one advert per
    /// provider id, one grant per provider and host, one attachment per provider and client.
    package var name: [UInt8] {
        switch self {
        case .nodeDescriptor, .beacon: []
        case .providerAdvert(let body): Array(body.providerID.utf8)
        case .attachGrant(let body): Array(body.providerRecordKey) + Array(body.hostingNode)
        case .attachment(let body): Array(body.providerRecordKey) + Array(body.clientHash)
        case .tombstone(let body): Array(body.name)
        }
    }

    /// The bytes of any body message, as its signer writes them.
    package static func bytes(of body: some Message) -> [UInt8] {
        // Serialisation fails only for missing required fields, which proto3 does not have.
        (try? body.serializedBytes()) ?? []
    }
}
