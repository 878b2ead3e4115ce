import Logging
import MeshCrypto
import MeshModel
import MeshStore
import MeshTelemetry
import ServiceLifecycle
import UnixSignals

#if canImport(Glibc)
    import Glibc
#endif

/// What a node is called, as `aisbf node init` shows it.
package struct NodeSummary: Sendable {
    package var nodeID: String
    package var operatorID: String
    /// Only when it was just made: it is kept nowhere and cannot be shown again.
    package var adminKey: String?

    package init(nodeID: String, operatorID: String, adminKey: String?) {
        self.nodeID = nodeID
        self.operatorID = operatorID
        self.adminKey = adminKey
    }
}

/// What the command line starts.
package enum NodeEntry {
    /// Makes data directory, keys, database and the first admin key where they are missing; a second call changes
    /// nothing.
    package static func initialise(_ configuration: NodeConfiguration) throws -> NodeSummary {
        let home = try NodeHome.open(configuration)
        defer { try? home.store.close() }
        return home.summary
    }

    /// Runs the node until SIGTERM or SIGINT, then drains it.
    /// - Parameter reread: reads the configuration anew on SIGHUP.
    package static func run(
        _ configuration: NodeConfiguration, reread: @escaping @Sendable () async throws -> NodeConfiguration
    ) async throws {
        // From here on it means "read the configuration again", also while the node is still starting.
        signal(SIGHUP, SIG_IGN)
        let level = Logger.Level(rawValue: configuration.log.level) ?? .info
        LogOutput.bootstrap(level: level, format: configuration.log.format == .json ? .json : .text)
        let registry = NodeMetrics.bootstrap()
        let home = try NodeHome.open(configuration)
        if let adminKey = home.summary.adminKey {
            print("Admin key, shown this once and stored nowhere: \(adminKey)")
            // Output into a pipe or file would otherwise wait in a buffer, and be lost if the node is killed.
            fflush(nil)
        }
        let logger = Logger(label: "aisbf.node")
        let node = try await RunningNode.start(
            configuration, home: home, registry: registry, logger: logger, reread: reread)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: node)], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }
}
