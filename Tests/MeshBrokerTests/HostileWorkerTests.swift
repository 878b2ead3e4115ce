import MeshBroker
import MeshCrypto
import MeshModel
import MeshWire
import Testing

/// What a worker can say of itself must fit a record, whatever it says.
@Suite struct HostileWorkerTests {
    @Test(arguments: [0, 1, 32, 64])
    func anAttachmentAlwaysFitsARecord(endpoints: Int) {
        let token = SigningKey.random()
        var fixture = BrokerFixture(seed: 21, keys: [token])
        fixture.describe(name: "host")
        fixture.feed(.providers([fixture.draft("gpu", attachKeys: [token.publicKey])]))
        fixture.nowMs += 100
        let provider = fixture.signed(.providerAdvert).last?.key ?? RecordKey(.zero)
        var worker = fixture.worker(
            provider, attachKey: token.publicKey,
            models: (0..<200).map { "model-\($0)-" + String(repeating: "x", count: 200) })
        worker.offer.endpoints = (0..<endpoints).map { "v1/\($0)/" + String(repeating: "e", count: 120) }
        // One character of the user's, kilobytes of UTF-8.
        worker.offer.hardware.gpuClass = "g" + String(repeating: "\u{0301}", count: 3_000)
        fixture.feed(.workerAttached(worker))
        let attachment = fixture.signed(.attachment).last
        #expect(attachment != nil)
        #expect((attachment?.envelope.body.count ?? .max) <= Limits.recordBodyBytes)
    }
}
