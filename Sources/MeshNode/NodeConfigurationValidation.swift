internal import Configuration
internal import Foundation
internal import MeshModel
internal import MeshRuntime

/// Turns texts into values and collects what is wrong. A value that is wrong is replaced by its default, so that the
/// others are looked at too; the result counts only when `problems` is empty.
struct NodeConfigurationValidation {
    /// What the numbers and texts may be, so that no mistake in a file makes a node that does nothing or everything.
    /// Docs/Reference/configuration.md tells them.
    private enum Bounds {
        /// Longer, and a silent client would outlast the time to register.
        static let greetingMs: ClosedRange<Int64> = 0...Limits.workerRegisterMs
        /// From what a test needs to an hour, which no request outlives.
        static let answerMs: ClosedRange<Int64> = 100...3_600_000
        /// Beacons that come more often are a load, less often and every peer takes the node for dead.
        static let beaconMs: ClosedRange<Int64> = 100...300_000
        /// A node that dials more keeps more links than gossip needs in the largest mesh.
        static let degree: ClosedRange<Int64> = 1...64
        /// It is hashed, and may be a sentence.
        static let networkBytes = 1...4_096
    }

    let reader: ConfigReader
    let environment: [String: String]
    let overridden: [NodeConfigurationKey]
    var problems: [ConfigurationProblem]

    mutating func configuration(home: String?) -> NodeConfiguration {
        let tls = tlsFiles()
        let listen = endpoint(.apiListen, default: SocketEndpoint(host: "127.0.0.1", port: 8080))
        let linkListen = endpoint(.linkListen, default: SocketEndpoint(host: "0.0.0.0", port: 7443))
        if listen.port != 0, listen == linkListen {
            add(.linkListen, "is the same address as api.listen; they need a port each")
        }
        return NodeConfiguration(
            dataDirectory: directory(home: home),
            nodeName: nodeName(),
            api: .init(listen: listen, url: baseURL(listen: listen, secure: tls != nil), tls: tls, origins: origins()),
            link: .init(listen: linkListen, advertise: advertised(listen: linkListen)),
            mesh: mesh(),
            workerGreetingGraceMs: milliseconds(
                .greetingGrace, default: Limits.workerGreetingGraceMs, in: Bounds.greetingMs),
            holdMs: whole(.holdSeconds, default: Limits.holdMs / 1_000, in: 0...Limits.holdLongestMs / 1_000) * 1_000,
            firstContentMs: milliseconds(.firstContent, default: Limits.firstContentMs, in: Bounds.answerMs),
            streamIdleMs: milliseconds(.streamIdle, default: Limits.streamIdleMs, in: Bounds.answerMs),
            log: log(), upstreamRanges: ranges())
    }

    // MARK: sections

    private mutating func mesh() -> NodeConfiguration.Mesh {
        let network = text(.meshNetwork) ?? "aisbf-main"
        if !Bounds.networkBytes.contains(network.utf8.count) {
            add(.meshNetwork, "must have \(Bounds.networkBytes.lowerBound) to \(Bounds.networkBytes.upperBound) bytes")
        }
        let region = text(.meshRegion) ?? ""
        if !region.isEmpty, !NameRule.isValid(region) { add(.meshRegion, "must be \(NameRule.text)") }
        return .init(
            network: network, peers: peers(), allow: admitted(), region: region,
            degree: Int(whole(.meshDegree, default: 8, in: Bounds.degree)),
            beaconIntervalMs: milliseconds(.beaconInterval, default: 5_000, in: Bounds.beaconMs))
    }

    private mutating func log() -> NodeConfiguration.Log {
        let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
        let level = text(.logLevel) ?? "info"
        if !levels.contains(level) {
            add(
                .logLevel, "must be one of \(levels.joined(separator: ", "))\(NearName.hint(for: level, among: levels))"
            )
        }
        let name = text(.logFormat) ?? "text"
        let format = NodeConfiguration.LogFormat(rawValue: name)
        if format == nil { add(.logFormat, "must be 'text' or 'json'") }
        let choice = text(.logRequests) ?? Journal.Requests.failed.rawValue
        let requests = Journal.Requests(rawValue: choice)
        if requests == nil { add(.logRequests, "must be 'all', 'failed' or 'none'") }
        return .init(level: level, format: format ?? .text, requests: requests ?? .failed)
    }

    private mutating func tlsFiles() -> NodeConfiguration.TLSFiles? {
        let certificate = text(.apiCertificate)
        let key = text(.apiKey)
        for (name, path) in [(NodeConfigurationKey.apiCertificate, certificate), (.apiKey, key)] {
            if let path, !FileManager.default.isReadableFile(atPath: path) {
                add(name, "'\(path)' does not exist or cannot be read")
            }
        }
        switch (certificate, key) {
        case (let certificate?, let key?): return .init(certificate: certificate, key: key)
        case (nil, nil): return nil
        case (nil, _): add(.apiCertificate, "is missing; TLS needs api.tls.certificate and api.tls.key")
        case (_, nil): add(.apiKey, "is missing; TLS needs api.tls.certificate and api.tls.key")
        }
        return nil
    }

    // MARK: values

    private mutating func directory(home: String?) -> String {
        var path = text(.dataDirectory) ?? "~/.local/share/aisbf"
        if path == "~" || path.hasPrefix("~/") {
            guard let home, !home.isEmpty else {
                add(.dataDirectory, "uses '~', but HOME is not set; give an absolute path")
                return path
            }
            path = home + path.dropFirst()
        }
        if path.isEmpty { add(.dataDirectory, "must not be empty") }
        return URL(fileURLWithPath: path).standardizedFileURL.path
    }

