package import MeshModel
package import MeshWire

/// Both sides of a fresh link prove their node keys over what this one TLS connection showed both of them
/// (Docs/Protocol/links.md).
///
/// States: waiting for the peer's hello → waiting for its proof → over (established or failed). The dialler sends its hello
/// at once. The other side says nothing of itself before it found that hello good and its sender admitted: a stranger
/// learns nothing but the refusal. Anything else in between fails the link. The proof
/// signs role, network, both nonces, both SPKI hashes and both node keys, initiator's first: it cannot be replayed,
/// reflected, or carried to another connection by somebody in the middle, whose certificates would differ.
package struct LinkHandshake: Sendable {
    package static let protocolVersion: UInt32 = 1
    package static let nonceBytes = 32

    package struct Configuration: Sendable {
        package var signer: any MessageSigner
        package var network: NetworkID
        package var cryptography: any RecordCryptography
        /// This node's current descriptor record, verbatim.
        package var descriptor: [UInt8]
        package var admission: LinkAdmission
        package var protocols: ClosedRange<UInt32>

        package init(
            signer: any MessageSigner, network: NetworkID, cryptography: any RecordCryptography, descriptor: [UInt8],
            admission: LinkAdmission, protocols: ClosedRange<UInt32> = protocolVersion...protocolVersion
        ) {
            self.signer = signer
            self.network = network
            self.cryptography = cryptography
            self.descriptor = descriptor
            self.admission = admission
            self.protocols = protocols
        }
    }

    package enum Action: Equatable, Sendable {
        case send(Aisbf_Mesh_V1_LinkFrame)
        /// `clockOffsetMs`: the peer's wall clock minus ours, as its hello arrived; beyond
        /// `Limits.clockOffsetMs` it is worth an alarm, but no reason to refuse.
        case established(peer: PublicKey, descriptor: VerifiedRecord, clockOffsetMs: Int64)
        /// Before a refusal: who it is that is not admitted. Its descriptor is genuine and names the certificate that
        /// TLS showed, so it is certain.
        case knocked(LinkKnock)
        /// The link is to be closed, after any frame that was to be sent before this action.
        case failed(LinkFailure)
    }

    private struct PeerHello: Sendable {
        var key: PublicKey
        var nonce: [UInt8]
        var descriptor: VerifiedRecord
        var clockOffsetMs: Int64
    }

    private enum State: Sendable {
        case hello
        case proof(PeerHello)
        case over
    }

    private let configuration: Configuration
    private let isInitiator: Bool
    private let nonce: [UInt8]
    private let localSPKI: [UInt8]
    private let peerSPKI: [UInt8]
    private let expected: PublicKey?
    private var state = State.hello

    /// - Parameters:
    ///   - isInitiator: this side dialled.
    ///   - nonce: `nonceBytes` fresh random bytes.
    ///   - localSPKI, peerSPKI: SHA-256 of the SubjectPublicKeyInfo of the certificates that TLS showed.
    ///   - expected: the node that was dialled, when it is known.
    package init(
        configuration: Configuration, isInitiator: Bool, nonce: [UInt8], localSPKI: [UInt8], peerSPKI: [UInt8],
        expected: PublicKey?
    ) {
        precondition(nonce.count == Self.nonceBytes)
        self.configuration = configuration
        self.isInitiator = isInitiator
        self.nonce = nonce
        self.localSPKI = localSPKI
        self.peerSPKI = peerSPKI
        self.expected = expected
    }

    /// The stream is open.
    package func opened(now: Now) -> [Action] { isInitiator ? [.send(hello(wall: now.wall))] : [] }

    private func hello(wall: Timestamp) -> Aisbf_Mesh_V1_LinkFrame {
        var hello = Aisbf_Mesh_V1_Hello()
        hello.protocolMin = configuration.protocols.lowerBound
        hello.protocolMax = configuration.protocols.upperBound
        hello.network = wireBytes(configuration.network.bytes)
        hello.nodeKey = wireBytes(configuration.signer.publicKey.bytes)
        hello.nonce = wireBytes(nonce)
        hello.descriptor = wireBytes(configuration.descriptor)
        hello.wallMs = UInt64(max(wall.milliseconds, 0))
        var frame = Aisbf_Mesh_V1_LinkFrame()
        frame.hello = hello
        return frame
    }

    package mutating func handle(_ frame: Aisbf_Mesh_V1_LinkFrame, now: Now) -> [Action] {
        if case .goodbye(let goodbye)? = frame.kind {
            state = .over
            return [.failed(LinkFailure(goodbye: goodbye.code))]
        }
        switch (state, frame.kind) {
        case (.hello, .hello(let hello)?): return received(hello, now: now)
        case (.proof(let peer), .helloProof(let proof)?): return received(proof, from: peer)
        case (.over, _): return []
        case (.hello, _), (.proof, _): return fail(.malformed)
        }
    }

    /// `Limits.linkHandshakeMs` passed.
    package mutating func timedOut() -> [Action] {
        if case .over = state { return [] }
        state = .over
        return [.failed(.timeout)]
    }

    /// The bytes that the `initiator` or the other side signs.
    private func statement(initiator: Bool, peer: PeerHello) -> [UInt8] {
        let ours = configuration.signer.publicKey.bytes
        let theirs = peer.key.bytes
        var bytes = SignatureDomain.linkHandshake.bytes
        bytes.append(initiator ? 1 : 2)
        bytes += configuration.network.bytes
        bytes += isInitiator ? nonce + peer.nonce : peer.nonce + nonce
        bytes += isInitiator ? localSPKI + peerSPKI : peerSPKI + localSPKI
        bytes += isInitiator ? ours + theirs : theirs + ours
        return bytes
    }

    private mutating func received(_ hello: Aisbf_Mesh_V1_Hello, now: Now) -> [Action] {
        switch check(hello, now: now) {
        case .failure(.refused(let knock)): return (isInitiator ? [] : [.knocked(knock)]) + fail(.notAdmitted)
        case .failure(.broken(let failure)): return fail(failure)
        case .success(let peer):
            state = .proof(peer)
            var proof = Aisbf_Mesh_V1_HelloProof()
            proof.signature = wireBytes(
                configuration.signer.sign(statement(initiator: isInitiator, peer: peer)))
            var frame = Aisbf_Mesh_V1_LinkFrame()
            frame.helloProof = proof
            return (isInitiator ? [] : [.send(self.hello(wall: now.wall))]) + [.send(frame)]
        }
    }

    private mutating func received(_ proof: Aisbf_Mesh_V1_HelloProof, from peer: PeerHello) -> [Action] {
        let statement = statement(initiator: !isInitiator, peer: peer)
        guard
            configuration.cryptography.verify(signature: Array(proof.signature), message: statement, key: peer.key)
        else { return fail(.badProof) }
        state = .over
        return [.established(peer: peer.key, descriptor: peer.descriptor, clockOffsetMs: peer.clockOffsetMs)]
    }

    private mutating func fail(_ failure: LinkFailure) -> [Action] {
        state = .over
        return [.send(.goodbye(failure)), .failed(failure)]
    }
}

