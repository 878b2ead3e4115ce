import Foundation
import GRDB
import MeshModel
import MeshStore
import Testing

@Suite struct AttachKeyTermsTests {
    @Test func termsComeBackAsTheyWere() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        let keys = [
            AttachKeyEntry(
                publicKey: publicKey(10), label: "old rig", createdAt: time, notAfter: time,
                allowedHosts: [publicKey(3), publicKey(2)], derivation: .argon2id,
                proof: [UInt8](repeating: 5, count: 64)),
            attachKey(11),
        ]
        try store.createProvider(provider("gpu", attachKeys: keys))
        #expect(try store.provider(scope: .user("mia"), id: "gpu")?.attachKeys == keys)
        try store.replaceAttachKeys(scope: .user("mia"), id: "gpu", keys.reversed())
        #expect(try store.provider(scope: .user("mia"), id: "gpu")?.attachKeys == keys.reversed())
    }

    @Test func nodesOfATokenAreBounded() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        var key = attachKey(10)
        key.allowedHosts = (0..<UInt8(Limits.attachKeyHosts)).map(publicKey)
        try store.createProvider(provider("most", attachKeys: [key]))
        key = attachKey(11)
        key.allowedHosts = (0...UInt8(Limits.attachKeyHosts)).map(publicKey)
        guard case .invalid? = storeError({ try store.createProvider(provider("more", attachKeys: [key])) }) else {
            Issue.record("more nodes than an advert may hold were stored")
            return
        }
    }

    @Test func aProofIsAddedOnceAndBringsNoKeyBack() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        let old = AttachKeyEntry(publicKey: publicKey(10), label: "rig", createdAt: time, notAfter: time)
        try store.createProvider(provider("gpu", attachKeys: [old, attachKey(11)]))
        let proof = [UInt8](repeating: 5, count: 64)
        #expect(try store.addAttachKeyProof(old.publicKey, proof))
        #expect(try !store.addAttachKeyProof(old.publicKey, [UInt8](repeating: 6, count: 64)))
        var proven = old
        proven.proof = proof
        #expect(try store.provider(scope: .user("mia"), id: "gpu")?.attachKeys == [proven, attachKey(11)])
        try store.replaceAttachKeys(scope: .user("mia"), id: "gpu", [])
        #expect(try !store.addAttachKeyProof(publicKey(11), proof))
        #expect(try store.provider(scope: .user("mia"), id: "gpu")?.attachKeys == [])
        guard case .invalid? = storeError({ try store.addAttachKeyProof(publicKey(11), [1]) }) else {
            Issue.record("half a proof was stored")
            return
        }
    }

    /// A database as the first release left it: migrations 1 and 2, and what was in it.
    @Test func aDatabaseOfTheFirstReleaseIsBroughtUpToDate() throws {
        let scratch = try ScratchDirectory()
        let current = try MeshStore.open(scratch.database)
        try current.createProvider(
            provider("gpu", attachKeys: [attachKey(10, notAfter: time), attachKey(11)]))
        try current.setMeta("kept", "yes")
        try current.close()
        let queue = try DatabaseQueue(path: scratch.database)
        try queue.write { database in
            try database.execute(sql: "ALTER TABLE attach_keys DROP COLUMN allowed_hosts")
            try database.execute(sql: "ALTER TABLE attach_keys DROP COLUMN derivation")
            try database.execute(sql: "ALTER TABLE attach_keys DROP COLUMN proof")
            try database.execute(sql: "DROP TABLE names")
            try database.execute(sql: "DROP TABLE mesh_rules")
            try database.execute(sql: "DROP TABLE upstreams")
            for table in ["market", "quotas", "quota_slices", "usage", "prices"] {
                try database.execute(sql: "DROP TABLE \(table)")
            }
            try database.execute(sql: "ALTER TABLE providers DROP COLUMN data_policy")
            try database.execute(sql: "ALTER TABLE api_keys DROP COLUMN default_model")
            // They are texts: `10` stands before `3`.
            try database.execute(sql: "DELETE FROM grdb_migrations WHERE CAST(identifier AS INTEGER) > 2")
            #expect(
                try String.fetchAll(database, sql: "SELECT identifier FROM grdb_migrations ORDER BY identifier")
                    == ["1 accounts", "2 records"])
        }
        try queue.close()

        let store = try MeshStore.open(scratch.database)
        #expect(
            try store.providers() == [provider("gpu", attachKeys: [attachKey(10, notAfter: time), attachKey(11)])])
        #expect(try store.meta("kept") == "yes")
        var keys = [attachKey(11), attachKey(12)]
        keys[1].allowedHosts = [publicKey(1)]
        keys[1].derivation = .argon2id
        try store.replaceAttachKeys(scope: .user("mia"), id: "gpu", keys)
        #expect(try store.provider(scope: .user("mia"), id: "gpu")?.attachKeys == keys)
    }

    @Test func aWayToDeriveThatIsNotKnownIsDamageAndNoGuess() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        try store.createProvider(provider("gpu", attachKeys: [attachKey(10)]))
        try store.close()
        let queue = try DatabaseQueue(path: scratch.database)
        try queue.write { try $0.execute(sql: "UPDATE attach_keys SET derivation = 7") }
        try queue.close()
        let again = try MeshStore.open(scratch.database)
        guard case .corrupt? = storeError({ _ = try again.providers() }) else {
            Issue.record("an attach key of unknown derivation was read")
            return
        }
    }
}
