import MeshCrypto
import MeshModel
import Testing

@Suite struct SignatureTreeTests {
    /// The leaves of the reference implementation of certificate transparency, and the roots of the first ones of them.
    private static let leaves = [
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    ].map(bytes)
    private static let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ].map(bytes)

    private static func bytes(_ hex: String) -> [UInt8] {
        stride(from: 0, to: hex.utf8.count, by: 2).compactMap { UInt8(hex.dropFirst($0).prefix(2), radix: 16) }
    }

    @Test(arguments: 1...8)
    func theRootIsTheOneOfTheStandard(count: Int) {
        let message = SignatureTree(of: Array(Self.leaves.prefix(count))).message
        #expect(message == Array("aisbf-forwards-v1\0".utf8) + [0, UInt8(count)] + Self.roots[count - 1])
    }

    @Test func everyMessageOfEveryTreeIsProvenAndNoOther() {
        for count in 1...Limits.sharedSignatureMessages {
            let messages = (0..<count).map { [UInt8](repeating: UInt8($0), count: $0) }
            let tree = SignatureTree(of: messages)
            for index in 0..<count {
                let proof = tree.proof(of: index)
                #expect(SignatureTree.message(proving: messages[index], by: proof) == tree.message)
                #expect(SignatureTree.message(proving: messages[index] + [0], by: proof) != tree.message)
                #expect(proof.path.count <= 6)
            }
        }
    }

    /// Whatever of a proof is changed: it leads to another root, or nowhere.
    @Test func aChangedProofProvesNothing() {
        for count in [2, 3, 5, 8, 33, 64] {
            let messages = (0..<count).map { [UInt8($0)] }
            let tree = SignatureTree(of: messages)
            for index in 0..<count {
                let proof = tree.proof(of: index)
                var others: [SignatureTree.Proof] = []
                for step in proof.path.indices {
                    var other = proof
                    other.path[step][index % 32] ^= 1
                    others.append(other)
                    other = proof
                    other.path.remove(at: step)
                    others.append(other)
                    other = proof
                    other.path.insert(proof.path[step], at: step)
                    others.append(other)
                    other = proof
                    other.path[step].removeLast()
                    others.append(other)
                }
                for number in -1...Limits.sharedSignatureMessages + 1 {
                    var other = proof
                    if number != index {
                        other.index = number
                        others.append(other)
                    }
                    other = proof
                    if number != count {
                        other.count = number
                        others.append(other)
                    }
                }
                #expect(!others.contains { SignatureTree.message(proving: messages[index], by: $0) == tree.message })
            }
        }
    }

    /// Two hashes in a row are no message: leaves and nodes begin with different bytes.
    @Test func aNodeIsNoLeaf() {
        let tree = SignatureTree(of: [[1], [2], [3], [4]])
        let left = Sodium.shared.sha256([0, 1]) + Sodium.shared.sha256([0, 2])
        let proof = SignatureTree.Proof(index: 0, count: 2, path: Array(tree.proof(of: 0).path.suffix(1)))
        #expect(SignatureTree.message(proving: left, by: proof).map { $0.suffix(32) } != tree.message.suffix(32))
    }

    @Test func bytesOfAnotherShapeAreNone() throws {
        let tree = SignatureTree(of: (0..<64).map { [UInt8($0)] })
        let shared = SharedSignature(signature: [UInt8](repeating: 7, count: 64), proof: tree.proof(of: 63))
        #expect(shared.bytes.count == 64 + 4 + 6 * 32 && SharedSignature(shared.bytes) == shared)
        for count in [0, 63, 64, 67, 69, 99, 101, shared.bytes.count - 1] {
            #expect(SharedSignature(Array(shared.bytes.prefix(count))) == nil)
        }
        #expect(SharedSignature(Array(shared.bytes.prefix(68))) != nil)
        #expect(SharedSignature(shared.bytes + [UInt8](repeating: 0, count: 32)) == nil)
    }

    @Test func aSignatureIsCheckedForItsOwnMessagesAndKey() throws {
        let (key, other) = (SigningKey.random(), SigningKey.random())
        let messages: [[UInt8]] = [[1], [2], [3]]
        let tree = SignatureTree(of: messages)
        let signature = key.sign(tree.message)
        let checks = SharedSignatureChecks(capacity: 2)
        for round in 0..<2 {
            for (index, message) in messages.enumerated() {
                let shared = SharedSignature(signature: signature, proof: tree.proof(of: index))
                #expect(checks.holds(shared, for: message, key: key.publicKey), "round \(round)")
                #expect(!checks.holds(shared, for: message, key: other.publicKey))
                #expect(!checks.holds(shared, for: message + [0], key: key.publicKey))
                var forged = shared
                forged.signature[0] ^= 1
                #expect(!checks.holds(forged, for: message, key: key.publicKey))
            }
        }
    }

    /// What is forgotten is checked again.
    @Test func onlySoManyAreRemembered() {
        let key = SigningKey.random()
        let checks = SharedSignatureChecks(capacity: 2)
        let trees = (0..<9).map { SignatureTree(of: [[UInt8($0)], [UInt8($0), 1]]) }
        for _ in 0..<3 {
            for (number, tree) in trees.enumerated() {
                let shared = SharedSignature(signature: key.sign(tree.message), proof: tree.proof(of: 0))
                #expect(checks.holds(shared, for: [UInt8(number)], key: key.publicKey))
            }
        }
    }
}

