import MeshCrypto
import MeshModel
import MeshStore
import Testing

@Suite struct RecordStoreTests {
    let scratch: ScratchDirectory
    let store: MeshStore
    let signer = SigningKey.random()

    init() throws {
        scratch = try ScratchDirectory()
        store = try MeshStore.open(scratch.database)
    }

    @Test func recordsAreKeptVerbatimAndReplacedByKey() throws {
        let first = recordBytes("a", signer: signer)
        let second = recordBytes("b", signer: signer)
        let newer = recordBytes("a", signer: signer, sequence: 2)
        try store.saveRecords([first, second])
        try store.saveRecords([newer])
        let loaded = try store.loadRecords()
        #expect(loaded.count == 2 && loaded.contains(newer) && loaded.contains(second))
        try store.deleteRecords([try recordKey(first)])
        #expect(try store.loadRecords() == [second])
        #expect(try store.ownRecords().isEmpty)
    }

    @Test func ownRecordsAreATableOfTheirOwn() throws {
        let record = recordBytes("a", signer: signer)
        try store.saveOwnRecord(record)
        #expect(try store.ownRecords() == [record])
        #expect(try store.loadRecords().isEmpty)
        try store.deleteOwnRecord(try recordKey(record))
        #expect(try store.ownRecords().isEmpty)
    }

    /// Many records in one transaction: each has a version of its own, above every one given out before, and only what is
    /// to be kept is kept.
    @Test func recordsThatAreMadeTogetherHaveTheirOwnVersions() throws {
        let other = SigningKey.random()
        let first = try store.allocateVersion(signer: signer.publicKey, epoch: 5)
        var versions: [RecordVersion] = []
        let made = try store.makeRecords(
            [signer, other, signer, signer].map { .init(signer: $0.publicKey) }, epoch: 5
        ) { place, version in
            versions.append(version)
            if place == 2 { return nil }
            return .init(bytes: recordBytes("r\(place)", signer: place == 1 ? other : signer), isKept: place != 3)
        }
        #expect(made.map { $0 == nil } == [false, false, true, false])
        #expect(try store.ownRecords().count == 2)
        #expect(first < versions[0] && versions[0] < versions[2] && versions[2] < versions[3])
        #expect(try store.lastVersion(signer: signer.publicKey) == versions[3])
        // A signer without versions costs the others nothing.
        try store.raiseVersion(signer: other.publicKey, to: RecordVersion(epoch: 0xFF_FFFF, sequence: 0xFF_FFFF_FFFF))
        let rest = try store.makeRecords(
            [.init(signer: other.publicKey), .init(signer: signer.publicKey)], epoch: 5
        ) { _, _ in
            .init(bytes: recordBytes("x", signer: signer), isKept: true)
        }
        #expect(rest.map { $0 == nil } == [true, false])
        // What the mesh holds is above what a restored backup knows of, and what is handed out is above both.
        let held = RecordVersion(epoch: 5, sequence: 1_000)
        _ = try store.makeRecords(
            [.init(signer: signer.publicKey, above: held), .init(signer: signer.publicKey, above: first)], epoch: 5
        ) { _, version in
            versions.append(version)
            return nil
        }
        #expect(versions.suffix(2).map(\.sequence) == [1_001, 1_002])
    }

    @Test func batchIsAppliedWholeOrNotAtAll() throws {
        let record = recordBytes("a", signer: signer)
        let peer = PeerEntry(nodeKey: publicKey(3), address: "node.example:7443", lastSeen: time)
        let bad: [StoreChange] = [
            .saveRecord(record), .savePeer(peer), .setMeta(key: "network", value: "x"), .saveRecord([1, 2, 3]),
        ]
        #expect(storeError { try store.apply(bad) } == .invalid("only whole records can be stored"))
        #expect(try store.loadRecords().isEmpty && store.peers().isEmpty)
        #expect(try store.meta("network") == nil)
        try store.apply(Array(bad.dropLast()))
        #expect(try store.loadRecords() == [record])
        #expect(try store.peers() == [peer])
        #expect(try store.meta("network") == "x")
        try store.apply([
            .deleteRecord(try recordKey(record)), .deletePeer(publicKey(3)), .setMeta(key: "network", value: nil),
        ])
        #expect(try store.loadRecords().isEmpty && store.peers().isEmpty)
        #expect(try store.meta("network") == nil)
    }

