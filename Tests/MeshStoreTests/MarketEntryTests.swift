import MeshModel
import Testing

@testable import MeshStore

@Suite struct MarketEntryTests {
    private static func entry(_ name: String, _ document: String = "{}", scope: OwnerScope = .global) -> MarketEntry {
        MarketEntry(kind: .rotation, scope: scope, name: name, document: Array(document.utf8), changedAt: time)
    }

    @Test func entriesAreKeptByKindScopeAndName() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        var policy = Self.entry("a")
        policy.kind = .policy
        let all = [policy, Self.entry("a"), Self.entry("b"), Self.entry("a", scope: .user("mia"))]
        try store.changeMarket(saved: all)
        #expect(try store.marketEntries() == all)
        var changed = Self.entry("b", #"{"x":1}"#)
        changed.published = Array(#"{"y":2}"#.utf8)
        try store.changeMarket(saved: [changed], removed: [(.rotation, .global, "a")])
        #expect(try store.marketEntries() == [policy, changed, all[3]])
        try store.close()
        let again = try MeshStore.open(scratch.database)
        #expect(try again.marketEntries() == [policy, changed, all[3]])
    }
}
