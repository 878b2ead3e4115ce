package import MeshCrypto
package import MeshModel
import Synchronization

/// Text that proves to another node that an owner lets this entry node ask for it:
/// `<owner>.<entry node>.<not after, ms>.<signature>`, all hexadecimal but the time.
///
/// The entry node keeps its users' owner keys, so it signs for them; a node that does not hold the key cannot
/// claim to be the owner, whatever it says.
package enum PrincipalProof {
    package static func text(owner: SigningKey, entry: PublicKey, notAfter: Timestamp) -> String {
        let statement = Statement.principal(owner: owner.publicKey, entry: entry, notAfter: notAfter)
        return "\(owner.publicKey).\(entry).\(notAfter.milliseconds).\(hexText(owner.sign(statement)))"
    }

    package static func verify(_ text: String, entry: PublicKey, wall: Timestamp) -> PublicKey? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, let owner = bytesOfHex(parts[0]).flatMap({ PublicKey($0) }),
            let node = bytesOfHex(parts[1]).flatMap({ PublicKey($0) }), node == entry, let time = Int64(parts[2]),
            let signature = bytesOfHex(parts[3])
        else { return nil }
        let notAfter = Timestamp(milliseconds: time)
        // A proof is renewed often; one that would last for days is somebody's attempt to keep it.
        guard notAfter > wall, notAfter <= wall.advanced(byMilliseconds: 2 * Limits.principalProofMs) else {
            return nil
        }
        let statement = Statement.principal(owner: owner, entry: entry, notAfter: notAfter)
        return Sodium.shared.verify(signature: signature, message: statement, key: owner) ? owner : nil
    }
}

/// Proofs this node made, and proofs of others it verified: each is signed or checked once in a while
/// instead of once per request.
final class PrincipalProofs: Sendable {
    private struct Entry {
        var text: String
        var notAfter: Timestamp
    }

    private let signers: Signers
    private let entry: PublicKey
    private let made = Mutex<[PublicKey: Entry]>([:])
    private let verified = Mutex<[String: (owner: PublicKey, node: PublicKey, notAfter: Timestamp)]>([:])

    init(signers: Signers, entry: PublicKey) {
        self.signers = signers
        self.entry = entry
    }

    /// Nil when this node does not hold the owner's key.
    func proof(of owner: PublicKey, wall: Timestamp) -> String? {
        if let entry = made.withLock({ $0[owner] }),
            entry.notAfter > wall.advanced(byMilliseconds: Limits.principalProofSpareMs)
        {
            return entry.text
        }
        guard let key = signers.key(owner) else { return nil }
        let notAfter = wall.advanced(byMilliseconds: Limits.principalProofMs)
        let text = PrincipalProof.text(owner: key, entry: entry, notAfter: notAfter)
        made.withLock { made in
            if made.count >= Limits.authenticationCacheEntries { made = [:] }
            made[owner] = Entry(text: text, notAfter: notAfter)
        }
        return text
    }

    /// The owner that `text` proves for `node`, where that was found out lately.
    func knownOwner(provenBy text: String, node: PublicKey, wall: Timestamp) -> PublicKey? {
        guard let known = verified.withLock({ $0[text] }), known.node == node, known.notAfter > wall else { return nil }
        return known.owner
    }

    /// The owner that `text` proves for `node`; nil when it proves none.
    func owner(provenBy text: String, node: PublicKey, wall: Timestamp) -> PublicKey? {
        if let known = knownOwner(provenBy: text, node: node, wall: wall) { return known }
        guard let owner = PrincipalProof.verify(text, entry: node, wall: wall) else { return nil }
        verified.withLock { verified in
            if verified.count >= Limits.authenticationCacheEntries { verified = [:] }
            verified[text] = (owner, node, wall.advanced(byMilliseconds: Limits.principalProofKeptMs))
        }
        return owner
    }
}
