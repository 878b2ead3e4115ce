package import MeshModel

/// A record as it came off the wire: cut into its fields, believed by nobody yet. Only `VerifiedRecord` may be
/// acted upon. The bytes are kept verbatim and relayed as they are.
///
/// Layout (all numbers big-endian): `M1`, type 1, suite 1, network 16, signer 32, record key 16, version 8,
/// issued 8, expires 8, flags 2, body length 2, body n, signature 64.
package struct RecordEnvelope: Hashable, Sendable {
    package let bytes: [UInt8]
    package let type: RecordType
    package let network: NetworkID
    package let signer: PublicKey
    package let key: RecordKey
    package let version: RecordVersion
    package let issued: Timestamp
    package let expires: Timestamp
    package let isTombstone: Bool

    package static let magic: [UInt8] = [0x4D, 0x31]
    package static let suite: UInt8 = 1

    package var body: ArraySlice<UInt8> { bytes[Limits.recordHeaderBytes..<(bytes.count - 64)] }
    package var signature: ArraySlice<UInt8> { bytes.suffix(64) }
    /// Everything the signature and the record hash are over.
    package var signedBytes: ArraySlice<UInt8> { bytes.dropLast(64) }

    /// Cuts `bytes`, cheapest checks first. Says nothing about time, signature or meaning.
    package static func parse(_ bytes: [UInt8]) -> Result<RecordEnvelope, RecordRejection> {
        let smallest = Limits.recordHeaderBytes + Limits.recordSignatureBytes
        guard bytes.count >= smallest else { return .failure(.truncated) }
        guard bytes.count <= Limits.recordBytes else { return .failure(.oversize) }
        guard bytes[0] == magic[0], bytes[1] == magic[1] else { return .failure(.magic) }
        guard let type = RecordType(rawValue: bytes[2]) else { return .failure(.unknownType) }
        guard bytes[3] == suite else { return .failure(.unknownSuite) }
        let flags = UInt16(bigEndian: bytes[92..<94])
        guard flags & ~1 == 0 else { return .failure(.unknownFlags) }
        let length = Int(UInt16(bigEndian: bytes[94..<96]))
        guard length <= Limits.recordBodyBytes, bytes.count == smallest + length else { return .failure(.length) }
        guard let network = NetworkID(bytes[4..<20]), let signer = PublicKey(bytes[20..<52]),
            let key = RecordKey(bytes[52..<68])
        else { return .failure(.truncated) }
        let issued = UInt64(bigEndian: bytes[76..<84])
        let expires = UInt64(bigEndian: bytes[84..<92])
        // Times beyond the signed range are nobody's clock; refusing them keeps all later arithmetic in range.
        guard issued < 1 << 53, expires < 1 << 53 else { return .failure(.lifetime) }
        return .success(
            RecordEnvelope(
                bytes: bytes, type: type, network: network, signer: signer, key: key,
                version: RecordVersion(raw: UInt64(bigEndian: bytes[68..<76])),
                issued: Timestamp(milliseconds: Int64(issued)), expires: Timestamp(milliseconds: Int64(expires)),
                isTombstone: flags & 1 == 1))
    }

    /// The bytes that a signer of these fields signs, without domain string.
    package static func unsignedBytes(_ draft: RecordDraft, key: RecordKey) -> [UInt8] {
        var bytes = magic
        bytes.append(draft.type.rawValue)
        bytes.append(suite)
        bytes += draft.network.bytes
        bytes += draft.signer.bytes
        bytes += key.bytes
        bytes += draft.version.raw.bigEndianBytes
        bytes += UInt64(draft.issued.milliseconds).bigEndianBytes
        bytes += UInt64(draft.expires.milliseconds).bigEndianBytes
        bytes += UInt16(draft.isTombstone ? 1 : 0).bigEndianBytes
        bytes += UInt16(draft.body.count).bigEndianBytes
        bytes += draft.body
        return bytes
    }

    /// What a record key is the BLAKE2b-128 of: type, signer, name.
    package static func keyMaterial(type: RecordType, signer: PublicKey, name: [UInt8]) -> [UInt8] {
        [type.rawValue] + signer.bytes + name
    }
}

/// The fields of a record that is about to be signed.
package struct RecordDraft: Hashable, Sendable {
    package var type: RecordType
    package var network: NetworkID
    package var signer: PublicKey
    /// What, with type and signer, makes the record key; see `RecordBody.name`.
    package var name: [UInt8]
    package var version: RecordVersion
    package var issued: Timestamp
    package var expires: Timestamp
    package var isTombstone: Bool
    package var body: [UInt8]

    /// - Precondition: `body` has at most `Limits.recordBodyBytes` bytes; callers check sizes when they accept the
    ///   user's input, so a larger one is a bug of this program.
    package init(
        type: RecordType, network: NetworkID, signer: PublicKey, name: [UInt8], version: RecordVersion,
        issued: Timestamp, expires: Timestamp, isTombstone: Bool = false, body: [UInt8]
    ) {
        precondition(body.count <= Limits.recordBodyBytes)
        self.type = type
        self.network = network
        self.signer = signer
        self.name = name
        self.version = version
        self.issued = issued
        self.expires = expires
        self.isTombstone = isTombstone
        self.body = body
    }

    /// Signs the draft: the record's bytes as they go to every node.
    package func signed(by signer: some MessageSigner, cryptography: some RecordCryptography) -> [UInt8] {
        precondition(signer.publicKey == self.signer)
        let material = RecordEnvelope.keyMaterial(type: type, signer: self.signer, name: name)
        let key = RecordKey(cryptography.hash16(material, key: []))
        let bytes = RecordEnvelope.unsignedBytes(self, key: key)
        return bytes + signer.sign(SignatureDomain.record.bytes + bytes)
    }
}
