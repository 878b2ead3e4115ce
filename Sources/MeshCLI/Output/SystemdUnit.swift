/// A unit file for systemd: a node as a service of its own user, with no more rights than it needs.
package struct SystemdUnit: Sendable {
    private let executable: String
    private let configPath: String?
    private let dataDirectory: String?
    private let isDataDirectoryConfigured: Bool
    private let ports: [Int]
    private let user: String
    private let name: String

    /// - Parameters:
    ///   - dataDirectory: nil for the usual place of a service.
    ///   - isDataDirectoryConfigured: whether the node finds it in its configuration by itself.
    package init(
        executable: String, configPath: String?, dataDirectory: String?, isDataDirectoryConfigured: Bool, ports: [Int],
        user: String, name: String
    ) {
        self.executable = executable
        self.configPath = configPath
        self.dataDirectory = dataDirectory
        self.isDataDirectoryConfigured = isDataDirectoryConfigured
        self.ports = ports
        self.user = user
        self.name = name
    }

    private static let state = "/var/lib/"
    /// What `ProtectHome` hides.
    private static let homes = ["/home/", "/root/", "/run/user/"]

    package var text: String {
        let directory = dataDirectory ?? "\(Self.state)aisbf"
        var lines = [
            "[Unit]", "Description=AISBF Mesh node \(name)", "After=network-online.target",
            "Wants=network-online.target", "", "[Service]", "User=\(user)",
        ]
        // systemd makes the directory, with the right owner, where it is one of a service.
        let last = directory.dropFirst(Self.state.count)
        if directory.hasPrefix(Self.state), !last.isEmpty, !last.contains("/") {
            lines += ["StateDirectory=\(Self.quoted(String(last)))", "StateDirectoryMode=0700"]
        } else {
            lines.append("ReadWritePaths=\(Self.quoted(directory))")
        }
        if dataDirectory == nil || !isDataDirectoryConfigured {
            lines.append("Environment=\(Self.quoted("AISBF_DATA_DIR=\(directory)"))")
        }
        let arguments = [executable, "node", "run"] + (configPath.map { ["--config", $0] } ?? [])
        lines.append("ExecStart=\(arguments.map(Self.quoted).joined(separator: " "))")
        lines += [
            "# Reads certificates, peers and admitted nodes anew.", "ExecReload=/bin/kill -HUP $MAINPID",
            "Restart=on-failure", "# Wrong usage, no permission, a configuration or data directory with problems.",
            "RestartPreventExitStatus=64 77 78", "# Longer than the 30 s that running requests get at a stop.",
            "TimeoutStopSec=45", "LimitNOFILE=65536", "UMask=0077", "NoNewPrivileges=yes", "ProtectSystem=strict",
        ]
        let paths = [directory, executable] + (configPath.map { [$0] } ?? [])
        let isAtHome = paths.contains { path in Self.homes.contains { path.hasPrefix($0) } }
        lines.append(isAtHome ? "# Something this unit names lies in a home directory." : "ProtectHome=yes")
        lines.append("PrivateTmp=yes")
        if ports.contains(where: { (1..<1_024).contains($0) }) {
            lines += ["AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"]
        } else {
            lines.append("CapabilityBoundingSet=")
        }
        lines += ["", "[Install]", "WantedBy=multi-user.target", ""]
        return lines.joined(separator: "\n")
    }

    /// One word of a unit file: `%` begins a specifier there, and blanks end a word.
    private static func quoted(_ text: String) -> String {
        let escaped = text.replacing("%", with: "%%").replacing("$", with: "$$")
        guard escaped.contains(where: { " \t\"'\\;".contains($0) }) else { return escaped }
        return "\"" + escaped.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }
}
