internal import MeshBroker
package import MeshCrypto
internal import MeshGossip
package import MeshModel
internal import MeshRouting
import MeshWire
internal import OrderedCollections

/// One node of the simulation: real keys, a real `Broker`, a disk that survives crashes.
package struct SimulatedNode: Sendable {
    package let index: Int
    package let key: SigningKey
    let operatorKey: SigningKey
    package let behaviour: Behaviour
    package let clockOffsetMs: Int64
    var configuration: Gossip.Configuration
    var broker: Broker
    package var isUp = false
    /// Grows with every start; ticks of an earlier life are void.
    var generation = 0
    /// The tick that is in the queue.
    var scheduledTick: Instant?
    var disk = SimulatedDisk()
    /// The versions that this life has given out, beside those on the disk.
    var given: OrderedDictionary<PublicKey, RecordVersion> = [:]
    /// What it signs with: its own key, its operator's, its users', and its workers' tokens.
    var keys: OrderedDictionary<PublicKey, SigningKey> = [:]

    // What its operator and its users want it to say.
    var name: String
    var drafts: [Broker.ProviderDraft] = []

    // What it shows.
    /// To whoever links.
    var descriptor: VerifiedRecord?
    /// To requests.
    var catalog: Catalog

    /// Ends with the next batch that reaches its disk.
    var isDoomed = false

    var gossip: Gossip { broker.gossip }

    package var address: String { SimulatedNode.address(index) }

    static func address(_ index: Int) -> String { "node-\(index):7443" }

    static func index(_ address: String) -> Int? {
        guard let text = address.split(separator: ":").first?.split(separator: "-").last else { return nil }
        return Int(text)
    }

    mutating func hold(_ key: SigningKey) { keys[key.publicKey] = key }
}

/// Cryptography that believes every signature: shows that the forgery check can fail.
package struct CredulousCryptography: RecordCryptography {
    package init() {}

    package func verify(signature: [UInt8], message: [UInt8], key: PublicKey) -> Bool { true }
    package func hash16(_ message: [UInt8], key: [UInt8]) -> Bytes16 { Sodium.shared.hash16(message, key: key) }
    package func hash32(_ message: [UInt8]) -> Bytes32 { Sodium.shared.hash32(message) }
    package func seal(_ text: [UInt8], key: [UInt8], context: [UInt8]) -> [UInt8] {
        Sodium.shared.seal(text, key: key, context: context)
    }
    package func open(_ sealed: [UInt8], key: [UInt8], context: [UInt8]) -> [UInt8]? {
        Sodium.shared.open(sealed, key: key, context: context)
    }
}
