package import MeshModel

/// A record whose signature, key and body were checked: the only form the core acts upon, and this file the only
/// place that can make one.
package struct VerifiedRecord: Hashable, Sendable {
    package let envelope: RecordEnvelope
    package let body: RecordBody
    /// BLAKE2b-256 of the bytes before the signature: a second signature over the same content is no other record.
    package let hash: Bytes32

    private init(envelope: RecordEnvelope, body: RecordBody, hash: Bytes32) {
        self.envelope = envelope
        self.body = body
        self.hash = hash
    }

    package var key: RecordKey { envelope.key }
    package var signer: PublicKey { envelope.signer }
    package var version: RecordVersion { envelope.version }
    package var type: RecordType { envelope.type }

    /// Checks of `envelope` that need neither a signature nor a body, cheapest first.
    package static func precheck(
        _ envelope: RecordEnvelope, network: NetworkID, wall: Timestamp
    ) -> RecordRejection? {
        guard envelope.network == network else { return .wrongNetwork }
        guard envelope.issued < envelope.expires,
            envelope.expires.milliseconds - envelope.issued.milliseconds <= envelope.type.maximumLifeMs
        else { return .lifetime }
        guard envelope.issued <= wall.advanced(byMilliseconds: Limits.recordFutureSkewMs) else { return .future }
        guard envelope.expires.advanced(byMilliseconds: Limits.recordExpiryGraceMs) > wall else { return .expired }
        guard envelope.version.epoch <= RecordVersion.epoch(at: wall) + Limits.recordEpochAheadMinutes
        else { return .epochAhead }
        return nil
    }

    /// The full check: fields and times, then signature, then body, then the recomputed key.
    package static func verify(
        _ envelope: RecordEnvelope, network: NetworkID, wall: Timestamp, cryptography: some RecordCryptography
    ) -> Result<VerifiedRecord, RecordRejection> {
        if let rejection = precheck(envelope, network: network, wall: wall) { return .failure(rejection) }
        let signed = Array(envelope.signedBytes)
        guard
            cryptography.verify(
                signature: Array(envelope.signature), message: SignatureDomain.record.bytes + signed,
                key: envelope.signer)
        else { return .failure(.signature) }
        guard let body = RecordBody.decode(envelope) else { return .failure(.body) }
        let material = RecordEnvelope.keyMaterial(type: envelope.type, signer: envelope.signer, name: body.name)
        guard RecordKey(cryptography.hash16(material, key: [])) == envelope.key else { return .failure(.recordKey) }
        return .success(VerifiedRecord(envelope: envelope, body: body, hash: cryptography.hash32(signed)))
    }

    /// Parse and verify in one step, for records that come from a file or a handshake.
    package static func verify(
        bytes: [UInt8], network: NetworkID, wall: Timestamp, cryptography: some RecordCryptography
    ) -> Result<VerifiedRecord, RecordRejection> {
        RecordEnvelope.parse(bytes).flatMap {
            verify($0, network: network, wall: wall, cryptography: cryptography)
        }
    }
}
