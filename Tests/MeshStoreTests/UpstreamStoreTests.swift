import Foundation
import MeshModel
import Testing

@testable import MeshStore

extension DataDirectory {
    fileprivate func upstreamKey(_ scope: OwnerScope, _ id: String) throws(StoreError) -> String? {
        try upstreamSecrets(scope, id)?.keys.first
    }

    fileprivate func setUpstreamKey(_ key: String?, _ scope: OwnerScope, _ id: String) throws(StoreError) {
        try setUpstreamSecrets(key.map { UpstreamSecrets(keys: [$0]) }, scope, id)
    }
}

/// Where upstreams are, and the keys that they are asked with.
@Suite struct UpstreamStoreTests {
    let scratch: ScratchDirectory

    init() throws { scratch = try ScratchDirectory() }

    private func upstream(_ id: String, _ settings: UpstreamSettings?) -> ProviderAccount {
        ProviderAccount(
            providerID: id, scope: .global, ownerKey: publicKey(1), access: .public, kind: ProviderKind.upstream,
            displayName: id, maxConcurrency: 4, attachKeys: [], createdAt: time, upstream: settings)
    }

    @Test func settingsAreKeptChangedAndRemovedWithTheirProvider() throws {
        let store = try MeshStore.open(scratch.database)
        var cloud = upstream("cloud", UpstreamSettings(baseURL: "https://h/v1", endpoints: ["v1/files"], hasKey: true))
        try store.createProvider(cloud)
        try store.createProvider(provider("gpu", scope: .global))
        #expect(try store.provider(scope: .global, id: "cloud") == cloud)
        #expect(try store.provider(scope: .global, id: "gpu")?.upstream == nil)
        cloud.upstream = UpstreamSettings(baseURL: "https://other/v1", endpoints: [], hasKey: false)
        try store.updateProvider(cloud)
        #expect(try store.providers().first { $0.providerID == "cloud" } == cloud)
        #expect(try store.removeProvider(scope: .global, id: "cloud"))
        try store.createProvider(upstream("cloud", nil))
        #expect(try store.provider(scope: .global, id: "cloud")?.upstream == nil)
    }

    @Test func whatIsTooLongIsRefused() throws {
        let store = try MeshStore.open(scratch.database)
        let long = String(repeating: "a", count: Limits.upstreamURLBytes + 1)
        for settings in [UpstreamSettings(baseURL: long), UpstreamSettings(baseURL: "h", endpoints: ["v1/a\nv1/b"])] {
            let error = storeError { try store.createProvider(upstream("cloud", settings)) }
            #expect(error == .invalid("the address or the endpoints of an upstream are too long"))
        }
    }

    @Test func keysAreFilesThatOnlyTheirOwnerReads() throws {
        let directory = try DataDirectory.open(scratch.path)
        #expect(try directory.upstreamKey(.global, "cloud") == nil)
        try directory.setUpstreamKey("sk-1", .global, "cloud")
        try directory.setUpstreamKey("sk-2", .user("global-cloud"), "x")
        #expect(try directory.upstreamKey(.global, "cloud") == "sk-1")
        #expect(try fileMode(directory.layout.upstreams) == 0o700)
        let path = try directory.layout.upstreamKey(.global, "cloud")
        #expect(try fileMode(path) == 0o600)
        try directory.setUpstreamKey("sk-3", .global, "cloud")
        #expect(try directory.upstreamKey(.global, "cloud") == "sk-3")
        try directory.setUpstreamKey(nil, .global, "cloud")
        try directory.setUpstreamKey(nil, .global, "cloud")
        #expect(try directory.upstreamKey(.global, "cloud") == nil)
        #expect(try directory.upstreamKey(.user("global-cloud"), "x") == "sk-2")
    }

    @Test func aDamagedOrOpenKeyFileIsRefused() throws {
        let directory = try DataDirectory.open(scratch.path)
        let path = try directory.layout.upstreamKey(.global, "cloud")
        try directory.setUpstreamKey("sk-1", .global, "cloud")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        for damaged in ["", "sk-1\n", String(text.dropLast(4)), text.replacing("sk-1", with: "sk-2")] {
            try Data(damaged.utf8).write(to: URL(fileURLWithPath: path))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
            let error = storeError { _ = try directory.upstreamKey(.global, "cloud") }
            guard case .damagedKey? = error else {
                Issue.record("\(damaged): \(String(describing: error))")
                continue
            }
            #expect(!"\(String(describing: error))".contains("sk-"))
        }
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        #expect(storeError { _ = try directory.upstreamKey(.global, "cloud") } == .readableByOthers(path: path))
    }

