package import Logging
import MeshModel
import MeshUpstream
package import NIOCore
import ServiceLifecycle

/// A seller's worker: keeps one outbound WebSocket to a node and answers its requests from a backend.
/// Ends at graceful shutdown (requests under way get up to 30 s, then close 1000) or when its task is cancelled;
/// everything else is met by dialling again.
package struct WorkerAgent: Service {
    private let configuration: WorkerConfiguration
    private let group: any EventLoopGroup
    private let logger: Logger
    private let timings: WorkerTimings
    private let hardware: HardwareInventory

    package init(
        configuration: WorkerConfiguration, eventLoopGroup: any EventLoopGroup, logger: Logger,
        timings: WorkerTimings = WorkerTimings(), hardware: HardwareInventory = HardwareInventory()
    ) {
        self.configuration = configuration
        group = eventLoopGroup
        self.logger = logger
        self.timings = timings
        self.hardware = hardware
    }

    package func run() async throws {
        for warning in configuration.warnings {
            logger.warning("worker.json has an odd key", metadata: ["what": "\(warning)"])
        }
        guard configuration.enabled else {
            logger.notice("broker.enabled is false: the worker does not connect")
            return try await gracefulShutdown()
        }
        switch configuration.backend {
        case .demo(let speed, let models, let faults):
            await serve(DemoBackend(models: models, tokensPerSecond: speed, faults: faults))
        case .openAI(let baseURL, let apiKey, let endpoints):
            let client = BackendClient(group: group)
            await serve(OpenAIBackend(baseURL: baseURL, apiKey: apiKey, endpoints: endpoints, client: client))
            try await client.shutdown()
        }
    }

    /// Serves until shutdown, and looks after what the backend offers meanwhile.
    private func serve(_ backend: any Backend) async {
        let models = ModelWatch(backend: backend, timings: timings.models, logger: logger)
        let report = WorkerReport(logger: logger, intervalMs: timings.summaryMs)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await models.run() }
            group.addTask { await report.run() }
            await serve(backend, models, report)
            group.cancelAll()
        }
    }

    /// Dials, serves, waits, until shutdown.
    private func serve(_ backend: any Backend, _ models: ModelWatch, _ report: WorkerReport) async {
        var backOff = BackOff(seed: UInt64.random(in: .min ... .max))
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            let session = WorkerSession(
                backend: backend, models: models, report: report, timings: timings, logger: logger,
                registration: WorkerRegistration(hardware: hardware, endpoints: backend.endpoints))
            let cause: BackOff.Cause
            do {
                let end = try await attempt(session)
                switch end {
                case .shutdown: return
                case .refused(let reason):
                    cause = .refused
                    warn("the broker refused this worker", reason)
                case .closed(let code, let reason) where reason.contains("same client"):
                    // The other one dials again as this one does: whoever comes seldom leaves the other some peace.
                    cause = .refused
                    warn("another worker has taken this one's place", "\(code) \(reason). \(twinAdvice)")
                case .closed(let code, let reason):
                    cause = code == 1008 ? .refused : .lost
                    warn("the broker closed the connection", "\(code) \(reason)")
                case .silent:
                    cause = .lost
                    warn("the broker went silent", "nothing came for \(timings.silenceMs / 1000) s")
                }
            } catch let failure as DialFailure {
                cause = failure.cause
                warn(Self.words(for: cause), failure.reason)
            } catch {
                if Task.isCancelled || Task.isShuttingDownGracefully { return }
                cause = .lost
                warn("the connection to the broker failed", "\(error)")
            }
            let delay = backOff.next(after: cause, connectedMs: session.registeredMs)
            logger.info("retrying", metadata: ["retry.after_ms": .stringConvertible(delay)])
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .milliseconds(delay)) }
        }
    }

    private var twinAdvice: String {
        "If it runs on another machine: both call themselves '\(configuration.clientID)'. Give each its own "
            + "broker.client_id, or leave it out: then it is the host's name"
    }

    private static func words(for cause: BackOff.Cause) -> Logger.Message {
        switch cause {
        case .refused: "the broker refused this worker"
        case .busy: "the broker is busy"
        case .unreachable, .lost: "cannot reach the broker"
        }
    }

    private func attempt(_ session: WorkerSession) async throws -> SessionEnd {
        logger.info("connecting", metadata: ["broker.url": .string(configuration.endpoint.description)])
        let channel = try await BrokerDialer(configuration: configuration, group: group).dial()
        return try await session.run(channel)
    }

    private func warn(_ message: Logger.Message, _ reason: String) {
        logger.warning(message, metadata: ["reason": .string(reason)])
    }
}
