import MeshCrypto
import MeshModel
import MeshRouting
import MeshWire
import Testing

/// Pages of models as a hosting node should not write them.
@Suite struct ModelListTests {
    /// A chain whose worker's list goes on, and the pages given.
    private func models(
        of pages: [(number: UInt32, ids: [String])], isContinued: Bool = true, by signer: SigningKey? = nil,
        grantKey: [UInt8]? = nil
    ) throws -> [String]? {
        var chain = Chain()
        chain.attachment.moreModels = isContinued
        let records = try pages.enumerated().map { place, page in
            try chain.page(page.number, page.ids, name: UInt8(place + 50), by: signer, grantKey: grantKey)
        }
        return try chain.catalog(and: records).providers.first?.hosts.first?.offer.models.map(\.id)
    }

    @Test func pagesComeInTheirOrderAndEachModelOnce() throws {
        #expect(try models(of: [(2, ["c", "m1"]), (1, ["a", "b", "a"])]) == ["m1", "a", "b", "c"])
        #expect(try models(of: [(1, ["a"]), (1, ["b"])])?.count == 3, "two pages of one number")
        #expect(try models(of: []) == ["m1"])
        #expect(try models(of: [(3, ["c"])]) == ["m1", "c"], "others are missing")
    }

    @Test func aPageBelongsToItsGrantAndToWorkersThatGoOn() throws {
        #expect(try models(of: [(1, ["a"])], isContinued: false) == ["m1"])
        #expect(try models(of: [(1, ["a"])], grantKey: [UInt8](repeating: 9, count: 16)) == ["m1"])
        #expect(try models(of: [(1, ["a"])], by: SigningKey.random()) == ["m1"], "another node's page")
    }

    @Test func pagesAreBounded() throws {
        let last = UInt32(Limits.modelPages)
        #expect(try models(of: [(last, ["a"])]) == ["m1", "a"])
        #expect(try models(of: [(last + 1, ["a"]), (.max, ["b"])]) == ["m1"])
        let many = (0..<40).map { page in (UInt32(page + 1), (0..<200).map { "x\(page)-\($0)" }) }
        #expect(try models(of: many)?.count == Limits.providerModels)
    }

    /// Nobody is offered a provider that has pages and no worker.
    @Test func pagesAloneAreNoWorker() throws {
        var chain = Chain()
        let page = try chain.page(1, ["a"], name: 50)
        chain.attachment.page = 1
        let provider = try chain.catalog(and: [page]).providers.first
        #expect(provider != nil && provider?.hosts.isEmpty == true)
    }
}
