package import MeshModel

/// What the entry node says about a forwarded request. All texts are visible ASCII.
package struct ForwardFields: Hashable, Sendable {
    package var requestID: String
    package var attempt: Int
    /// The node that is to serve the request.
    package var destination: PublicKey
    package var principal: String
    package var spend: String
    package var maxHops: Int

    package init(
        requestID: String, attempt: Int, destination: PublicKey, principal: String, spend: String, maxHops: Int
    ) {
        self.requestID = requestID
        self.attempt = attempt
        self.destination = destination
        self.principal = principal
        self.spend = spend
        self.maxHops = maxHops
    }
}

package struct VerifiedForward: Hashable, Sendable {
    package var fields: ForwardFields
    /// The entry node, which signed.
    package var signer: PublicKey
    package var created: Timestamp
    package var expires: Timestamp
    package var nonce: String
}

/// Why a forward's signature was refused. The raw value is the metric label.
package enum ForwardSignatureError: String, Error, CaseIterable, Sendable {
    case missing
    case doubled
    case malformed
    /// Other components, another order or another profile than the one that is due.
    case profile
    case digest
    case lifetime
    case expired
    case future
    /// It is signed by, or for, another node than it should be.
    case signer
    case destination
    case signature
}

/// The profiles of RFC 9421 for forwarded requests (Docs/Protocol/forward.md).
package enum ForwardSignature {
    /// What of the body a forward's signature holds to.
    package enum Profile: Hashable, Sendable, CaseIterable {
        /// The whole body.
        case whole
        /// The payload at the body's beginning. An upload follows that nobody knows yet; `UploadSignature` ends it.
        case upload

        package var tag: String {
            switch self {
            case .whole: "aisbf-forward-v1"
            case .upload: "aisbf-upload-v1"
            }
        }

        package var digestField: String {
            switch self {
            case .whole: "content-digest"
            case .upload: "aisbf-payload-digest"
            }
        }

        package var components: [String] {
            switch self {
            case .whole: Self.ofWhole
            case .upload: Self.ofUpload
            }
        }

        /// The same, as a signature's input lists them.
        fileprivate var list: String {
            switch self {
            case .whole: Self.wholeList
            case .upload: Self.uploadList
            }
        }

        private static let ofWhole = components(Profile.whole.digestField)
        private static let ofUpload = components(Profile.upload.digestField)
        private static let wholeList = HTTPMessageSignature.list(ofWhole)
        private static let uploadList = HTTPMessageSignature.list(ofUpload)

        private static func components(_ digestField: String) -> [String] {
            [
                "@method", "@path", digestField, "aisbf-request-id", "aisbf-attempt", "aisbf-dest", "aisbf-principal",
                "aisbf-spend", "aisbf-max-hops",
            ]
        }
    }

    package static let label = "aisbf"

    /// A request that is to be signed.
    package struct Unsigned: Sendable {
        package var fields: ForwardFields
        package var profile: Profile
        package var method: String
        package var path: String
        package var contentDigest: [UInt8]
        package var nonce: String

        /// - Parameters:
        ///   - contentDigest: SHA-256 of what the profile covers of the body.
        ///   - nonce: fresh, printable, without quotes and backslashes.
        package init(
            fields: ForwardFields, profile: Profile = .whole, method: String = "POST", path: String,
            contentDigest: [UInt8], nonce: String
        ) {
            self.fields = fields
            self.profile = profile
            self.method = method
            self.path = path
            self.contentDigest = contentDigest
            self.nonce = nonce
        }
    }

    /// What a signature's bytes are.
    enum Algorithm: String {
        /// RFC 8032.
        case alone = "ed25519"
        /// That of a tree in which the request is, with the way to its root (`SharedSignature`).
        case shared = "ed25519-tree"
    }

    /// The headers of a signed forward: the fields, the digest and both signature headers, in lower case.
    /// - Parameter lifetimeMs: at most `Limits.forwardLifetimeMs`, in whole seconds.
    package static func sign(
        _ request: Unsigned, signer: some MessageSigner, created: Timestamp,
        lifetimeMs: Int64 = Limits.forwardLifetimeMs
    ) -> [HeaderField] {
        let draft = Draft(request, .alone, signer.publicKey, created, lifetimeMs)
        return draft.headers(signature: signer.sign(draft.base))
    }

    /// The headers of each, in order, with one signature for all of them. One request alone is signed as it would be anyway.
    /// - Parameter requests: at most `Limits.sharedSignatureMessages`.
    package static func sign(
        together requests: [Unsigned], signer: some MessageSigner, created: Timestamp,
        lifetimeMs: Int64 = Limits.forwardLifetimeMs
    ) -> [[HeaderField]] {
        guard requests.count > 1 else {
            return requests.map { sign($0, signer: signer, created: created, lifetimeMs: lifetimeMs) }
        }
        let drafts = requests.map { Draft($0, .shared, signer.publicKey, created, lifetimeMs) }
        let tree = SignatureTree(of: drafts.map(\.base))
        let signature = signer.sign(tree.message)
        return drafts.enumerated().map { index, draft in
            draft.headers(signature: SharedSignature(signature: signature, proof: tree.proof(of: index)).bytes)
        }
    }

    /// All of a request but its signature.
    private struct Draft {
        private let headers: [HeaderField]
        private let serialized: String
        let base: [UInt8]

        init(
            _ request: Unsigned, _ algorithm: Algorithm, _ signer: PublicKey, _ created: Timestamp, _ lifetimeMs: Int64
        ) {
            let fields = request.fields
            headers = [
                HeaderField(request.profile.digestField, ContentDigest.value(sha256: request.contentDigest)),
                HeaderField("aisbf-request-id", fields.requestID),
                HeaderField("aisbf-attempt", String(fields.attempt)),
                HeaderField("aisbf-dest", NodeKeyTexts.text(of: fields.destination)),
                HeaderField("aisbf-principal", fields.principal), HeaderField("aisbf-spend", fields.spend),
                HeaderField("aisbf-max-hops", String(fields.maxHops)),
            ]
            let lifetime = min(max(lifetimeMs, 1_000), Limits.forwardLifetimeMs) / 1_000
            let components =
                [HeaderField("@method", request.method), HeaderField("@path", request.path)] + headers
            serialized = HTTPMessageSignature.serialize(
                list: request.profile.list,
                parameters: .init(
                    created: created.seconds, expires: created.seconds + lifetime, nonce: request.nonce,
                    keyID: NodeKeyTexts.text(of: signer), algorithm: algorithm.rawValue, tag: request.profile.tag))
            base = HTTPMessageSignature.base(components: components, serialized: serialized)
        }

        func headers(signature: [UInt8]) -> [HeaderField] {
            headers + [
                HeaderField("signature-input", ForwardSignature.label + "=" + serialized),
                HeaderField(
                    "signature", HTTPMessageSignature.header(signature: signature, label: ForwardSignature.label)),
            ]
        }
    }

    /// Who signs a forward, and for whom.
    package struct Parties: Sendable {
        package var signer: PublicKey
        package var destination: PublicKey

        package init(signer: PublicKey, destination: PublicKey) {
            self.signer = signer
            self.destination = destination
        }
    }

    /// Checks form, profile, body digest, times, parties and signature, cheapest first. That it is taken once is the caller's
    /// affair.
    /// - Parameters:
    ///   - parties: who they have to be; nil: anybody.
    ///   - shared: knows the shared signatures that hold; nil where a request has to have its own.
    package static func verify(
        headers: [HeaderField], profile: Profile = .whole, method: String, path: String, bodyDigest: [UInt8],
        between parties: Parties? = nil, shared: SharedSignatureChecks? = nil, now: Timestamp
    ) -> Result<VerifiedForward, ForwardSignatureError> {
        do throws(ForwardSignatureError) {
            return .success(try check(headers, profile, method, path, bodyDigest, parties, shared, now))
        } catch {
            return .failure(error)
        }
    }

    private static func check(
        _ headers: [HeaderField], _ profile: Profile, _ method: String, _ path: String, _ bodyDigest: [UInt8],
        _ parties: Parties?, _ shared: SharedSignatureChecks?, _ now: Timestamp
    ) throws(ForwardSignatureError) -> VerifiedForward {
        let components = profile.components
        var covered = [HeaderField("@method", method), HeaderField("@path", path)]
        covered.reserveCapacity(components.count)
        for name in components.dropFirst(2) { covered.append(HeaderField(name, try single(name, in: headers))) }
        guard
            let input = HTTPMessageSignature.parseInput(
                try single("signature-input", in: headers), expecting: profile.list, components),
            let signature = HTTPMessageSignature.parseSignature(try single("signature", in: headers), label: label)
        else { throw .malformed }
        let parameters = input.parameters
        guard input.label == label, input.components == components, parameters.tag == profile.tag,
            let algorithm = parameters.algorithm.flatMap(Algorithm.init(rawValue:))
        else { throw .profile }
        guard let created = parameters.created, let expires = parameters.expires, let nonce = parameters.nonce,
            (8...64).contains(nonce.utf8.count), let signer = parameters.keyID.flatMap(NodeKeyTexts.key(in:))
        else { throw .profile }
        guard ContentDigest.parse(covered[2].value) == bodyDigest else { throw .digest }
        // Both numbers have at most 15 digits, so the arithmetic stays in range.
        guard expires > created, expires - created <= Limits.forwardLifetimeMs / 1_000 else { throw .lifetime }
        guard expires > now.seconds else { throw .expired }
        guard created * 1_000 <= now.milliseconds + Limits.clockOffsetMs else { throw .future }
        let fields = try fields(covered)
        if let parties {
            guard signer == parties.signer else { throw .signer }
            guard fields.destination == parties.destination else { throw .destination }
        }
        let base = HTTPMessageSignature.base(components: covered, serialized: input.serialized)
        switch algorithm {
        case .alone:
            guard Sodium.shared.verify(signature: signature, message: base, key: signer) else { throw .signature }
        case .shared:
            guard let shared else { throw .profile }
            guard let signature = SharedSignature(signature) else { throw .malformed }
            guard shared.holds(signature, for: base, key: signer) else { throw .signature }
        }
        return VerifiedForward(
            fields: fields, signer: signer, created: Timestamp(milliseconds: created * 1_000),
            expires: Timestamp(milliseconds: expires * 1_000), nonce: nonce)
    }

    /// The one value of a field.
    fileprivate static func single(
        _ name: String, in headers: [HeaderField]
    ) throws(ForwardSignatureError) -> String {
        var value: String?
        let length = name.utf8.count
        for header in headers where header.name.utf8.count == length && header.name == name {
            if value != nil { throw .doubled }
            value = header.value
        }
        guard let value else { throw .missing }
        // A line break inside a value could pass for another component of the signature base.
        guard value.utf8.count <= Limits.signatureHeaderBytes, value.isPrintableASCII else { throw .malformed }
        return value
    }

    private static func fields(
        _ covered: [HeaderField]
    ) throws(ForwardSignatureError) -> ForwardFields {
        guard let attempt = number(covered[4].value), let maxHops = number(covered[8].value), !covered[3].value.isEmpty,
            let destination = NodeKeyTexts.key(in: covered[5].value)
        else { throw .malformed }
        return ForwardFields(
            requestID: covered[3].value, attempt: attempt, destination: destination, principal: covered[6].value,
            spend: covered[7].value, maxHops: maxHops)
    }

    /// Decimal digits only, at most four: `Int` would also take signs.
    private static func number(_ text: String) -> Int? {
        guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(text)
    }
}

