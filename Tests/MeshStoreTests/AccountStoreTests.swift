import MeshCrypto
import MeshModel
import MeshStore
import Testing

@Suite struct AccountStoreTests {
    let scratch: ScratchDirectory
    let store: MeshStore

    init() throws {
        scratch = try ScratchDirectory()
        store = try MeshStore.open(scratch.database)
    }

    @Test func usersAreListedByNameAndFound() throws {
        let mia = UserAccount(username: "mia", ownerKey: publicKey(1), createdAt: time)
        let adam = UserAccount(username: "adam", ownerKey: publicKey(2), createdAt: time, disabled: true)
        try store.createUser(mia)
        try store.createUser(adam)
        #expect(try store.users() == [adam, mia])
        #expect(try store.user(named: "mia") == mia)
        #expect(try store.user(named: "nobody") == nil)
        #expect(try store.user(ownerKey: publicKey(2)) == adam)
        try store.setUserDisabled("mia", true)
        #expect(try store.user(named: "mia")?.disabled == true)
        #expect(storeError { try store.setUserDisabled("nobody", true) } == .notFound("there is no user 'nobody'"))
    }

    @Test func nameAndOwnerKeyAreUnique() throws {
        try store.createUser(UserAccount(username: "mia", ownerKey: publicKey(1), createdAt: time))
        let sameName = UserAccount(username: "mia", ownerKey: publicKey(2), createdAt: time)
        let sameKey = UserAccount(username: "adam", ownerKey: publicKey(1), createdAt: time)
        #expect(storeError { try store.createUser(sameName) } == .conflict("user 'mia' exists already"))
        #expect(storeError { try store.createUser(sameKey) } == .conflict("another user has this owner key already"))
        #expect(try store.users().count == 1)
    }

    @Test(arguments: ["global", "", "Mia", "../x"]) func badUsernamesAreRefused(name: String) {
        let error = storeError {
            try store.createUser(UserAccount(username: name, ownerKey: publicKey(1), createdAt: time))
        }
        guard case .invalid? = error else {
            Issue.record("'\(name)': \(String(describing: error))")
            return
        }
    }

    @Test func providersComeBackAsTheyWere() throws {
        let all = [
            provider("free", scope: .global, access: .public, attachKeys: [attachKey(10)]),
            provider("mine", access: .ownerOnly),
            provider(
                "shared", access: .named([publicKey(8), publicKey(7)]),
                attachKeys: [attachKey(12, notAfter: time), attachKey(11)]),
        ]
        for one in all { try store.createProvider(one) }
        #expect(try store.providers() == all)
        #expect(try store.providers(in: .user("mia")) == Array(all.dropFirst()))
        #expect(try store.provider(scope: .global, id: "free") == all[0])
        #expect(try store.provider(scope: .user("mia"), id: "free") == nil)
    }

