internal import MeshBroker
import MeshCrypto
import MeshModel
internal import MeshRouting
import MeshWire
internal import OrderedCollections

/// A node's disk: what is on it survives a crash, and nothing else does.
struct SimulatedDisk: Sendable {
    private var versions: OrderedDictionary<PublicKey, RecordVersion> = [:]
    private var records: OrderedDictionary<RecordKey, VerifiedRecord> = [:]
    private var ownRecords: OrderedDictionary<RecordKey, VerifiedRecord> = [:]
    private(set) var names: OrderedDictionary<MeshName, NamePin> = [:]
    /// What was ever written with each version, to compare with what is said.
    private var written: [VersionUse: Bytes32] = [:]

    /// One version of one signer: it stands for one record for ever.
    struct VersionUse: Hashable, Sendable {
        var signer: PublicKey
        var version: RecordVersion
    }

    /// What the node knows again after a restart.
    var stored: [VerifiedRecord] { Array(records.values) + ownRecords.values }

    func record(_ key: RecordKey) -> VerifiedRecord? { ownRecords[key] ?? records[key] }

    func lastVersion(of signer: PublicKey) -> RecordVersion? { versions[signer] }

    func hash(writtenAs use: VersionUse) -> Bytes32? { written[use] }

    // MARK: The cache of what others said

    mutating func keep(_ record: VerifiedRecord) { records[record.key] = record }

    mutating func forget(_ key: RecordKey) {
        records.removeValue(forKey: key)
        ownRecords.removeValue(forKey: key)
    }

    // MARK: What must not be lost

    /// - Returns: false when one of the versions was already used for something else.
    mutating func write(_ outcome: StoreOutcome, _ batch: StoreBatch) -> Bool {
        var isSound = true
        if case .names(let changes) = batch {
            for change in changes {
                switch change {
                case .save(let pin): names[pin.name] = pin
                case .remove(let name): names.removeValue(forKey: name)
                }
            }
        }
        if case .records(let outcomes) = outcome {
            for record in outcomes.compactMap(\.record) where !write(record) { isSound = false }
        }
        return isSound
    }

    mutating func write(_ record: VerifiedRecord) -> Bool {
        versions[record.signer] = [versions[record.signer], record.version].compactMap { $0 }.max()
        if record.type.isReconciled { ownRecords[record.key] = record }
        let use = VersionUse(signer: record.signer, version: record.version)
        let before = written.updateValue(record.hash, forKey: use)
        return before == nil || before == record.hash
    }
}
