import Logging
import MeshBroker
import MeshCrypto
import MeshModel
import MeshRouting
import MeshStore
import MeshWire

/// Puts the broker's batches on the disk, one transaction each, and makes the records of a batch on the way: only there
/// do they get their versions. Everything here blocks.
final class BatchWriter: Sendable {
    private let store: MeshStore
    private let signers: Signers
    private let network: NetworkID
    private let epoch: UInt32
    private let logger: Logger
    private let unstored: UnstoredVersions

    init(store: MeshStore, signers: Signers, network: NetworkID, startedAt: Timestamp, logger: Logger) {
        self.store = store
        self.signers = signers
        self.network = network
        self.logger = logger
        epoch = RecordVersion.epoch(at: startedAt)
        unstored = UnstoredVersions(store)
    }

    /// - Parameter maySign: false while this node's clock cannot be trusted.
    /// - Throws: when the store is damaged. Lack of room is an outcome.
    func write(_ batch: StoreBatch, maySign: Bool, wall: Timestamp) throws(StoreError) -> StoreOutcome {
        switch batch {
        case .names(let changes): return .names(isStored: try isStored(changes))
        case .records(let requests):
            var records = [VerifiedRecord?](repeating: nil, count: requests.count)
            if maySign { records = try made(requests, wall) }
            return .records(zip(requests, records).map { SigningOutcome(request: $0, record: $1) })
        }
    }

    /// Writes down the versions that are not, if there is room.
    func settle() throws(StoreError) { try unstored.settle() }

    private func isStored(_ changes: [NameChange]) throws(StoreError) -> Bool {
        do throws(StoreError) { try store.saveNames(changes) } catch {
            guard error.isPassing else { throw error }
            return false
        }
        return true
    }

    /// In one transaction; nil for what cannot be signed now.
    private func made(_ requests: [SigningRequest], _ wall: Timestamp) throws(StoreError) -> [VerifiedRecord?] {
        let keys = requests.map { signers.key($0.signer) }
        for (request, key) in zip(requests, keys) where key == nil {
            // The key went away meanwhile (a worker's token after its session ended): nothing is owed.
            logger.debug("no key to sign with", metadata: ["record.type": "\(request.type.name)"])
        }
        let signable = requests.indices.filter { keys[$0] != nil && requests[$0].body.count <= Limits.recordBodyBytes }
        var records = [VerifiedRecord?](repeating: nil, count: requests.count)
        guard !signable.isEmpty else { return records }
        do throws(StoreError) {
            try unstored.settle()
            guard unstored.isEmpty else { throw .full(path: store.path) }
            let claims = signable.map { MeshStore.VersionClaim(requests[$0]) }
            let stored = try store.makeRecords(claims, epoch: epoch) { place, version in
                let request = requests[signable[place]]
                return keys[signable[place]].map { key in
                    MeshStore.MadeRecord(
                        bytes: signed(request, version, by: key, wall), isKept: request.type.isReconciled)
                }
            }
            for (place, bytes) in zip(signable, stored) { records[place] = bytes.flatMap { verified($0, wall) } }
        } catch {
            guard error.isPassing else { throw error }
            // What nobody has to remember is said all the same.
            for place in signable where !requests[place].type.isReconciled {
                let request = requests[place]
                guard let key = keys[place], let version = try unstored.next(.init(request), epoch: epoch)
                else { continue }
                records[place] = verified(signed(request, version, by: key, wall), wall)
            }
        }
        return records
    }

    private func signed(
        _ request: SigningRequest, _ version: RecordVersion, by key: SigningKey, _ wall: Timestamp
    ) -> [UInt8] {
        RecordDraft(
            type: request.type, network: network, signer: request.signer, name: request.name, version: version,
            issued: wall, expires: wall.advanced(byMilliseconds: request.lifeMs), isTombstone: request.isTombstone,
            body: request.body
        ).signed(by: key, cryptography: Sodium.shared)
    }

    private func verified(_ bytes: [UInt8], _ wall: Timestamp) -> VerifiedRecord? {
        switch VerifiedRecord.verify(bytes: bytes, network: network, wall: wall, cryptography: Sodium.shared) {
        case .success(let record): return record
        case .failure(let reason):
            logger.error(
                "a record of this node would be refused everywhere; was its clock set back?",
                metadata: ["reason": "\(reason.rawValue)"])
            return nil
        }
    }
}

extension MeshStore.VersionClaim {
    init(_ request: SigningRequest) { self.init(signer: request.signer, above: request.above) }
}