    @Test func providerIsUniqueWithinItsScopeOnly() throws {
        try store.createProvider(provider("gpu"))
        try store.createProvider(provider("gpu", scope: .user("adam"), owner: 2))
        #expect(
            storeError { try store.createProvider(provider("gpu")) }
                == .conflict("provider 'gpu' in scope 'mia' exists already"))
    }

    @Test func rotationExchangesAllAttachKeysOrNone() throws {
        try store.createProvider(provider("gpu", attachKeys: [attachKey(10), attachKey(11)]))
        try store.createProvider(provider("other", attachKeys: [attachKey(20)]))
        try store.replaceAttachKeys(scope: .user("mia"), id: "gpu", [attachKey(12)])
        #expect(try store.provider(scope: .user("mia"), id: "gpu")?.attachKeys == [attachKey(12)])
        let stolen = storeError {
            try store.replaceAttachKeys(scope: .user("mia"), id: "gpu", [attachKey(13), attachKey(20)])
        }
        guard case .conflict? = stolen else {
            Issue.record("an attach key of another provider was taken")
            return
        }
        #expect(try store.provider(scope: .user("mia"), id: "gpu")?.attachKeys == [attachKey(12)])
        guard case .notFound? = storeError({ try store.replaceAttachKeys(scope: .global, id: "gpu", []) }) else {
            Issue.record("keys of a provider that does not exist were replaced")
            return
        }
    }

    @Test func removalTakesTheAttachKeysAlong() throws {
        try store.createProvider(provider("gpu", attachKeys: [attachKey(10)]))
        #expect(try store.removeProvider(scope: .user("mia"), id: "gpu"))
        #expect(try !store.removeProvider(scope: .user("mia"), id: "gpu"))
        #expect(storeError { try store.createProvider(provider("again", attachKeys: [attachKey(10)])) } == nil)
    }

    @Test func accessOfAProviderCanChange() throws {
        try store.createProvider(provider("gpu", attachKeys: [attachKey(10)]))
        var changed = provider("gpu", access: .ownerOnly, attachKeys: [attachKey(10)])
        changed.maxConcurrency = 9
        try store.updateProvider(changed)
        #expect(try store.provider(scope: .user("mia"), id: "gpu") == changed)
    }

    @Test func boundsHold() throws {
        let many = (0...Limits.attachKeysPerProvider).map { attachKey(UInt8($0)) }
        #expect(storeError { try store.createProvider(provider("gpu", attachKeys: many)) } != nil)
        #expect(storeError { try store.createProvider(provider("gpu", attachKeys: many.dropLast())) } == nil)
        for index in 1..<Limits.providersPerOwner { try store.createProvider(provider("p\(index)")) }
        #expect(storeError { try store.createProvider(provider("one-too-many")) } != nil)
        #expect(storeError { try store.createProvider(provider("of-another", owner: 2)) } == nil)
    }

    @Test func apiKeysAreFoundRevokedAndKept() throws {
        let key = apiKey(5, expiresAt: time)
        try store.createAPIKey(key)
        #expect(try store.apiKey(publicKey: publicKey(5)) == key)
        #expect(try store.apiKey(publicKey: publicKey(6)) == nil)
        #expect(storeError { try store.createAPIKey(key) } == .conflict("this API key exists already"))
        let later = time.advanced(byMilliseconds: 5)
        #expect(try store.revokeAPIKey(publicKey: publicKey(5), at: time))
        #expect(try store.revokeAPIKey(publicKey: publicKey(5), at: later))
        #expect(try store.apiKeys().map(\.revokedAt) == [time])
        #expect(try !store.revokeAPIKey(publicKey: publicKey(6), at: time))
    }

    @Test func apiKeysHaveADefaultModelOrNone() throws {
        var key = apiKey(5)
        key.defaultModel = "lab/m1"
        try store.createAPIKey(key)
        #expect(try store.apiKeys() == [key])
        try store.setDefaultModel(nil, of: key.publicKey)
        #expect(try store.apiKey(publicKey: key.publicKey)?.defaultModel == nil)
        let tooLong = String(repeating: "x", count: Limits.modelNameBytes + 1)
        #expect(storeError { try store.setDefaultModel(tooLong, of: key.publicKey) } != nil)
        #expect(storeError { try store.setDefaultModel("", of: key.publicKey) } != nil)
        #expect(storeError { try store.setDefaultModel("a", of: publicKey(6)) } == .notFound("the API key is gone"))
    }

    @Test func apiKeysAreFoundByTheirShortID() throws {
        let signing = SigningKey.random()
        let key = APIKeyAccount(
            publicKey: signing.publicKey, username: "global", ownerKey: publicKey(1), label: "",
            scopes: [.inference], createdAt: time)
        try store.createAPIKey(key)
        #expect(try store.apiKeys(idPrefix: key.keyID) == [key])
        #expect(try store.apiKeys(idPrefix: key.keyID.uppercased()) == [key])
        #expect(try store.apiKeys(idPrefix: "").isEmpty)
        #expect(try store.apiKeys(idPrefix: "%").isEmpty)
        #expect(key.keyID.count == 12)
    }

    @Test func validityOfAPIKeys() {
        #expect(apiKey(1).isValid(at: time))
        #expect(!apiKey(1, expiresAt: time).isValid(at: time))
        #expect(apiKey(1, expiresAt: time.advanced(byMilliseconds: 1)).isValid(at: time))
        var revoked = apiKey(1)
        revoked.revokedAt = time
        #expect(!revoked.isValid(at: time))
    }

    @Test func accessRuleAdmits() {
        #expect(ProviderAccess.public.admits(publicKey(2), owner: publicKey(1)))
        #expect(!ProviderAccess.ownerOnly.admits(publicKey(2), owner: publicKey(1)))
        #expect(ProviderAccess.ownerOnly.admits(publicKey(1), owner: publicKey(1)))
        #expect(ProviderAccess.named([publicKey(2)]).admits(publicKey(2), owner: publicKey(1)))
        #expect(!ProviderAccess.named([publicKey(2)]).admits(publicKey(3), owner: publicKey(1)))
    }
}
