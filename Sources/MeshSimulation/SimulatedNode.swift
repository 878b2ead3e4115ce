package import MeshCrypto
package import MeshGossip
package import MeshModel
import MeshWire

/// One node of the simulation: real keys, a real `Gossip`, a disk that survives crashes.
package struct SimulatedNode: Sendable {
    package let index: Int
    package let key: SigningKey
    package let behaviour: Behaviour
    package let clockOffsetMs: Int64
    package var gossip: Gossip
    package var isUp = false
    /// Grows with every start; ticks of an earlier life are void.
    var generation = 0
    /// The tick that is in the queue.
    var scheduledTick: Instant?
    var sequence: UInt64 = 0
    var disk: [RecordKey: VerifiedRecord] = [:]
    /// In the order in which they were first stored; dictionaries have none.
    var diskOrder: [RecordKey] = []

    package var address: String { SimulatedNode.address(index) }

    static func address(_ index: Int) -> String { "node-\(index):7443" }

    static func index(_ address: String) -> Int? {
        guard let text = address.split(separator: ":").first?.split(separator: "-").last else { return nil }
        return Int(text)
    }

    mutating func persist(_ record: VerifiedRecord) {
        if disk.updateValue(record, forKey: record.key) == nil { diskOrder.append(record.key) }
    }

    mutating func forget(_ key: RecordKey) {
        if disk.removeValue(forKey: key) != nil { diskOrder.removeAll { $0 == key } }
    }

    var stored: [VerifiedRecord] { diskOrder.compactMap { disk[$0] } }
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