@Suite struct SharedForwardSignatureTests {
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)
    private static let digest = [UInt8](repeating: 5, count: 32)
    private let key = SigningKey.random()
    private let checks = SharedSignatureChecks()

    private func unsigned(_ attempt: Int, _ profile: ForwardSignature.Profile = .whole) -> ForwardSignature.Unsigned {
        .init(
            fields: ForwardFields(
                requestID: "req-1", attempt: attempt, destination: key.publicKey, principal: "p", spend: "none",
                maxHops: 1),
            profile: profile, path: "/p", contentDigest: Self.digest, nonce: "0123456789\(attempt)")
    }

    private func verify(
        _ headers: [HeaderField], _ profile: ForwardSignature.Profile = .whole, path: String = "/p",
        digest: [UInt8] = digest, takesShared: Bool = true, at now: Timestamp = now
    ) -> Result<VerifiedForward, ForwardSignatureError> {
        ForwardSignature.verify(
            headers: headers, profile: profile, method: "POST", path: path,
            bodyDigest: digest, shared: takesShared ? checks : nil, now: now)
    }

    private func signature(_ headers: [HeaderField]) -> String {
        headers.first { $0.name == "signature" }?.value ?? ""
    }

    @Test func eachOfThemIsProvenByItself() throws {
        let profiles: [ForwardSignature.Profile] = [.whole, .upload, .whole]
        let requests = profiles.enumerated().map { unsigned($0 + 1, $1) }
        let signed = ForwardSignature.sign(together: requests, signer: key, created: Self.now)
        for (index, headers) in signed.enumerated() {
            let forward = try verify(headers, profiles[index]).get()
            #expect(forward.fields.attempt == index + 1 && forward.signer == key.publicKey)
            // Whoever does not take them is not told that it holds.
            #expect(verify(headers, profiles[index], takesShared: false) == .failure(.profile))
            #expect(verify(headers, profiles[index], path: "/q") == .failure(.signature))
            #expect(verify(headers, profiles[index], digest: [1]) == .failure(.digest))
            #expect(
                verify(headers, profiles[index], at: Self.now.advanced(byMilliseconds: 61_000)) == .failure(.expired))
        }
    }

    /// The place of one is not the other's, and what was signed for one alone holds for no tree.
    @Test func noneTakesAnothersPlace() {
        let signed = ForwardSignature.sign(together: (1...4).map { unsigned($0) }, signer: key, created: Self.now)
        let alone = ForwardSignature.sign(unsigned(1), signer: key, created: Self.now)
        for (index, headers) in signed.enumerated() {
            for (place, other) in (signed + [alone]).enumerated() where place != index {
                var changed = headers
                changed[changed.count - 1].value = signature(other)
                guard case .failure = verify(changed) else {
                    Issue.record("request \(index) holds with the signature of \(place)")
                    continue
                }
            }
        }
        var changed = alone
        changed[changed.count - 1].value = signature(signed[0])
        #expect(verify(changed) == .failure(.signature))
    }

    @Test func everyChangedHeaderIsNoticed() throws {
        let signed = ForwardSignature.sign(together: [unsigned(1), unsigned(2)], signer: key, created: Self.now)
        // Known by now, which makes nothing easier.
        _ = try verify(signed[0]).get()
        for index in signed[0].indices {
            var changed = signed[0]
            changed[index].value = String(changed[index].value.dropLast()) + "~"
            if case .success = verify(changed) { Issue.record("changed \(changed[index].name) was accepted") }
        }
    }

    /// What was sent once is read for ever.
    @Test func goldenSignatures() throws {
        let key = try #require(SigningKey(seed: [UInt8](repeating: 7, count: 32)))
        let requests = (1...3).map { attempt in
            ForwardSignature.Unsigned(
                fields: ForwardFields(
                    requestID: "req-1", attempt: attempt, destination: key.publicKey, principal: "p", spend: "none",
                    maxHops: 1),
                path: "/p", contentDigest: Self.digest, nonce: "0123456789\(attempt)")
        }
        let signed = ForwardSignature.sign(together: requests, signer: key, created: Self.now)
        #expect(signed.map(signature) == Self.golden)
        for headers in signed { _ = try verify(headers).get() }
    }

    /// The tree and the signature over it were checked by another program.
    private static let golden = [
        "aisbf=:j7iVVFlptH73xffFIWZi52D6iFdw63ZX5ztVXMq2s88XIBXS/D9kROZpBYHY5UKWJ/UuhQ8Z5RaGxvQWayMeBQAAAANFr"
            + "Iap2wqmxkxwscuNuEZ+lBWA3xfr05tnaLuMEqfQEFcljlPdJPasrSlQANKjSyeqTareB2CydbO/GDdvz2R4:",
        "aisbf=:j7iVVFlptH73xffFIWZi52D6iFdw63ZX5ztVXMq2s88XIBXS/D9kROZpBYHY5UKWJ/UuhQ8Z5RaGxvQWayMeBQABAAN2s"
            + "lfkoPkuaWo+BYAhIFD5yA8mQ8ov6rm9xhfH8AosDFcljlPdJPasrSlQANKjSyeqTareB2CydbO/GDdvz2R4:",
        "aisbf=:j7iVVFlptH73xffFIWZi52D6iFdw63ZX5ztVXMq2s88XIBXS/D9kROZpBYHY5UKWJ/UuhQ8Z5RaGxvQWayMeBQACAAPfC"
            + "4ZUvIFjcdvNH0HCDE7h7FW9VpaW7cfjqH55xR4ARg==:",
    ]

    @Test func oneAloneIsSignedAsEver() {
        let together = ForwardSignature.sign(together: [unsigned(1)], signer: key, created: Self.now)
        let alone = ForwardSignature.sign(unsigned(1), signer: key, created: Self.now)
        #expect(together.count == 1 && together[0].elementsEqual(alone, by: ==))
        #expect(ForwardSignature.sign(together: [], signer: key, created: Self.now).isEmpty)
        guard case .success = verify(alone, takesShared: false) else { return #expect(Bool(false)) }
    }
}
