import MeshCLI
import Testing

@Suite struct LifeSpanTests {
    @Test(
        arguments: [
            ("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("1h", 3_600), ("30d", 2_592_000), ("2w", 1_209_600),
            ("106751991167300d", 9_223_372_036_854_720_000),
        ] as [(String, Int64)])
    func spans(text: String, seconds: Int64) {
        #expect(LifeSpan(text)?.seconds == seconds)
    }

    @Test(arguments: [
        "", "s", "h", "-1", "-1h", "1.5h", "1 h", "1y", "1W", "1H", "h1", "1hh", "+1", "٣", "106751991167301d",
        "99999999999999999999",
    ])
    func whatIsNoSpan(text: String) {
        #expect(LifeSpan(text) == nil)
    }
}