extension LinkHandshake {
    private enum Objection: Error, Equatable {
        case broken(LinkFailure)
        /// Who it is is certain, and not on the list.
        case refused(LinkKnock)
    }

    private func check(_ hello: Aisbf_Mesh_V1_Hello, now: Now) -> Result<PeerHello, Objection> {
        guard hello.protocolMin <= configuration.protocols.upperBound,
            hello.protocolMax >= configuration.protocols.lowerBound, hello.protocolMin <= hello.protocolMax
        else { return .failure(.broken(.protocolVersion)) }
        guard NetworkID(hello.network) == configuration.network else { return .failure(.broken(.wrongNetwork)) }
        guard let key = PublicKey(hello.nodeKey), hello.nonce.count == Self.nonceBytes else {
            return .failure(.broken(.malformed))
        }
        let peerNonce = Array(hello.nonce)
        guard key != configuration.signer.publicKey, peerNonce != nonce else { return .failure(.broken(.selfLink)) }
        if let expected, expected != key { return .failure(.broken(.wrongKey)) }
        let offset = Int64(clamping: min(hello.wallMs, 1 << 53)) - now.wall.milliseconds
        let differs = offset.magnitude > UInt64(Limits.clockOffsetMs)
        return descriptor(Array(hello.descriptor), of: key, now: now)
            .map { PeerHello(key: key, nonce: peerNonce, descriptor: $0, clockOffsetMs: offset) }
            .mapError { differs && $0 == .broken(.badDescriptor) ? .broken(.clockDiffers) : $0 }
    }

    /// The peer's descriptor, when it is genuine, names the certificate TLS showed, and admits the peer.
    private func descriptor(
        _ bytes: [UInt8], of key: PublicKey, now: Now
    ) -> Result<VerifiedRecord, Objection> {
        let verified = RecordEnvelope.parse(bytes).flatMap {
            VerifiedRecord.verify(
                $0, network: configuration.network, wall: now.wall, cryptography: configuration.cryptography)
        }
        guard case .success(let record) = verified, record.signer == key,
            case .nodeDescriptor(let body) = record.body
        else { return .failure(.broken(.badDescriptor)) }
        guard body.tlsSpkiPins.contains(where: { $0.elementsEqual(peerSPKI) }) else {
            return .failure(.broken(.pinMismatch))
        }
        var operatorKey: PublicKey?
        if body.hasOperator {
            guard let certified = certifiedOperator(body.operator, node: key, wall: now.wall) else {
                return .failure(.broken(.badDescriptor))
            }
            operatorKey = certified
        }
        guard configuration.admission.admits(node: key, operatorKey: operatorKey) else {
            return .failure(.refused(LinkKnock(node: key, operatorKey: operatorKey)))
        }
        return .success(record)
    }

    private func certifiedOperator(
        _ certificate: Aisbf_Mesh_V1_OperatorCertificate, node: PublicKey, wall: Timestamp
    ) -> PublicKey? {
        guard let key = PublicKey(certificate.operatorKey), certificate.notAfterMs < 1 << 53 else { return nil }
        let notAfter = Timestamp(milliseconds: Int64(certificate.notAfterMs))
        let statement = Statement.operatorCertificate(node: node, notAfter: notAfter)
        guard notAfter > wall,
            configuration.cryptography.verify(
                signature: Array(certificate.signature), message: statement, key: key)
        else { return nil }
        return key
    }
}

extension Aisbf_Mesh_V1_LinkFrame {
    /// The last frame of a link: why this side closes it.
    package static func goodbye(_ failure: LinkFailure) -> Aisbf_Mesh_V1_LinkFrame {
        var goodbye = Aisbf_Mesh_V1_Goodbye()
        goodbye.code = failure.rawValue
        var frame = Aisbf_Mesh_V1_LinkFrame()
        frame.goodbye = goodbye
        return frame
    }
}

/// `bytes` as the type the generated messages hold, which pure code does not name.
private func wireBytes<Bytes: RangeReplaceableCollection<UInt8>>(_ bytes: [UInt8]) -> Bytes { Bytes(bytes) }
