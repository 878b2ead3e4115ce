import MeshCLI
import Testing

@Suite struct SystemdUnitTests {
    private func unit(
        _ directory: String? = "/var/lib/mesh", ports: [Int] = [8_080, 7_443], executable: String = "/usr/bin/aisbf",
        config: String? = "/etc/aisbf/node.yaml", isConfigured: Bool = true
    ) -> [String] {
        SystemdUnit(
            executable: executable, configPath: config, dataDirectory: directory,
            isDataDirectoryConfigured: isConfigured, ports: ports, user: "aisbf", name: "north"
        ).text.split(separator: "\n").map(String.init)
    }

    @Test func aPortBelow1024NeedsTheCapabilityAndNoOtherDoes() {
        for (ports, isLow) in [
            ([443, 7_443], true), ([1_023, 7_443], true), ([1_024, 7_443], false), ([0, 0], false),
        ] {
            let lines = unit(ports: ports)
            #expect(lines.contains("AmbientCapabilities=CAP_NET_BIND_SERVICE") == isLow)
            #expect(lines.contains("CapabilityBoundingSet=\(isLow ? "CAP_NET_BIND_SERVICE" : "")"))
        }
    }

    @Test func theDataDirectoryIsMadeWhereServicesHaveTheirs() {
        #expect(unit().contains("StateDirectory=mesh") && !unit().contains { $0.hasPrefix("Environment") })
        let usual = unit(nil)
        #expect(usual.contains("StateDirectory=aisbf") && usual.contains("Environment=AISBF_DATA_DIR=/var/lib/aisbf"))
        let given = unit("/srv/mesh", isConfigured: false)
        #expect(given.contains("ReadWritePaths=/srv/mesh") && given.contains("Environment=AISBF_DATA_DIR=/srv/mesh"))
        #expect(unit("/var/lib/a/b").contains("ReadWritePaths=/var/lib/a/b"))
        #expect(unit().contains("ProtectHome=yes") && !unit("/run/user/7/d").contains("ProtectHome=yes"))
    }

    @Test func aReloadIsASIGHUP() {
        #expect(unit().contains("ExecReload=/bin/kill -HUP $MAINPID"))
    }

    @Test func wordsOfAnyKindStayOneWord() {
        let lines = unit(executable: "/opt/my tools/aisbf", config: "/etc/100%/a\"b$c.yaml")
        #expect(
            lines.contains(#"ExecStart="/opt/my tools/aisbf" node run --config "/etc/100%%/a\"b$$c.yaml""#), "\(lines)")
        #expect(unit(config: nil).contains("ExecStart=/usr/bin/aisbf node run"))
    }
}
