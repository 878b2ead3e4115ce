import MeshModel

/// One signature over several messages. Their hashes are the leaves of a Merkle tree (RFC 9162, section 2.1.1), and its
/// root is signed with their number; each message goes out with the hashes that lead from it to the root, and so is proven
/// by itself: to whoever has only that one, later, and without the others.
package struct SignatureTree: Sendable {
    package static let hashBytes = 32
    /// Apart from everything else that a node's key signs.
    private static let context = Array("aisbf-forwards-v1\0".utf8)

    /// Its place among the messages, and the hashes that lead from it to the root.
    package struct Proof: Hashable, Sendable {
        package var index: Int
        package var count: Int
        package var path: [[UInt8]]

        package init(index: Int, count: Int, path: [[UInt8]]) {
            self.index = index
            self.count = count
            self.path = path
        }
    }

    /// The leaves, what each two of them make, and so on up to the root: each hash is made once.
    private let levels: [[[UInt8]]]

    /// - Parameter messages: 1 to `Limits.sharedSignatureMessages`.
    package init(of messages: [[UInt8]]) {
        var levels = [messages.map(Self.leaf)]
        while let below = levels.last, below.count > 1 {
            // One that is left over goes up as it is: the same tree as one cut at the largest power of two.
            levels.append(
                stride(from: 0, to: below.count, by: 2).map { place in
                    place + 1 < below.count ? Self.node(below[place], below[place + 1]) : below[place]
                })
        }
        self.levels = levels
    }

    private var count: Int { levels[0].count }

    /// What is signed.
    package var message: [UInt8] { Self.message(root: levels.last?.first ?? [], count: count) }

    package func proof(of index: Int) -> Proof {
        let path = levels.enumerated().compactMap { height, hashes -> [UInt8]? in
            let other = index >> height ^ 1
            return other < hashes.count ? hashes[other] : nil
        }
        return Proof(index: index, count: count, path: path)
    }

    /// What has to be signed for `message` to be proven; nil where the proof has no such shape.
    package static func message(proving message: [UInt8], by proof: Proof) -> [UInt8]? {
        guard (1...Limits.sharedSignatureMessages).contains(proof.count), (0..<proof.count).contains(proof.index) else {
            return nil
        }
        // RFC 9162, section 2.1.3.2: at each step the place says on which side the other hash stands.
        var (place, last) = (proof.index, proof.count - 1)
        var hash = leaf(message)
        for other in proof.path {
            guard last > 0, other.count == hashBytes else { return nil }
            if place & 1 == 1 || place == last {
                hash = node(other, hash)
                while place & 1 == 0, place != 0 {
                    place >>= 1
                    last >>= 1
                }
            } else {
                hash = node(hash, other)
            }
            place >>= 1
            last >>= 1
        }
        return last == 0 ? Self.message(root: hash, count: proof.count) : nil
    }

    // MARK: Hashes

    private static func message(root: [UInt8], count: Int) -> [UInt8] {
        context + [UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)] + root
    }

    /// Leaves and nodes differ in their first byte: no message passes for two hashes.
    private static func leaf(_ message: [UInt8]) -> [UInt8] { hash(0, message, []) }
    private static func node(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] { hash(1, left, right) }

    private static func hash(_ kind: UInt8, _ one: [UInt8], _ other: [UInt8]) -> [UInt8] {
        var hashed: [UInt8] = []
        hashed.reserveCapacity(1 + one.count + other.count)
        hashed.append(kind)
        hashed += one
        hashed += other
        return Sodium.shared.sha256(hashed)
    }
}

/// A signature that others share, as its bytes: the signature of the tree, two bytes of place, two of number, the path.
package struct SharedSignature: Hashable, Sendable {
    package static let signatureBytes = 64
    /// A tree of `Limits.sharedSignatureMessages` is so deep.
    private static let depth = 6

    package var signature: [UInt8]
    package var proof: SignatureTree.Proof

    package init(signature: [UInt8], proof: SignatureTree.Proof) {
        self.signature = signature
        self.proof = proof
    }

    package var bytes: [UInt8] {
        var bytes = signature
        bytes.reserveCapacity(signature.count + 4 + proof.path.count * SignatureTree.hashBytes)
        for number in [proof.index, proof.count] {
            bytes += [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)]
        }
        for hash in proof.path { bytes += hash }
        return bytes
    }

    /// Nil where the bytes have another shape; whether the proof leads anywhere is not asked here.
    package init?(_ bytes: [UInt8]) {
        let head = Self.signatureBytes + 4
        guard bytes.count >= head, (bytes.count - head) % SignatureTree.hashBytes == 0,
            (bytes.count - head) / SignatureTree.hashBytes <= Self.depth
        else { return nil }
        signature = Array(bytes[..<Self.signatureBytes])
        func number(at place: Int) -> Int { Int(bytes[place]) << 8 | Int(bytes[place + 1]) }
        proof = SignatureTree.Proof(
            index: number(at: Self.signatureBytes), count: number(at: Self.signatureBytes + 2),
            path: stride(from: head, to: bytes.count, by: SignatureTree.hashBytes).map {
                Array(bytes[$0..<$0 + SignatureTree.hashBytes])
            })
    }
}
