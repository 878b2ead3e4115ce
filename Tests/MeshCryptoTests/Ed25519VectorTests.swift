import Foundation
import MeshCrypto
import MeshModel
import Testing

@Suite struct Ed25519VectorTests {
    struct Wycheproof: Decodable {
        struct Group: Decodable {
            struct Key: Decodable { let pk: String }
            struct Test: Decodable {
                let tcId: Int
                let msg: String
                let sig: String
                let result: String
            }
            let publicKey: Key
            let tests: [Test]
        }
        let testGroups: [Group]
    }

    struct SpecCheck: Decodable {
        let message: String
        let pub_key: String
        let signature: String
    }

    static func file(_ name: String) throws -> Data {
        let url = try #require(Bundle.module.url(forResource: "Vectors/\(name)", withExtension: nil))
        return try Data(contentsOf: url)
    }

    private func verify(_ key: String, _ message: String, _ signature: String) throws -> Bool {
        let keyBytes = try #require(bytesOfHex(key))
        let messageBytes = try #require(bytesOfHex(message))
        let signatureBytes = try #require(bytesOfHex(signature))
        guard let key = PublicKey(keyBytes) else { return false }
        return Sodium.shared.verify(signature: signatureBytes, message: messageBytes, key: key)
    }

    @Test func wycheproof() throws {
        let vectors = try JSONDecoder().decode(Wycheproof.self, from: Self.file("wycheproof-ed25519.json"))
        var count = 0
        for group in vectors.testGroups {
            for test in group.tests {
                count += 1
                let isValid = try verify(group.publicKey.pk, test.msg, test.sig)
                #expect(isValid == (test.result == "valid"), "tcId \(test.tcId)")
            }
        }
        #expect(count > 100)
    }

    /// The twelve cases on which verifiers disagree. These are the verdicts of libsodium 1.0.18; a change of them
    /// would split the mesh into nodes that take a record and nodes that do not.
    @Test func specCheckVerdictsArePinned() throws {
        let vectors = try JSONDecoder().decode([SpecCheck].self, from: Self.file("ed25519-speccheck.json"))
        let verdicts = try vectors.map { try verify($0.pub_key, $0.message, $0.signature) }
        let expected = [
            false, false, false, true, false, false, false, false, false, false, false, false,
        ]
        #expect(verdicts == expected)
    }

    /// The points whose order divides eight, in every encoding that decoders take, non-canonical ones included.
    static let smallOrder = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ]

    /// Such a key with such an R and S = 0 satisfies a lenient verifier for one message in a few.
    @Test(arguments: smallOrder) func smallOrderKeysSignNothing(key: String) throws {
        var taken: [String] = []
        for point in Self.smallOrder {
            for number in 0..<32 {
                let scalar = String(repeating: "0", count: 64)
                if try verify(key, hexText([UInt8(number)]), point + scalar) { taken.append(point) }
            }
        }
        #expect(taken.isEmpty)
    }

    @Test func aSignatureHoldsForItsMessageAndKeyOnly() throws {
        let key = try #require(SigningKey(seed: Array(repeating: 1, count: 32)))
        let other = try #require(SigningKey(seed: Array(repeating: 2, count: 32)))
        let signature = key.sign([1, 2, 3])
        #expect(Sodium.shared.verify(signature: signature, message: [1, 2, 3], key: key.publicKey))
        #expect(!Sodium.shared.verify(signature: signature, message: [1, 2, 4], key: key.publicKey))
        #expect(!Sodium.shared.verify(signature: signature, message: [1, 2, 3], key: other.publicKey))
        #expect(!Sodium.shared.verify(signature: signature.dropLast(), message: [1, 2, 3], key: key.publicKey))
        #expect(SigningKey(seed: [1]) == nil)
        #expect(!"\(key)".contains(hexText(key.seed)))
    }
}

extension Sodium {
    fileprivate func verify(signature: ArraySlice<UInt8>, message: [UInt8], key: PublicKey) -> Bool {
        verify(signature: Array(signature), message: message, key: key)
    }
}
