import Foundation
import MeshCrypto
import MeshModel
import MeshWire
import SwiftProtobuf

/// One record of each type with fixed keys and times, so that its bytes are the same for ever.
enum RecordFixtures {
    static let network = NetworkID(Bytes16(high: 0x0102_0304_0506_0708, low: 0x090A_0B0C_0D0E_0F10))
    static let wall = Timestamp(milliseconds: 1_780_000_000_000)
    static let node = key(1)
    static let owner = key(2)
    static let attachKey = key(3)
    static let operatorKey = key(4)

    static func key(_ byte: UInt8) -> SigningKey {
        // A seed of 32 bytes is always taken.
        SigningKey(seed: Array(repeating: byte, count: 32)) ?? .random()
    }

    static func sign(
        _ type: RecordType, by signer: SigningKey, name: [UInt8], body: [UInt8], isTombstone: Bool = false,
        issued: Timestamp = wall, lifeMs: Int64 = 60_000, epoch: UInt32 = RecordVersion.epoch(at: wall),
        network: NetworkID = network
    ) -> [UInt8] {
        RecordDraft(
            type: type, network: network, signer: signer.publicKey, name: name,
            version: RecordVersion(epoch: epoch, sequence: 7), issued: issued,
            expires: issued.advanced(byMilliseconds: lifeMs), isTombstone: isTombstone, body: body
        ).signed(by: signer, cryptography: Sodium.shared)
    }

    static var descriptor: [UInt8] {
        let body = Aisbf_Mesh_V1_NodeDescriptor.with {
            $0.name = "alpha"
            $0.linkAddresses = ["127.0.0.1:7443"]
            $0.tlsSpkiPins = [Data(repeating: 9, count: 32)]
            $0.apiURL = "http://127.0.0.1:8080"
            $0.protocolMin = 1
            $0.protocolMax = 1
        }
        return sign(.nodeDescriptor, by: node, name: [], body: RecordBody.bytes(of: body))
    }

    static var beacon: [UInt8] {
        let body = Aisbf_Mesh_V1_Beacon.with {
            $0.bootID = 5; $0.slots = 4; $0.inFlight = 1; $0.intervalMs = 5_000
        }
        return sign(.beacon, by: node, name: [], body: RecordBody.bytes(of: body), lifeMs: 15_000)
    }

    static var advert: [UInt8] {
        let body = Aisbf_Mesh_V1_ProviderAdvert.with {
            $0.providerID = "gpu"
            $0.homeNode = Data(node.publicKey.bytes)
            $0.access = .public
            $0.models = [
                .with {
                    $0.id = "demo-chat"; $0.contextTokens = 8_192
                }
            ]
            $0.attachKeys = [.with { $0.publicKey = Data(attachKey.publicKey.bytes) }]
            $0.kind = "coderai"
        }
        return sign(.providerAdvert, by: owner, name: Array("gpu".utf8), body: RecordBody.bytes(of: body))
    }

    /// As nodes write it since attach keys come with a proof; `advert` is one of before.
    static var provenAdvert: [UInt8] {
        let body = Aisbf_Mesh_V1_ProviderAdvert.with {
            $0.providerID = "gpu"
            $0.homeNode = Data(node.publicKey.bytes)
            $0.access = .public
            $0.attachKeys = [
                .with {
                    $0.publicKey = Data(attachKey.publicKey.bytes)
                    $0.label = "rig"
                    $0.derivation = 1
                    $0.proof = Data(attachKey.sign(Statement.attachKey(owner: owner.publicKey, providerID: "gpu")))
                }
            ]
            $0.kind = "coderai"
        }
        return sign(.providerAdvert, by: owner, name: Array("gpu".utf8), body: RecordBody.bytes(of: body))
    }

    static var grant: [UInt8] {
        let provider = Array(repeating: UInt8(6), count: 16)
        let body = Aisbf_Mesh_V1_AttachGrant.with {
            $0.providerRecordKey = Data(provider)
            $0.ownerKey = Data(owner.publicKey.bytes)
            $0.hostingNode = Data(node.publicKey.bytes)
            $0.capabilityMask = 1
        }
        return sign(
            .attachGrant, by: attachKey, name: provider + node.publicKey.bytes, body: RecordBody.bytes(of: body))
    }