    @Test(arguments: ["../x", "a/b", "A", ""]) func noNameLeadsOutOfTheDirectory(name: String) throws {
        let layout = DataDirectoryLayout(root: scratch.path)
        #expect(storeError { _ = try layout.upstreamKey(.global, name) } != nil)
        #expect(storeError { _ = try layout.upstreamKey(.user(name), "x") } != nil)
    }

    @Test func noKeyIsTwoLines() throws {
        let directory = try DataDirectory.open(scratch.path)
        for key in ["", "a\nb", String(repeating: "k", count: Limits.upstreamKeyBytes + 1)] {
            #expect(storeError { try directory.setUpstreamKey(key, .global, "cloud") } != nil)
        }
    }

    @Test func severalKeysAndHeadersAreOneFile() throws {
        let directory = try DataDirectory.open(scratch.path)
        let secrets = UpstreamSecrets(
            keys: ["sk-1", "sk-2"], headers: [.init(name: "X-Team", value: "a: b"), .init(name: "api-key", value: "k")])
        try directory.setUpstreamSecrets(secrets, .global, "cloud")
        #expect(try directory.upstreamSecrets(.global, "cloud") == secrets)
        let path = try directory.layout.upstreamKey(.global, "cloud")
        #expect(try fileMode(path) == 0o600)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        for damaged in [text.replacing("sk-2", with: "sk-3"), text.replacing("key sk-1\n", with: ""), text + "x"] {
            try Data(damaged.utf8).write(to: URL(fileURLWithPath: path))
            let error = storeError { _ = try directory.upstreamSecrets(.global, "cloud") }
            if damaged == text + "x" {
                #expect(error == nil, "what stands behind the checksum is nothing")
            } else {
                #expect(error != nil && !"\(String(describing: error))".contains("sk-"))
            }
        }
        let headers = UpstreamSecrets(headers: [.init(name: "x", value: "y")])
        try directory.setUpstreamSecrets(headers, .global, "cloud")
        #expect(try directory.upstreamSecrets(.global, "cloud") == headers)
        for wrong in [
            UpstreamSecrets(), UpstreamSecrets(keys: ["a\nb"]),
            UpstreamSecrets(keys: (0...Limits.upstreamKeys).map { "sk-\($0)" }),
            UpstreamSecrets(headers: [.init(name: "a", value: "b\nkey sk-9")]),
            UpstreamSecrets(keys: (0..<9).map { "\($0)" + String(repeating: "k", count: 2_000) }),
        ] {
            #expect(storeError { try directory.setUpstreamSecrets(wrong, .global, "cloud") } != nil)
        }
        #expect(try directory.upstreamSecrets(.global, "cloud") == headers)
    }

    @Test func termsAndPricesAreKeptInTheirOrder() throws {
        let store = try MeshStore.open(scratch.database)
        var settings = UpstreamSettings(baseURL: "https://h/v1")
        settings.headers = ["x-team", "api-key"]
        settings.renamed = [.init(sold: "fast", upstream: "org/model a"), .init(sold: "b", upstream: "c")]
        settings.coldStartSeconds = 90
        var cloud = upstream("cloud", settings)
        cloud.dataPolicy = .bounded
        let euro = try #require(Currency("EUR"))
        cloud.prices = PriceList([
            .init(model: "fast", prices: Prices(currency: euro, input: 1_500_000, cachedInput: 0, output: 2)),
            .init(model: "", prices: Prices(input: 1, request: 3, image: 4, second: 5)),
        ])
        try store.createProvider(cloud)
        #expect(try store.provider(scope: .global, id: "cloud") == cloud)
        cloud.prices = PriceList([.init(model: "b", prices: .free)])
        cloud.dataPolicy = .none
        cloud.upstream?.renamed = []
        try store.updateProvider(cloud)
        try store.close()
        #expect(try MeshStore.open(scratch.database).provider(scope: .global, id: "cloud") == cloud)
        cloud.upstream?.renamed = [.init(sold: "a\tb", upstream: "c")]
        let again = try MeshStore.open(scratch.database)
        #expect(storeError { try again.updateProvider(cloud) } != nil)
        #expect(try again.removeProvider(scope: .global, id: "cloud"))
    }
}
