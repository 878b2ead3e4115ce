import MeshAccounting
import MeshModel
import Testing

@Suite struct AddressRangeTests {
    private static let cases: [(range: String, inside: [String], outside: [String])] = [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255", "::a00:1"]),
        ("192.0.2.7", ["192.0.2.7", "::ffff:c000:207"], ["192.0.2.6", "192.0.2.8"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "2001:db8::1"]),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db9::", "10.0.0.1"]),
        ("2001:db8:0:8::/61", ["2001:db8:0:f::1"], ["2001:db8:0:10::1", "2001:db8:0:7::"]),
        ("2001:db8::1/128", ["2001:DB8:0::0:1"], ["2001:db8::2"]), ("::/0", ["::1", "ff02::1"], ["127.0.0.1"]),
        ("::1", ["::1", "0:0:0:0:0:0:0:1"], ["::2", "::"]), ("fe80::/10", ["febf::"], ["fec0::"]),
        ("::ffff:10.0.0.0", ["10.0.0.0"], ["10.0.0.1"]),
    ]

    @Test(arguments: cases)
    func whatIsInside(range: String, inside: [String], outside: [String]) throws {
        let parsed = try #require(AddressRange(range))
        for text in inside { #expect(parsed.contains(try #require(IPAddress(text))), "\(text)") }
        for text in outside { #expect(!parsed.contains(try #require(IPAddress(text))), "\(text)") }
        #expect(AddressRange(parsed.description) == parsed)
    }

    @Test(arguments: [
        "", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0", "10.0.0.256", "010.0.0.1",
        "10.0.0.0/8/8", "::/129", "2001:db8::1/32", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "g::",
        "12345::", "::1.2.3", "::1.2.3.4:1", "1.2.3.4::", "fe80::1%eth0", "local", " 10.0.0.1",
    ])
    func whatIsNoRangeIsNone(text: String) { #expect(AddressRange(text) == nil) }

    @Test func addressesAsPeopleWriteThem() {
        for (text, shown) in [
            ("2001:0DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("0:0:0:0:0:0:0:0", "::"),
            ("1:0:2:0:3:0:4:0", "1:0:2:0:3:0:4:0"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            #expect(IPAddress(text)?.unmapped.description == shown)
        }
    }
}
