import MeshCrypto
import MeshModel
import Testing

@Suite struct HTTPMessageSignatureTests {
    private let seed = Base64.bytes("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=".utf8) ?? []

    /// RFC 9421, appendix B.2.6.
    @Test func signsTheEd25519ExampleOfTheStandard() throws {
        let key = try #require(SigningKey(seed: seed))
        let components = [
            HeaderField("date", "Tue, 20 Apr 2021 02:07:55 GMT"), HeaderField("@method", "POST"),
            HeaderField("@path", "/foo"), HeaderField("@authority", "example.com"),
            HeaderField("content-type", "application/json"), HeaderField("content-length", "18"),
        ]
        let (input, signature) = HTTPMessageSignature.sign(
            components: components, parameters: .init(created: 1_618_884_473, keyID: "test-key-ed25519"),
            label: "sig-b26", signer: key)
        #expect(
            input == "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")"
                + ";created=1618884473;keyid=\"test-key-ed25519\"")
        #expect(
            signature
                == "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:")
        #expect(HTTPMessageSignature.parseInput(input)?.components == components.map(\.name))
        #expect(HTTPMessageSignature.parseSignature(signature, label: "sig-b26")?.count == 64)
    }

    @Test(arguments: [
        "", "aisbf", "aisbf=", "aisbf=(", "aisbf=()x", "aisbf=(\"a\"", "aisbf=(\"a\"  \"b\")", "aisbf=(\"a\" )",
        "aisbf=(\"a\");created=", "aisbf=(\"a\");created=1;created=2", "aisbf=(\"a\");other=1",
        "aisbf=(\"a\");created=\"1\"", "aisbf=(\"a\"), b=(\"c\")", "aisbf=(\"a\";sf)", "Aisbf=(\"a\")",
        "aisbf=(\"a\");nonce=\"a\\\"b\"", "aisbf=(\"a\");created=9999999999999999", "aisbf=(\"a\");nonce=\"x",
    ])
    func refusesInputsOutsideTheGrammar(_ text: String) { #expect(HTTPMessageSignature.parseInput(text) == nil) }

    @Test func theLongestParametersAreWritten() {
        let text = String(repeating: "t", count: 300)
        let parameters = HTTPMessageSignature.Parameters(
            created: .min, expires: .min, nonce: text, keyID: text, algorithm: text, tag: text)
        #expect(
            HTTPMessageSignature.serialize(components: ["a"], parameters: parameters)
                == "(\"a\");created=-9223372036854775808;expires=-9223372036854775808;nonce=\"\(text)\";keyid=\"\(text)\""
                + ";alg=\"\(text)\";tag=\"\(text)\"")
    }

    /// A list that is expected is passed over in one piece; every other one is read as ever.
    @Test(arguments: [
        "(\"a\" \"b\")", "(\"a\" \"b\");created=1", "(\"a\")", "()", "(\"b\" \"a\")", "(\"a\" \"b\" \"c\")",
        "(\"a\" \"b\"", "(\"a\" \"b\")x",
        "(\"a\"  \"b\")", "(\"a\" \"b\"));created=1", "(\"a\" \"b\");created=1;created=2", "(\"a\" \"bb\");tag=\"t\"",
    ])
    func anExpectedListReadsAsAnyOther(_ member: String) {
        let components = ["a", "b"]
        let list = HTTPMessageSignature.list(components)
        let read = HTTPMessageSignature.parseInput("aisbf=" + member)
        #expect(HTTPMessageSignature.parseInput("aisbf=" + member, expecting: list, components) == read)
        #expect((read?.components == components) == (read != nil && member.hasPrefix(list)))
    }

    private static let body = Array("{\"model\":\"m\"}".utf8)
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)

    private func signed(by key: SigningKey) -> [HeaderField] {
        let fields = ForwardFields(
            requestID: "req-1", attempt: 2, destination: key.publicKey, principal: "owner-1", spend: "none", maxHops: 1)
        return ForwardSignature.sign(
            .init(
                fields: fields, path: "/mesh/v1/forward", contentDigest: Sodium.shared.sha256(Self.body),
                nonce: "0123456789abcdef"), signer: key, created: Self.now
        )
    }

    private func verify(
        _ headers: [HeaderField], path: String = "/mesh/v1/forward", body: [UInt8] = body, at now: Timestamp = now
    ) -> Result<VerifiedForward, ForwardSignatureError> {
        ForwardSignature.verify(
            headers: headers, method: "POST", path: path, bodyDigest: Sodium.shared.sha256(body), now: now)
    }

    @Test func acceptsWhatItSigned() throws {
        let key = SigningKey.random()
        let forward = try verify(signed(by: key)).get()
        #expect(forward.signer == key.publicKey)
        #expect(forward.fields.attempt == 2)
        #expect(forward.fields.destination == key.publicKey)
        #expect(forward.nonce == "0123456789abcdef")
    }

    @Test func refusesEveryMissingDoubledOrChangedHeader() {
        let headers = signed(by: .random())
        for index in headers.indices {
            var without = headers
            without.remove(at: index)
            #expect(verify(without) == .failure(.missing))
            #expect(verify(headers + [headers[index]]) == .failure(.doubled))
            var changed = headers
            changed[index].value = String(changed[index].value.dropLast()) + "~"
            if case .success = verify(changed) { Issue.record("changed \(headers[index].name) was accepted") }
        }
    }

    @Test func refusesAnotherBodyPathOrTime() {
        let headers = signed(by: .random())
        #expect(verify(headers, body: [1]) == .failure(.digest))
        #expect(verify(headers, path: "/other") == .failure(.signature))
        #expect(verify(headers, at: Self.now.advanced(byMilliseconds: 61_000)) == .failure(.expired))
        #expect(verify(headers, at: Self.now.advanced(byMilliseconds: -120_000)) == .failure(.future))
    }

    @Test func refusesALineBreakInAValue() {
        var headers = signed(by: .random())
        headers[4].value = "a\n\"aisbf-spend\": all"
        #expect(verify(headers) == .failure(.malformed))
    }

    @Test(arguments: ["", "sha-256=::", "sha-256=:AAAA:", "sha-512=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"])
    func refusesOtherDigests(_ text: String) { #expect(ContentDigest.parse(text) == nil) }

    @Test func digestsTheEmptyBody() {
        #expect(ContentDigest.value(of: [UInt8]()) == "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")
        #expect(ContentDigest.parse(ContentDigest.value(of: [UInt8]()))?.count == 32)
    }
}

