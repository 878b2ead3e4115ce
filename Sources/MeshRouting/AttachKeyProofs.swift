import MeshModel
import MeshWire

/// Which attach keys were signed for by their own holders (Docs/Protocol/tokens.md). Public keys are no secret: without
/// this, anybody could list somebody else's in an advert of the same name, and be given that seller's workers.
///
/// What was found is remembered per advert, so that a refreshed advert costs nothing and a new key one check. An advert
/// may list many keys, and its home may publish many; so each home has an allowance per round, and what is beyond waits
/// for the next: who publishes rubbish delays itself.
struct AttachKeyProofs: Sendable {
    private struct Proof: Hashable {
        var key: PublicKey
        var signature: [UInt8]
        /// A sealed advert may call the same provider something else the next time.
        var providerID: String
    }

    private struct Advert {
        var hash: Bytes32
        var proofs: [(proof: Proof, isGood: Bool)] = []
        var isFinished = true

        var proven: [PublicKey] { proofs.filter(\.isGood).map(\.proof.key) }
    }

    private let cryptography: any RecordCryptography
    /// What was found of an advert, by its record key, which says owner and provider id.
    private var found: [RecordKey: Advert] = [:]
    private var checked: [PublicKey: Int] = [:]
    /// Some are left for the next round.
    private(set) var isUnfinished = false

    init(cryptography: any RecordCryptography) { self.cryptography = cryptography }

    mutating func beginRound() {
        checked = [:]
        isUnfinished = false
        if found.count > Limits.recordsStored { found = [:] }
    }

    /// Those of the advert's keys that are proven.
    /// - Parameter content: stands for everything that was read in the advert.
    mutating func proven(
        _ keys: some Sequence<Aisbf_Mesh_V1_AttachKey>, of advert: VerifiedRecord, content: Bytes32, providerID: String,
        home: PublicKey
    ) -> [PublicKey] {
        let before = found[advert.key]
        if let before, before.hash == content, before.isFinished { return before.proven }
        var now = Advert(hash: content)
        for entry in keys where entry.proof.count == 64 {
            guard let key = PublicKey(entry.publicKey) else { continue }
            let proof = Proof(key: key, signature: Array(entry.proof), providerID: providerID)
            if let known = before?.proofs.first(where: { $0.proof == proof }) {
                now.proofs.append(known)
            } else if checked[home, default: 0] < Limits.attachKeyProofsPerRound {
                checked[home, default: 0] += 1
                let statement = Statement.attachKey(owner: advert.signer, providerID: providerID)
                let isGood = cryptography.verify(signature: proof.signature, message: statement, key: key)
                now.proofs.append((proof, isGood))
            } else {
                now.isFinished = false
                isUnfinished = true
            }
        }
        found[advert.key] = now
        return now.proven
    }
}