/// Profile `aisbf-upload-end-v1`: the trailer of a streamed upload, which holds every byte of it to the node that sent
/// it. The worker's request is whole only when this was checked.
package enum UploadSignature {
    package static let tag = "aisbf-upload-end-v1"
    package static let components = ["content-digest", "aisbf-request-id", "aisbf-attempt", "aisbf-dest"]

    /// The trailer fields, in lower case.
    /// - Parameters:
    ///   - contentDigest: SHA-256 of the upload, without the payload before it.
    ///   - fields: those of the forward that the upload belongs to.
    package static func sign(
        contentDigest: [UInt8], fields: ForwardFields, signer: some MessageSigner, created: Timestamp
    ) -> [HeaderField] {
        var trailer = covered(ContentDigest.value(sha256: contentDigest), fields)
        let parameters = HTTPMessageSignature.Parameters(
            created: created.seconds, keyID: NodeKeyTexts.text(of: signer.publicKey), algorithm: "ed25519", tag: tag)
        let (input, signature) = HTTPMessageSignature.sign(
            components: trailer, parameters: parameters, label: ForwardSignature.label, signer: signer)
        trailer.append(HeaderField("signature-input", input))
        trailer.append(HeaderField("signature", signature))
        return trailer
    }

    /// Whether `signer` says in `trailers` that this digest is that of the upload of `fields`. It needs no time of its
    /// own: it belongs to one request and attempt, whose signature has one.
    package static func holds(
        trailers: [HeaderField], contentDigest: [UInt8], fields: ForwardFields, signer: PublicKey
    ) -> Bool {
        func single(_ name: String) -> String? {
            do throws(ForwardSignatureError) { return try ForwardSignature.single(name, in: trailers) } catch {
                return nil
            }
        }
        let covered = covered(ContentDigest.value(sha256: contentDigest), fields)
        guard covered.allSatisfy({ single($0.name) == $0.value }),
            let input = single("signature-input").flatMap({ HTTPMessageSignature.parseInput($0) }),
            let signature = single("signature").flatMap({
                HTTPMessageSignature.parseSignature($0, label: ForwardSignature.label)
            }),
            input.label == ForwardSignature.label, input.components == components,
            input.parameters.algorithm == "ed25519", input.parameters.tag == tag,
            input.parameters.keyID == NodeKeyTexts.text(of: signer)
        else { return false }
        let base = HTTPMessageSignature.base(components: covered, serialized: input.serialized)
        return Sodium.shared.verify(signature: signature, message: base, key: signer)
    }

    private static func covered(_ digest: String, _ fields: ForwardFields) -> [HeaderField] {
        [
            HeaderField("content-digest", digest), HeaderField("aisbf-request-id", fields.requestID),
            HeaderField("aisbf-attempt", String(fields.attempt)),
            HeaderField("aisbf-dest", NodeKeyTexts.text(of: fields.destination)),
        ]
    }
}
