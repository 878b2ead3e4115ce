/// Tells a worker from its provider's others, here and at other nodes, without its client id: the first half of the
/// hash by which an attachment record names it.
package enum WorkerMark {
    /// The hash of a client id that its attachment shows: stable, and not readable by strangers.
    package static func clientHash(
        _ clientID: String, provider: RecordKey, _ cryptography: some RecordCryptography
    ) -> [UInt8] {
        cryptography.hash16(Array(clientID.utf8), key: provider.bytes).bytes
    }

    /// Twelve hexadecimal digits.
    package static func text(clientHash: [UInt8]) -> String { hexText(clientHash.prefix(6)) }

    package static func isMark(_ text: String) -> Bool {
        text.utf8.count == 12
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }
}
