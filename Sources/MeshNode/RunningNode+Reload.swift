import Logging
import MeshModel
import MeshRuntime
import MeshTelemetry
import MeshWire
import NIOPosix
import UnixSignals

extension MeshLists {
    /// What the configuration says.
    init(_ mesh: NodeConfiguration.Mesh) {
        self.init(
            allow: mesh.allow.map { entry in
                switch entry {
                case .node(let key): .node(key)
                case .operatorKey(let key): .operatorKey(key)
                }
            }, peers: mesh.peers.map { MeshPeer(node: $0.node, address: $0.address.description) })
    }
}

/// What of a configuration may change while the node runs: whom to admit and to dial, the log's level, certificates.
struct NodeReload: Sendable {
    /// Reads the configuration as it was read at the start: the same file, flags and environment.
    let read: @Sendable () async throws -> NodeConfiguration
    let rules: MeshRules
    let certificates: ServerCertificates?
    let logger: Logger

    /// SIGHUP, for as long as the node runs.
    func onSignals(from first: NodeConfiguration) async {
        var current = first
        for await _ in await UnixSignalsSequence(trapping: .sighup) { current = await reload(current) }
    }

    /// The configuration in use from now on: the new one, or the old one if something is wrong with the new.
    private func reload(_ current: NodeConfiguration) async -> NodeConfiguration {
        do {
            let new = try await read()
            if let certificates {
                guard let files = new.api.tls else {
                    throw NodeStartError(description: "api.tls cannot be switched off while the node runs; restart it")
                }
                try await NIOThreadPool.singleton.runIfActive { try certificates.load(files) }
            }
            rules.setConfigured(MeshLists(new.mesh))
            LogOutput.setLevel(Logger.Level(rawValue: new.log.level) ?? .info)
            let waiting = Self.differences(current, new)
            logger.notice(
                "configuration reloaded",
                metadata: waiting.isEmpty ? [:] : ["restart.needed": "\(waiting.joined(separator: ", "))"])
            return new
        } catch {
            let problems = (error as? ConfigurationProblems)?.problems.map(\.description) ?? ["\(error)"]
            logger.error(
                "configuration not reloaded, the old one goes on: \(problems.joined(separator: "; "))")
            return current
        }
    }

    /// Keys that differ and are read at the start only.
    private static func differences(_ old: NodeConfiguration, _ new: NodeConfiguration) -> [String] {
        let pairs: [(NodeConfigurationKey, Bool)] = [
            (.dataDirectory, old.dataDirectory == new.dataDirectory), (.nodeName, old.nodeName == new.nodeName),
            (.apiListen, old.api.listen == new.api.listen), (.apiURL, old.api.url == new.api.url),
            (.apiOrigins, old.api.origins == new.api.origins),
            (.apiCertificate, (old.api.tls == nil) == (new.api.tls == nil)),
            (.linkListen, old.link.listen == new.link.listen),
            (.linkAdvertise, old.link.advertise == new.link.advertise),
            (.meshNetwork, old.mesh.network == new.mesh.network), (.meshRegion, old.mesh.region == new.mesh.region),
            (.meshDegree, old.mesh.degree == new.mesh.degree),
            (.beaconInterval, old.mesh.beaconIntervalMs == new.mesh.beaconIntervalMs),
            (.greetingGrace, old.workerGreetingGraceMs == new.workerGreetingGraceMs),
            (.upstreamRanges, old.upstreamRanges == new.upstreamRanges),
            (.holdSeconds, old.holdMs == new.holdMs),
            (.firstContent, old.firstContentMs == new.firstContentMs),
            (.streamIdle, old.streamIdleMs == new.streamIdleMs), (.logFormat, old.log.format == new.log.format),
        ]
        return pairs.filter { !$0.1 }.map(\.0.rawValue)
    }

    /// Looked at once a minute: certificate tools replace files without a word.
    func certificatesChanged() async {
        guard let certificates, certificates.hasChanged else { return }
        do {
            try await NIOThreadPool.singleton.runIfActive { try certificates.load() }
            logger.notice(
                "new certificate in use", metadata: ["api.url": "\(certificates.view.file)"])
        } catch {
            logger.error("the new certificate is not used, the old one goes on: \(error)")
        }
    }
}