@Suite struct UploadSignatureTests {
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)

    private static func fields(_ attempt: Int = 1, to destination: PublicKey) -> ForwardFields {
        ForwardFields(
            requestID: "req-1", attempt: attempt, destination: destination, principal: "p", spend: "none", maxHops: 1)
    }

    @Test func holdsForItsOwnBytesRequestAndSignerOnly() {
        let (key, node) = (SigningKey.random(), SigningKey.random().publicKey)
        var digest = Sodium.shared.sha256Stream()
        [UInt8]("ab".utf8).withUnsafeBytes { digest.update($0) }
        [UInt8]("c".utf8).withUnsafeBytes { digest.update($0) }
        #expect(digest.digest() == Sodium.shared.sha256(Array("abc".utf8)))
        let fields = Self.fields(to: node)
        let trailers = UploadSignature.sign(
            contentDigest: digest.digest(), fields: fields, signer: key, created: Self.now
        )
        func holds(
            _ trailers: [HeaderField], bytes: String = "abc", _ fields: ForwardFields, _ signer: PublicKey
        ) -> Bool {
            UploadSignature.holds(
                trailers: trailers, contentDigest: Sodium.shared.sha256(Array(bytes.utf8)), fields: fields,
                signer: signer)
        }
        #expect(holds(trailers, fields, key.publicKey))
        #expect(!holds(trailers, bytes: "abd", fields, key.publicKey))
        #expect(!holds(trailers, Self.fields(2, to: node), key.publicKey))
        #expect(!holds(trailers, Self.fields(to: key.publicKey), key.publicKey))
        #expect(!holds(trailers, fields, node))
        for index in trailers.indices {
            var other = trailers
            other.remove(at: index)
            #expect(!holds(other, fields, key.publicKey))
            other = trailers + [trailers[index]]
            #expect(!holds(other, fields, key.publicKey))
            other = trailers
            other[index].value += "x"
            #expect(!holds(other, fields, key.publicKey))
        }
    }

    /// A signature of a forward is none of an upload's end, nor of a forward with an upload.
    @Test func profilesDoNotMix() {
        let key = SigningKey.random()
        let digest = Sodium.shared.sha256(Array("x".utf8))
        for profile in ForwardSignature.Profile.allCases {
            let headers = ForwardSignature.sign(
                .init(
                    fields: Self.fields(to: key.publicKey), profile: profile, path: "/p", contentDigest: digest,
                    nonce: "0123456789"), signer: key, created: Self.now
            )
            for other in ForwardSignature.Profile.allCases {
                // The other profile's digest field put in does not help either.
                let both =
                    headers
                    + [HeaderField(other.digestField, ContentDigest.value(sha256: digest))].filter { _ in
                        other != profile
                    }
                let verdict = ForwardSignature.verify(
                    headers: both, profile: other, method: "POST", path: "/p", bodyDigest: digest, now: Self.now)
                #expect((try? verdict.get()) != nil ? other == profile : other != profile)
            }
            #expect(
                !UploadSignature.holds(
                    trailers: headers, contentDigest: digest, fields: Self.fields(to: key.publicKey),
                    signer: key.publicKey))
        }
    }
}