    @Test func peersKeepWhatAnEntryDoesNotSay() throws {
        let later = time.advanced(byMilliseconds: 1)
        try store.savePeer(PeerEntry(nodeKey: publicKey(3), address: "node.example:7443"))
        try store.savePeer(PeerEntry(nodeKey: publicKey(3), lastSeen: later))
        try store.savePeer(PeerEntry(nodeKey: publicKey(3), lastSeen: time))
        try store.savePeer(PeerEntry(nodeKey: publicKey(4), lastSeen: time))
        try store.savePeer(PeerEntry(nodeKey: publicKey(5)))
        #expect(
            try store.peers() == [
                PeerEntry(nodeKey: publicKey(3), address: "node.example:7443", lastSeen: later),
                PeerEntry(nodeKey: publicKey(4), lastSeen: time), PeerEntry(nodeKey: publicKey(5)),
            ])
    }

    @Test func peersAreBoundedAndTheStalestGo() throws {
        let changes = (0...Limits.peersStored).map { index in
            StoreChange.savePeer(
                PeerEntry(
                    nodeKey: PublicKey(Bytes32(high: .zero, low: Bytes16(high: 1, low: UInt64(index)))),
                    lastSeen: time.advanced(byMilliseconds: Int64(index))))
        }
        try store.apply(changes)
        let peers = try store.peers()
        #expect(peers.count == Limits.peersStored)
        #expect(peers.last?.lastSeen == time.advanced(byMilliseconds: 1))
    }

    @Test func metaValuesAreBounded() {
        let long = String(repeating: "x", count: Limits.metaValueBytes + 1)
        #expect(storeError { try store.setMeta("key", long) } != nil)
        #expect(storeError { try store.setMeta("key", String(long.dropLast())) } == nil)
    }

    @Test func versionsRiseWhateverTheClockDoes() throws {
        let other = SigningKey.random().publicKey
        var last = RecordVersion(raw: 0)
        for epoch: UInt32 in [100, 100, 101, 5, 0, 101, 102, 0xFFFF_FFFF, 3] {
            let version = try store.allocateVersion(signer: signer.publicKey, epoch: epoch)
            #expect(version > last)
            last = version
        }
        #expect(last.epoch == 0xFF_FFFF)
        #expect(try store.lastVersion(signer: signer.publicKey) == last)
        #expect(try store.allocateVersion(signer: other, epoch: 7) == RecordVersion(epoch: 7, sequence: 1))
    }

    @Test func versionsSurviveARestart() throws {
        let before = try store.allocateVersion(signer: signer.publicKey, epoch: 100)
        try store.close()
        let reopened = try MeshStore.open(scratch.database)
        #expect(try reopened.allocateVersion(signer: signer.publicKey, epoch: 50) > before)
    }

    @Test func versionsCarryIntoTheEpochAndEndWithAnError() throws {
        let key = signer.publicKey
        try store.raiseVersion(signer: key, to: RecordVersion(epoch: 9, sequence: 0xFF_FFFF_FFFF))
        try store.raiseVersion(signer: key, to: RecordVersion(epoch: 8, sequence: 1))
        #expect(try store.allocateVersion(signer: key, epoch: 1) == RecordVersion(epoch: 10, sequence: 1))
        try store.raiseVersion(signer: key, to: RecordVersion(raw: .max))
        guard case .invalid? = storeError({ _ = try store.allocateVersion(signer: key, epoch: 1) }) else {
            Issue.record("a version after the last one was handed out")
            return
        }
    }

    @Test func versionsAreHandedOutOnceToManyThreads() async throws {
        let store = store
        let key = signer.publicKey
        let versions = try await withThrowingTaskGroup(of: [RecordVersion].self) { group in
            for _ in 0..<8 {
                group.addTask { try (0..<25).map { _ in try store.allocateVersion(signer: key, epoch: 3) } }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(Set(versions).count == 200)
    }
}
