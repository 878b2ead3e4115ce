/// The closed list of configuration keys. Docs/Reference/configuration.md has one row for each.
package enum NodeConfigurationKey: String, CaseIterable, Sendable {
    case dataDirectory = "data_dir"
    case nodeName = "node.name"
    case apiListen = "api.listen"
    case apiURL = "api.url"
    case apiCertificate = "api.tls.certificate"
    case apiKey = "api.tls.key"
    case apiOrigins = "api.origins"
    case linkListen = "link.listen"
    case linkAdvertise = "link.advertise"
    case meshNetwork = "mesh.network"
    case meshPeers = "mesh.peers"
    case meshAllow = "mesh.allow"
    case meshRegion = "mesh.region"
    case meshDegree = "mesh.degree"
    case beaconInterval = "mesh.beacon_interval_ms"
    case greetingGrace = "worker.greeting_grace_ms"
    case upstreamRanges = "upstream.allow_private_addresses"
    case holdSeconds = "market.hold_seconds"
    case firstContent = "limits.first_content_ms"
    case streamIdle = "limits.stream_idle_ms"
    case logLevel = "log.level"
    case logFormat = "log.format"
    case logRequests = "log.requests"

    /// Whether the key takes a list (comma-separated in the environment and in flags).
    package var isList: Bool {
        switch self {
        case .apiOrigins, .linkAdvertise, .meshPeers, .meshAllow, .upstreamRanges: true
        case .dataDirectory, .nodeName, .apiListen, .apiURL, .apiCertificate, .apiKey, .linkListen, .meshNetwork,
            .meshRegion, .meshDegree, .beaconInterval, .greetingGrace, .holdSeconds, .firstContent, .streamIdle,
            .logLevel,
            .logFormat,
            .logRequests:
            false
        }
    }

    /// `AISBF_API_LISTEN` for `api.listen`.
    package var environmentName: String {
        "AISBF_" + rawValue.uppercased().replacing(".", with: "_")
    }

    package static let names = allCases.map(\.rawValue)
}

/// One thing that is wrong with a configuration: where, and what to do.
package struct ConfigurationProblem: Sendable, Equatable, CustomStringConvertible {
    /// Key path, or the file for a file that cannot be read at all.
    package var path: String
    package var message: String

    package init(path: String, message: String) {
        self.path = path
        self.message = message
    }

    package var description: String { "\(path): \(message)" }
}

/// All problems of a configuration. Nothing is started while there is one.
package struct ConfigurationProblems: Error, Sendable, Equatable, CustomStringConvertible {
    package var problems: [ConfigurationProblem]

    package init(problems: [ConfigurationProblem]) { self.problems = problems }

    package var description: String {
        let count = problems.count == 1 ? "1 problem" : "\(problems.count) problems"
        return (["the configuration has \(count); nothing was started:"] + problems.map { "  \($0)" })
            .joined(separator: "\n")
    }
}
