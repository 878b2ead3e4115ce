import MeshModel
import Testing

/// How addresses are written, and to which of them this node connects where somebody's word leads it.
@Suite struct IPAddressTests {
    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("0:0:0:0:0:0:0:0", "::"), ("FE80::1", "fe80::1"), ("::ffff:10.0.0.1", "::ffff:a00:1"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1::", "1::"),
    ])
    func itIsReadAndWritten(text: String, written: String) {
        #expect(IPAddress(text)?.description == written)
        #expect(IPAddress(written) == IPAddress(text))
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "1.2.3.-4", "0x7f000001", "127.1", "1:::2", "1::2::3", ":1",
        "1:", "12345::", "::1%eth0", "[::1]", "+1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1.2.3.4.5", "1.2.3.4::",
        "::1.2.3.4:5", "a.b.c.d",
    ])
    func whatIsNoneIsNone(text: String) { #expect(IPAddress(text) == nil) }

    @Test(arguments: [
        ("0.0.0.0", AddressRule.Kind.unspecified), ("::", .unspecified), ("127.0.0.1", .loopback),
        ("127.255.0.9", .loopback), ("::1", .loopback), ("10.0.0.1", .personal), ("172.16.0.1", .personal),
        ("172.31.255.255", .personal), ("192.168.1.1", .personal), ("fd12:3456::1", .personal), ("fc00::1", .personal),
        ("fec0::1", .personal), ("100.64.0.1", .shared), ("100.127.255.255", .shared), ("169.254.0.1", .linkLocal),
        ("fe80::1", .linkLocal), ("febf::1", .linkLocal), ("169.254.169.254", .metadata),
        ("fd00:ec2::254", .metadata), ("168.63.129.16", .metadata), ("100.100.100.200", .metadata),
        ("224.0.0.1", .multicast), ("239.255.255.255", .multicast), ("ff02::1", .multicast), ("0.1.2.3", .reserved),
        ("240.0.0.1", .reserved), ("255.255.255.255", .reserved), ("192.0.2.1", .reserved), ("198.18.0.1", .reserved),
        ("2001:db8::1", .reserved), ("2001::1", .reserved), ("4000::1", .reserved), ("::7f00:1", .reserved),
        // What leads to an address of IPv4 is judged by where it leads.
        ("::ffff:127.0.0.1", .loopback), ("::ffff:10.1.2.3", .personal), ("::ffff:169.254.169.254", .metadata),
        ("64:ff9b::10.0.0.1", .personal), ("64:ff9b::169.254.169.254", .metadata), ("64:ff9b:1::1", .personal),
        ("2002:7f00:1::", .loopback), ("2002:a00:1::1", .personal),
    ])
    func whatIsNobodysIsRefused(text: String, kind: AddressRule.Kind) throws {
        let address = try #require(IPAddress(text))
        #expect(AddressRule().refusal(of: address) == kind)
        let range = try #require(IPRange(text))
        #expect(AddressRule(allowing: [range]).refusal(of: address) == nil)
    }

    @Test(arguments: [
        "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "169.253.1.1", "1.1.1.1",
        "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "223.255.255.255",
    ])
    func whatIsEverybodysPasses(text: String) throws {
        #expect(AddressRule().refusal(of: try #require(IPAddress(text))) == nil)
    }

    @Test func whatIsNamedPassesInEveryForm() throws {
        let rule = AddressRule(allowing: [try #require(IPRange("10.1.0.0/16")), try #require(IPRange("::1"))])
        for text in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "::1"] {
            #expect(rule.refusal(of: try #require(IPAddress(text))) == nil, "\(text)")
        }
        for text in ["10.2.0.1", "::ffff:10.2.0.1", "127.0.0.1", "::2"] {
            #expect(rule.refusal(of: try #require(IPAddress(text))) != nil, "\(text)")
        }
    }

    @Test(arguments: [
        ("10.1.2.3/8", "10.0.0.0/8"), ("10.0.0.1", "10.0.0.1/32"), ("0.0.0.0/0", "0.0.0.0/0"),
        ("fd00::1/9", "fd00::/9"),
        ("192.168.1.130/25", "192.168.1.128/25"), ("::1/128", "::1/128"),
    ])
    func rangesBeginWhereTheyBegin(text: String, written: String) {
        #expect(IPRange(text)?.description == written)
    }

    @Test(arguments: [
        "", "/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "10.0.0.0/+8", "x/8",
    ])
    func whatIsNoRangeIsNone(text: String) { #expect(IPRange(text) == nil) }
}