    private mutating func nodeName() -> String {
        let name = text(.nodeName) ?? "node"
        if !NameRule.isValid(name) { add(.nodeName, "must be \(NameRule.text)") }
        return name
    }

    private mutating func baseURL(listen: SocketEndpoint, secure: Bool) -> String {
        guard var url = text(.apiURL) else {
            let host = listen.isWildcard ? "127.0.0.1" : listen.host
            return "\(secure ? "https" : "http")://\(SocketEndpoint(host: host, port: listen.port))"
        }
        while url.hasSuffix("/") { url.removeLast() }
        let parsed = URLComponents(string: url)
        let scheme = parsed?.scheme
        if scheme != "http" && scheme != "https" || parsed?.host?.isEmpty ?? true || parsed?.query != nil
            || parsed?.user != nil
        {
            add(.apiURL, "must be a base URL such as https://node.example.org")
        }
        return url
    }

    private mutating func endpoint(_ key: NodeConfigurationKey, default value: SocketEndpoint) -> SocketEndpoint {
        guard let text = text(key) else { return value }
        guard let endpoint = SocketEndpoint(text) else {
            add(key, "'\(text)' is not host:port, such as \(value)")
            return value
        }
        return endpoint
    }

    private mutating func advertised(listen: SocketEndpoint) -> [SocketEndpoint] {
        guard let texts = list(.linkAdvertise) else { return listen.isWildcard ? [] : [listen] }
        return texts.enumerated().compactMap { index, text in
            let endpoint = SocketEndpoint(text)
            if endpoint == nil || endpoint?.port == 0 {
                add(.linkAdvertise, "'\(text)' is not host:port, such as node.example.org:7443", index: index)
            }
            return endpoint
        }
    }

    private mutating func peers() -> [StaticPeer] {
        (list(.meshPeers) ?? []).enumerated().compactMap { index, text in
            guard let at = text.firstIndex(of: "@"),
                let address = SocketEndpoint(String(text[text.index(after: at)...]))
            else {
                add(.meshPeers, "must look like aisbf_node_…@host:port", index: index)
                return nil
            }
            switch KeyText.node.parse(String(text[..<at])) {
            case .success(let bytes):
                return PublicKey(bytes).map { StaticPeer(node: $0, address: address) }
            case .failure(let error):
                add(.meshPeers, error.message(expected: .node), index: index)
                return nil
            }
        }
    }

    private mutating func admitted() -> [AdmittedKey] {
        (list(.meshAllow) ?? []).enumerated().compactMap { index, text in
            let kind: KeyText = text.hasPrefix(KeyText.operatorKey.rawValue) ? .operatorKey : .node
            switch kind.parse(text) {
            case .success(let bytes):
                return PublicKey(bytes).map { kind == .node ? .node($0) : .operatorKey($0) }
            case .failure(.unknownPrefix):
                add(.meshAllow, "must be a node id (aisbf_node_…) or an operator id (aisbf_op_…)", index: index)
            case .failure(let error):
                add(.meshAllow, error.message(expected: kind), index: index)
            }
            return nil
        }
    }

    /// As a browser writes them: a scheme, a host and a port that is not the usual one.
    private mutating func origins() -> [String] {
        guard let texts = list(.apiOrigins) else { return ["*"] }
        if texts.count > Limits.crossOrigins { add(.apiOrigins, "has more than \(Limits.crossOrigins) origins") }
        for (index, text) in texts.enumerated() where text != "*" && text != "none" {
            let host = ["https://", "http://"].first(where: text.hasPrefix).map { text.dropFirst($0.count) }
            let isOrigin = host.map { !$0.isEmpty && !$0.contains { "/ ?#@".contains($0) } } ?? false
            if !isOrigin || text != text.lowercased() {
                add(
                    .apiOrigins, "'\(text)' is no origin, such as https://chat.example.org; or '*', or 'none'",
                    index: index)
            }
        }
        return texts
    }

    private mutating func ranges() -> [IPRange] {
        let texts = list(.upstreamRanges) ?? []
        if texts.count > Limits.upstreamAddressRanges {
            add(.upstreamRanges, "has more than \(Limits.upstreamAddressRanges) ranges")
        }
        return texts.enumerated().compactMap { index, text in
            let range = IPRange(text)
            if range == nil {
                add(
                    .upstreamRanges, "'\(text)' is no range of addresses, such as 10.0.0.0/8, fd00::/8 or 127.0.0.1",
                    index: index)
            }
            return range
        }
    }

    private mutating func milliseconds(
        _ key: NodeConfigurationKey, default value: Int64, in range: ClosedRange<Int64>
    ) -> Int64 { whole(key, default: value, in: range) }

    private mutating func whole(
        _ key: NodeConfigurationKey, default value: Int64, in range: ClosedRange<Int64>
    ) -> Int64 {
        guard let text = text(key) else { return value }
        guard let number = Int64(text), range.contains(number) else {
            add(key, "'\(text)' is not a whole number from \(range.lowerBound) to \(range.upperBound)")
            return value
        }
        return number
    }

    // MARK: reading

    private func text(_ key: NodeConfigurationKey) -> String? {
        reader.string(forKey: ConfigKey(key.rawValue))
    }

    private func list(_ key: NodeConfigurationKey) -> [String]? {
        reader.stringArray(forKey: ConfigKey(key.rawValue))?
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }

    private mutating func add(_ key: NodeConfigurationKey, _ message: String, index: Int? = nil) {
        let position = index.map { "[\($0)]" } ?? ""
        // Whoever sets a variable may not know of the key in a file, and the other way round.
        let fromEnvironment = !overridden.contains(key) && environment[key.environmentName] != nil
        let origin = fromEnvironment ? " (set by \(key.environmentName))" : ""
        problems.append(ConfigurationProblem(path: key.rawValue + position, message: message + origin))
    }
}
