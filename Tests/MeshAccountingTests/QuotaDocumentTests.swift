import MeshAccounting
import MeshModel
import MeshWire
import Testing

@Suite struct QuotaDocumentTests {
    private static let whole =
        #"{"requests_per_minute":60,"tokens_per_minute":10000,"concurrent":4,"tokens_per_day":1000000,"tokens_per_month":9000000,"money_per_day":"0.5","money_per_month":"10","currency":"EUR","expires_at":1800000000,"allow_addresses":["10.0.0.0/8","2001:db8::1"],"allow_models":["lab/*"],"allow_routes":["chat/completions"]}"#

    private static func read(_ text: String, over known: Quota = Quota()) throws -> Quota {
        try Quota.read(try JSONValue.parse(Array(text.utf8)), over: known)
    }

    @Test func whatIsWrittenIsReadBack() throws {
        let quota = try Self.read(Self.whole)
        #expect(String(decoding: quota.document.bytes, as: UTF8.self) == Self.whole)
        #expect(quota.moneyPerMonth == 10_000_000)
        #expect(quota.moneyPerDay == 500_000)
        #expect(try Self.read("{}").isEmpty)
    }

    @Test func whatIsNotSaidStays() throws {
        let known = try Self.read(Self.whole)
        let changed = try Self.read(#"{"concurrent":null,"allow_models":null,"money_per_day":2}"#, over: known)
        #expect(changed.concurrent == nil && changed.models.isEmpty)
        #expect(changed.moneyPerDay == 2_000_000)
        #expect(changed.requestsPerMinute == 60 && changed.currency.description == "EUR")
    }

    @Test(arguments: [
        #"{"requests_per_minute":-1}"#, #"{"requests_per_minute":"6"}"#, #"{"concurrent":1.5}"#,
        #"{"money_per_day":"0.0000001"}"#, #"{"money_per_day":"-1"}"#, #"{"money_per_day":"ten"}"#,
        #"{"currency":"usd"}"#, #"{"expires_at":-1}"#, #"{"allow_addresses":["10.0.0.1/8"]}"#,
        #"{"allow_models":["a*b"]}"#, #"{"allow_models":"lab/*"}"#, #"{"allow_routes":[7]}"#, #"{"rpm":5}"#,
        #"{"tokens_per_day":1152921504606846977}"#,
    ])
    func whatIsWrongIsNamed(text: String) throws {
        #expect(throws: MeshError.self) { try Self.read(text) }
    }

    @Test(arguments: [
        ("key/0123456789ab", "key/0123456789ab"), ("user/bob", "user/bob"),
        ("provider/global/lab", "provider/global/lab"),
        ("users/bob", nil), ("user/", nil), ("user", nil), ("user/b b", nil), ("/bob", nil),
    ])
    func subjects(text: String, shown: String?) { #expect(QuotaSubject(text)?.description == shown) }
}
