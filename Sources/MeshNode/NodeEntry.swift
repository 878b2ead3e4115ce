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
        try explained {
            let home = try NodeHome.open(configuration, makesAdminKey: true)
            defer { try? home.store.close() }
            return home.summary
        }
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
        let home = try explained { try NodeHome.open(configuration) }
        let logger = Logger(label: "aisbf.node")
        if home.isNew {
            logger.notice(
                "a new node was made; commands at this machine need no key, and for those from elsewhere 'aisbf key create global --scope admin' makes one",
                metadata: ["data_dir": "\(configuration.dataDirectory)"])
        }
        let node = try await RunningNode.start(
            configuration, home: home, registry: registry, logger: logger, reread: reread)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: node)], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }

    /// What is wrong with the data directory, with the exit code that tells a service manager whether to try again.
    private static func explained<Value>(_ body: () throws -> Value) throws -> Value {
        do { return try body() } catch let error as StoreError {
            let code: Int32 =
                switch error {
                case .readableByOthers, .damagedKey, .missingKey, .corrupt, .newerSchema, .conflict:
                    NodeStartError.unusableData
                case .unusable(_, let reason) where reason == String(cString: strerror(EACCES)):
                    NodeStartError.notPermitted
                case .unusable, .inUse, .full, .database, .notFound, .invalid: 1
                }
            throw NodeStartError(description: error.description, exitCode: code)
        }
    }
}
