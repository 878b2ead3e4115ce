import Foundation
import GRDB
import MeshCrypto
import MeshModel
import MeshStore
import Testing

@Suite struct DatabaseFileTests {
    @Test func emptyPlaceBecomesAPrivateStrictDatabase() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        try store.setMeta("key", "value")
        for name in ["", "-wal", "-shm"] { #expect(try fileMode(scratch.database + name) == 0o600) }
        try store.close()
        let queue = try DatabaseQueue(path: scratch.database)
        try queue.read { database in
            #expect(try String.fetchOne(database, sql: "PRAGMA journal_mode") == "wal")
            let tables = try String.fetchAll(
                database, sql: "SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'grdb_%'")
            #expect(tables.count == 17)
            #expect(tables.allSatisfy { $0.hasSuffix("STRICT") })
        }
    }

    @Test func everythingSurvivesReopening() throws {
        let scratch = try ScratchDirectory()
        let first = try MeshStore.open(scratch.database)
        try first.createUser(UserAccount(username: "mia", ownerKey: publicKey(1), createdAt: time))
        try first.createProvider(provider("gpu", attachKeys: [attachKey(10)]))
        try first.createAPIKey(apiKey(5))
        try first.close()
        let second = try MeshStore.open(scratch.database)
        #expect(try second.users().count == 1)
        #expect(try second.providers() == [provider("gpu", attachKeys: [attachKey(10)])])
        #expect(try second.apiKeys() == [apiKey(5)])
    }

    @Test(arguments: [0, 8_192]) func corruptFileIsNamedAndLeftAlone(offset: Int) throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        let signer = SigningKey.random()
        try store.saveRecords((0..<200).map { recordBytes("record-\($0)", signer: signer) })
        try store.close()
        var content = try Data(contentsOf: URL(fileURLWithPath: scratch.database))
        try #require(content.count > offset + 8_192)
        let damaged = offset..<(content.count - 4_096)
        content.replaceSubrange(damaged, with: Data(repeating: 0x5A, count: damaged.count))
        try content.write(to: URL(fileURLWithPath: scratch.database))
        let error = storeError { _ = try MeshStore.open(scratch.database) }
        guard case .corrupt(let path, _)? = error else {
            Issue.record("a damaged database was opened: \(String(describing: error))")
            return
        }
        #expect(path == scratch.database)
        #expect(error?.description.contains("left as it is") == true)
        #expect(try Data(contentsOf: URL(fileURLWithPath: scratch.database)) == content)
    }

    @Test func databaseOfANewerVersionIsRefused() throws {
        let scratch = try ScratchDirectory()
        try MeshStore.open(scratch.database).close()
        let queue = try DatabaseQueue(path: scratch.database)
        try queue.write {
            try $0.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('99 from the future')")
        }
        try queue.close()
        #expect(storeError { _ = try MeshStore.open(scratch.database) } == .newerSchema(path: scratch.database))
    }

    @Test func placeThatCannotHoldAFileIsNamed() throws {
        let scratch = try ScratchDirectory()
        for path in [scratch.path, scratch.path + "/missing/mesh.sqlite", "/proc/mesh.sqlite"] {
            guard case .unusable(let named, _)? = storeError({ _ = try MeshStore.open(path) }) else {
                Issue.record("opened \(path)")
                continue
            }
            #expect(named == path)
        }
    }

    @Test func fullDiskIsAnErrorAndNothingIsHalfWritten() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database, maximumPages: 64)
        let signer = SigningKey.random()
        let many = (0..<2_000).map { recordBytes("record-\($0)", signer: signer) }
        let error = storeError { try store.saveRecords(many) }
        #expect(error == .full(path: scratch.database))
        #expect(error?.description.contains("free some disk space") == true)
        #expect(try store.loadRecords().isEmpty)
        try store.saveRecords(Array(many.prefix(3)))
        #expect(try store.loadRecords().count == 3)
    }

    @Test func whetherItCanBeWrittenToIsKnown() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database, maximumPages: 64)
        #expect(store.health.state == .writable && store.probe())
        // What is refused for itself says nothing about the disk.
        #expect(storeError { try store.saveRecords([[1, 2, 3]]) } != nil)
        #expect(store.health.state == .writable && store.health.failedWrites == 0)
        let signer = SigningKey.random()
        let many = (0..<2_000).map { recordBytes("record-\($0)", signer: signer) }
        #expect(storeError { try store.saveRecords(many) }?.isLackOfRoom == true)
        #expect(store.health.state == .full && store.health.failedWrites == 1)
        // One write that finds room is no proof; looking is.
        try store.setMeta("a", "b")
        #expect(store.health.state == .full)
        #expect(store.probe() && store.health.state == .writable)
        #expect(try store.meta("probe") == nil)
        #expect(try #require(store.freeBytes) > 0)
        try store.close()
    }

    /// The rule of the design: a stolen database lets nobody attach a worker, use a key or sign as anybody.
    @Test func noSeedIsEverInTheDatabase() throws {
        let scratch = try ScratchDirectory()
        let directory = try DataDirectory.open(scratch.path)
        let identity = try NodeIdentity.initialise(in: directory).identity
        let owner = try directory.ownerKeyCreatingIfMissing("mia")
        let (token, key) = (RegistrationToken.random(), SigningKey.random())
        let secret = APIKeySecret(home: identity.node.publicKey, key: key)
        let store = try MeshStore.open(directory.layout.database)
        try store.createUser(UserAccount(username: "mia", ownerKey: owner.publicKey, createdAt: time))
        let entry = AttachKeyEntry(publicKey: token.key.publicKey, label: "rig", createdAt: time)
        try store.createProvider(provider("gpu", attachKeys: [entry]))
        try store.createAPIKey(
            APIKeyAccount(
                publicKey: key.publicKey, username: "mia", ownerKey: owner.publicKey, label: "", scopes: [.inference],
                createdAt: time))
        try store.saveOwnRecord(recordBytes("gpu", signer: owner))
        _ = try store.allocateVersion(signer: identity.node.publicKey, epoch: 1)
        try store.setMeta("admin.key.shown", "yes")

        let names = ["", "-wal"].map { directory.layout.database + $0 }
        let files = try names.map { try Data(contentsOf: URL(fileURLWithPath: $0)) }
        func occurs(_ bytes: [UInt8]) -> Bool { files.contains { $0.range(of: Data(bytes)) != nil } }
        for signing in [identity.node, identity.operatorKey, owner, token.key, key] {
            #expect(!occurs(signing.seed))
            #expect(!occurs(Array(hexText(signing.seed).utf8)))
        }
        #expect(!occurs(Array(token.text.utf8)) && !occurs(Array(secret.text.utf8)))
        // The search itself works: public keys are there.
        for signing in [owner, token.key, key] { #expect(occurs(signing.publicKey.bytes)) }
    }
}
