import MeshModel
import MeshWire
import SwiftProtobuf
import Testing

/// Prices and what becomes of prompts, in the bytes of adverts.
@Suite struct AdvertTermsTests {
    private static let prices = PriceList([
        .init(model: "lab/a", prices: Prices(input: 150_000, cachedInput: 0, output: 600_000)),
        .init(
            model: "",
            prices: Prices(input: 1, request: 1_000_000_000, image: 40_000_000_000, second: 100_000_000)),
    ])

    private static let bytes = [
        "62160a056c61622f611203555344" + "18f09309" + "2000" + "28c0cf24",
        "62191203555344" + "1801" + "308094ebdc03" + "3880a0be819501" + "4080c2d72f",
        "6801",
    ].joined()

    @Test func bytesAreWhatTheyWere() throws {
        var body = Aisbf_Mesh_V1_ProviderAdvert()
        Self.prices.write(to: &body)
        body.dataPolicy = DataPolicy.none.record
        #expect(hexText(RecordBody.bytes(of: body)) == Self.bytes)
        #expect(PriceList(body) == Self.prices && DataPolicy(body.dataPolicy) == .none)
    }

    /// Nothing told is nothing written: adverts of before stay as they were signed.
    @Test func advertsWithoutTermsStayTheSame() throws {
        let record = try RecordFixtures.verify(RecordFixtures.provenAdvert).get()
        guard case .providerAdvert(var body) = record.body else { return #expect(Bool(false)) }
        #expect(PriceList(body).isEmpty && DataPolicy(body.dataPolicy) == .unknown)
        PriceList(body).write(to: &body)
        body.dataPolicy = DataPolicy(body.dataPolicy).record
        #expect(RecordBody.bytes(of: body) == Array(record.envelope.body))
    }

    /// An advert is a stranger's: what cannot be counted with is not told.
    @Test func whatIsNoPriceIsLeftOut() {
        func read(_ change: (inout Aisbf_Mesh_V1_ModelPrices) -> Void) -> PriceList {
            var entry = Aisbf_Mesh_V1_ModelPrices()
            entry.currency = "USD"
            change(&entry)
            var body = Aisbf_Mesh_V1_ProviderAdvert()
            body.prices = [entry]
            return PriceList(body)
        }
        #expect(read { $0.input = 5 }[model: "any"]?.input == 5)
        #expect(read { $0.input = .max }.isEmpty)
        #expect(read { $0.cachedInput = UInt64(Limits.highestPrice) + 1 }.isEmpty)
        #expect(read { $0.currency = "usd" }.isEmpty && read { $0.currency = "" }.isEmpty)
        var many = Aisbf_Mesh_V1_ProviderAdvert()
        many.prices = (0..<200).map { number in
            .with {
                $0.model = "m\(number)"
                $0.currency = "USD"
            }
        }
        #expect(PriceList(many).entries.count == Limits.advertPrices)
        #expect(DataPolicy(.UNRECOGNIZED(9)) == .unknown)
    }

    @Test(arguments: DataPolicy.allCases)
    func everyPolicyHasItsNumber(policy: DataPolicy) { #expect(DataPolicy(policy.record) == policy) }

    @Test func modelsTellWhatTheyTake() {
        let offer = WorkerOffer(models: [
            WorkerModel(id: "a", quantization: "fp8", parameters: RequestParameters([.tools, .prediction]))
        ])
        var body = Aisbf_Mesh_V1_Attachment()
        offer.write(to: &body)
        #expect(hexText(RecordBody.bytes(of: body)) == "320d0a0161" + "2203667038" + "2881808010" + "3a00")
        #expect(WorkerOffer(body) == offer)
        body.models[0].quantization = String(repeating: "q", count: 100)
        #expect(WorkerOffer(body).models[0].quantization?.utf8.count == Limits.quantizationBytes)
    }
}
