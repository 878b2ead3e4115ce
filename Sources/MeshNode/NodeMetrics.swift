package import MeshTelemetry
import Metrics
import Synchronization

/// The process's metrics registry; swift-metrics takes one factory per process.
package enum NodeMetrics {
    private static let registry = Mutex<PrometheusRegistry?>(nil)

    package static func bootstrap() -> PrometheusRegistry {
        registry.withLock { registry in
            if let registry { return registry }
            let made = PrometheusRegistry(help: MetricHelp.texts)
            MetricsSystem.bootstrap(made)
            registry = made
            return made
        }
    }
}