    static var attachment: [UInt8] {
        let provider = Array(repeating: UInt8(6), count: 16)
        let client = Array(repeating: UInt8(8), count: 16)
        let body = Aisbf_Mesh_V1_Attachment.with {
            $0.providerRecordKey = Data(provider)
            $0.ownerKey = Data(owner.publicKey.bytes)
            $0.grantKey = Data(repeating: 7, count: 16)
            $0.grantHash = Data(repeating: 7, count: 32)
            $0.clientHash = Data(client)
            $0.slots = 2
        }
        return sign(.attachment, by: node, name: provider + client, body: RecordBody.bytes(of: body))
    }

    /// As nodes write it since they tell how long requests take.
    static var measuredAttachment: [UInt8] {
        let provider = Array(repeating: UInt8(6), count: 16)
        let client = Array(repeating: UInt8(8), count: 16)
        let body = Aisbf_Mesh_V1_Attachment.with {
            $0.providerRecordKey = Data(provider)
            $0.ownerKey = Data(owner.publicKey.bytes)
            $0.grantKey = Data(repeating: 7, count: 16)
            $0.grantHash = Data(repeating: 7, count: 32)
            $0.clientHash = Data(client)
            $0.tokensPerSecond = 31
            $0.firstContentMs = 100
            $0.takesUploads = true
            $0.latencyMs = 4_100
        }
        return sign(.attachment, by: node, name: provider + client, body: RecordBody.bytes(of: body))
    }

    /// A worker with more models than its attachment holds, and a page of them.
    static var continuedAttachment: [UInt8] {
        listed {
            $0.slots = 2
            $0.moreModels = true
        }
    }

    static var page: [UInt8] { listed { $0.page = 2 } }

    private static func listed(_ change: (inout Aisbf_Mesh_V1_Attachment) -> Void) -> [UInt8] {
        let provider = Array(repeating: UInt8(6), count: 16)
        let client = Array(repeating: UInt8(8), count: 16)
        let body = Aisbf_Mesh_V1_Attachment.with {
            $0.providerRecordKey = Data(provider)
            $0.ownerKey = Data(owner.publicKey.bytes)
            $0.grantKey = Data(repeating: 7, count: 16)
            $0.grantHash = Data(repeating: 7, count: 32)
            $0.clientHash = Data(client)
            $0.models = [.with { $0.id = "demo-chat" }]
            change(&$0)
        }
        return sign(.attachment, by: node, name: provider + client, body: RecordBody.bytes(of: body))
    }

    /// What an owner publishes goes as an advert, so that nodes which do not know of it pass it on.
    static var publication: [UInt8] {
        let name = "p-0123456789abcdef0123456789abcdef"
        let body = Aisbf_Mesh_V1_ProviderAdvert.with {
            $0.providerID = name
            $0.homeNode = Data(node.publicKey.bytes)
            $0.access = .ownerOnly
            $0.publication.kind = .rotation
            $0.publication.name = "llama"
            $0.publication.document = Data(
                #"{"name":"llama","members":[{"target":"key:06060606060606060606060606060606/m","weight":3}]}"#.utf8)
            $0.publication.format = 1
        }
        return sign(.providerAdvert, by: owner, name: Array(name.utf8), body: RecordBody.bytes(of: body))
    }

    static var tombstone: [UInt8] {
        let body = Aisbf_Mesh_V1_Tombstone.with { $0.name = Data("gpu".utf8) }
        return sign(
            .providerAdvert, by: owner, name: Array("gpu".utf8), body: RecordBody.bytes(of: body), isTombstone: true)
    }

    static let all: [(name: String, bytes: [UInt8])] = [
        ("descriptor", descriptor), ("beacon", beacon), ("advert", advert), ("grant", grant),
        ("attachment", attachment), ("tombstone", tombstone), ("proven advert", provenAdvert),
        ("measured attachment", measuredAttachment), ("attachment that goes on", continuedAttachment), ("page", page),
        ("publication", publication),
    ]

    static func verify(_ bytes: [UInt8], wall: Timestamp = wall) -> Result<VerifiedRecord, RecordRejection> {
        VerifiedRecord.verify(bytes: bytes, network: network, wall: wall, cryptography: Sodium.shared)
    }

    static func rejection(_ bytes: [UInt8], wall: Timestamp = wall) -> RecordRejection? {
        switch verify(bytes, wall: wall) {
        case .success: nil
        case .failure(let rejection): rejection
        }
    }
}
