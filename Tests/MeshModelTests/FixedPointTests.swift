import MeshModel
import Testing

@Suite struct FixedPointTests {
    @Test(arguments: [
        ("0", 6, 0), ("1", 6, 1_000_000), ("0.15", 6, 150_000), ("1.5", 0, 1), ("2", 0, 2), ("1e-06", 6, 1),
        ("1.5E+2", 2, 15_000), ("0.0000001", 6, 0), ("9223372036854775807", 0, Int64.max), ("0e999", 3, 0),
        ("100000000000000000000e-20", 3, 1_000), ("0.10000000000000000555111512312578", 3, 100),
        ("1e-999", 6, 0), ("00.5", 1, 5),
    ])
    func reads(text: String, digits: Int, value: Int64) {
        #expect(FixedPoint.parse(text.utf8, digits: digits)?.value == value)
    }

    @Test(arguments: [
        "", "-1", ".5", "1.", "1e", "e5", "+1", "1e400", "9223372036854775808", "nan", "1,5", "1 ", "0x10",
        "1e99999999",
    ])
    func refuses(text: String) { #expect(FixedPoint.parse(text.utf8, digits: 0) == nil) }

    @Test(arguments: [("0.15", true), ("0.1500000", true), ("0.1500001", false), ("1e-7", false), ("0", true)])
    func saysWhetherAllOfItFits(text: String, isExact: Bool) {
        #expect(FixedPoint.parse(text.utf8, digits: 6)?.isExact == isExact)
    }

    @Test(arguments: [
        (0, 6, "0.000000", "0"), (420, 6, "0.000420", "0.00042"), (-1_500_000, 6, "-1.500000", "-1.5"),
        (7, 0, "7", "7"),
        (2_000_000, 6, "2.000000", "2"), (Int64.min, 2, "-92233720368547758.08", "-92233720368547758.08"),
    ])
    func writes(value: Int64, digits: Int, text: String, short: String) {
        #expect(FixedPoint.text(value, digits: digits) == text)
        #expect(FixedPoint.shortText(value, digits: digits) == short)
    }

    @Test func whatIsWrittenIsRead() {
        var random = SeededGenerator(seed: 4)
        for _ in 0..<2_000 {
            let value = Int64(random.next() >> (1 + random.next() % 62))
            let digits = Int(random.next() % 13)
            #expect(FixedPoint.parse(FixedPoint.text(value, digits: digits).utf8, digits: digits)?.value == value)
        }
    }
}
