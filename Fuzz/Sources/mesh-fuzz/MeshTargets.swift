import MeshCrypto
import MeshModel
import MeshWire

/// A record: its fields are its bytes, and its body decodes or does not, without a trap.
enum RecordTarget {
    static func run(_ input: [UInt8]) {
        guard case .success(let envelope) = RecordEnvelope.parse(input) else {
            body(input)
            return
        }
        expect(envelope.bytes == input, "a record that is not its bytes")
        let draft = RecordDraft(
            type: envelope.type, network: envelope.network, signer: envelope.signer, name: [],
            version: envelope.version, issued: envelope.issued, expires: envelope.expires,
            isTombstone: envelope.isTombstone, body: Array(envelope.body))
        let again = RecordEnvelope.unsignedBytes(draft, key: envelope.key)
        expect(again.elementsEqual(envelope.signedBytes), "fields that do not make the same bytes")
        if let body = RecordBody.decode(envelope) { expect(body.name.count <= Limits.recordBodyBytes, "a long name") }
        let wall = Timestamp(milliseconds: 1_780_000_000_000)
        _ = VerifiedRecord.precheck(envelope, network: envelope.network, wall: wall)
        let verified = VerifiedRecord.verify(
            envelope, network: envelope.network, wall: envelope.issued, cryptography: Sodium.shared)
        if case .success(let record) = verified { expect(record.envelope == envelope, "another record was verified") }
    }

    /// Most inputs are no envelope; they are given to every kind of body.
    private static func body(_ input: [UInt8]) {
        let body = Array(input.prefix(Limits.recordBodyBytes))
        for type in RecordType.allCases {
            for isTombstone in [false, true] {
                let draft = RecordDraft(
                    type: type, network: NetworkID(.zero), signer: PublicKey(.zero), name: [],
                    version: RecordVersion(raw: 1), issued: Timestamp(milliseconds: 1),
                    expires: Timestamp(milliseconds: 2), isTombstone: isTombstone, body: body)
                let unsigned = RecordEnvelope.unsignedBytes(draft, key: RecordKey(.zero))
                let parsed = RecordEnvelope.parse(unsigned + [UInt8](repeating: 0, count: 64))
                guard case .success(let envelope) = parsed else {
                    expect(false, "an own envelope was refused")
                    return
                }
                _ = RecordBody.decode(envelope)?.name
            }
        }
    }
}

/// Frames of a link: the same ones whatever the split, and every gossip message read again from what is written.
enum LinkFrameTarget {
    static func run(_ input: [UInt8]) {
        var reader = InputReader(input)
        let seed = reader.byte()
        let whole = frames([Array(reader.rest)])
        let split = frames(InputReader.reads(reader.rest, seed: seed))
        expect(whole == split, "another split gives other frames")
        for frame in whole.frames + (decoded(reader.rest).map { [$0] } ?? []) {
            guard let message = GossipMessage(frame) else { continue }
            let again = GossipMessage(message.frame)
            expect(again == message, "a message written again reads differently: \(message)")
        }
    }

    private static func decoded(_ bytes: ArraySlice<UInt8>) -> Aisbf_Mesh_V1_LinkFrame? {
        try? LinkFrameCodec.decode(Array(bytes)).get()
    }

    private struct Cut: Equatable {
        var frames: [Aisbf_Mesh_V1_LinkFrame] = []
        var failure: LinkFrameCodec.Failure?
    }

    private static func frames(_ reads: [[UInt8]]) -> Cut {
        var decoder = LinkFrameCodec.Decoder()
        var cut = Cut()
        for read in reads {
            decoder.append(read)
            do throws(LinkFrameCodec.Failure) {
                while let frame = try decoder.next() { cut.frames.append(frame) }
            } catch {
                cut.failure = error
                return cut
            }
        }
        return cut
    }
}

/// Signature headers: what is parsed is what was written, and nothing but the signed headers verifies.
enum ForwardSignatureTarget {
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)
    private static let digest = [UInt8](repeating: 5, count: 32)
    private static let key = SigningKey(seed: [UInt8](repeating: 1, count: 32)) ?? .random()
    private static let shares = SharedSignatureChecks()
    /// One request with a signature of its own, and two that share one.
    private static let signed: [[HeaderField]] = {
        let requests = (1...3).map { attempt in
            ForwardSignature.Unsigned(
                fields: ForwardFields(
                    requestID: "req-1", attempt: attempt, destination: key.publicKey, principal: "owner-1",
                    spend: "none", maxHops: 1),
                path: "/mesh/v1/forward", contentDigest: digest, nonce: "0123456789abcdef")
        }
        return [ForwardSignature.sign(requests[0], signer: key, created: now)]
            + ForwardSignature.sign(together: Array(requests[1...]), signer: key, created: now)
    }()

    static func run(_ input: [UInt8]) {
        let text = String(decoding: input, as: UTF8.self)
        if let parsed = HTTPMessageSignature.parseInput(text) {
            expect(parsed.label + "=" + parsed.serialized == text, "an input that is not its text")
        }
        if let signature = HTTPMessageSignature.parseSignature(text, label: "aisbf") {
            expect(signature.count <= Limits.signatureHeaderBytes, "a signature of \(signature.count) bytes")
            if let shared = SharedSignature(signature) {
                expect(shared.bytes == signature, "two spellings of a shared signature")
                expect(!shares.holds(shared, for: input, key: key.publicKey), "a shared signature of nobody holds")
            }
        }
        if let digest = ContentDigest.parse(text) {
            expect(ContentDigest.value(sha256: digest) == text, "two spellings of a digest")
        }
        replace(text)
    }

    /// Lines of the input take the place of the signed headers they name by their first byte.
    private static func replace(_ text: String) {
        let signed = signed[text.utf8.count % signed.count]
        var headers = signed
        for line in text.utf8.split(separator: 0x0A) {
            guard let first = line.first, let value = String(line.dropFirst()) else { continue }
            headers[Int(first) % headers.count].value = value
        }
        let result = ForwardSignature.verify(
            headers: headers, method: "POST", path: "/mesh/v1/forward", bodyDigest: digest, shared: shares, now: now)
        let isSame = headers == signed
        if case .success = result {
            expect(isSame, "other headers verify")
        } else {
            expect(!isSame, "own headers do not")
        }
    }
}
