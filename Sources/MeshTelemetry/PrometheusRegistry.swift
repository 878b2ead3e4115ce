import MeshModel
package import Metrics
import Synchronization

/// All metrics of one process, kept for Prometheus to fetch. Counting is an atomic addition; only making a series
/// takes a lock, so series are made once and kept.
///
/// Names: dots become underscores, counters end in `_total`, timers in `_seconds`. At most `Limits.metricSeries`
/// series exist: what comes later is counted in `aisbf_metric_series_refused_total` and measured nowhere. The same
/// happens to a name that is used for two kinds.
package final class PrometheusRegistry: MetricsFactory {
    private enum Series: Sendable {
        case counter(CounterSeries)
        case gauge(GaugeSeries)
        case histogram(HistogramSeries)

        var kind: String {
            switch self {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        }
    }

    private struct Table {
        /// By metric name, then by label text.
        var families: [String: [String: Series]] = [:]
        var kinds: [String: String] = [:]
        var count = 0
    }

    private let table = Mutex(Table())
    private let refused = CounterSeries()
    private let help: [String: String]
    private let maximumSeries: Int

    /// - Parameter help: what a metric means, by its exposed name.
    package init(help: [String: String] = [:], maximumSeries: Int = Limits.metricSeries) {
        self.help = help
        self.maximumSeries = maximumSeries
    }

    /// The media type of `exposition()`.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Everything in Prometheus' text format 0.0.4, sorted by name.
    package func exposition() -> String {
        let (families, kinds) = table.withLock { ($0.families, $0.kinds) }
        var output = ""
        for (name, members) in families.sorted(by: { $0.key < $1.key }) {
            output += header(name, kinds[name] ?? "untyped")
            for (labels, series) in members.sorted(by: { $0.key < $1.key }) {
                append(series, name, labels, to: &output)
            }
        }
        output += header(Self.refusedName, "counter") + "\(Self.refusedName) \(refused.text)\n"
        return output
    }

    private static let refusedName = "aisbf_metric_series_refused_total"

    private func header(_ name: String, _ kind: String) -> String {
        let text = help[name].map { "# HELP \(name) \(ExpositionText.helpText($0))\n" } ?? ""
        return text + "# TYPE \(name) \(kind)\n"
    }

    private func append(_ series: Series, _ name: String, _ labels: String, to output: inout String) {
        switch series {
        case .counter(let counter): output += "\(name)\(ExpositionText.braces(labels)) \(counter.text)\n"
        case .gauge(let gauge): output += "\(name)\(ExpositionText.braces(labels)) \(gauge.text)\n"
        case .histogram(let histogram):
            let (cumulative, sum) = histogram.reading
            for (index, count) in cumulative.enumerated() {
                let bound = index < histogram.bounds.count ? ExpositionText.number(histogram.bounds[index]) : "+Inf"
                let all = labels.isEmpty ? "le=\"\(bound)\"" : "\(labels),le=\"\(bound)\""
                output += "\(name)_bucket{\(all)} \(count)\n"
            }
            output += "\(name)_sum\(ExpositionText.braces(labels)) \(ExpositionText.number(sum))\n"
            output += "\(name)_count\(ExpositionText.braces(labels)) \(cumulative.last ?? 0)\n"
        }
    }

    /// The series of that name and those labels, made if it is new; nil when it may not exist.
    private func series(
        _ name: String, _ dimensions: [(String, String)], orMake make: () -> Series
    ) -> Series? {
        let labels = ExpositionText.labels(dimensions)
        let made = table.withLock { table -> Series? in
            let new = make()
            guard table.kinds[name] ?? new.kind == new.kind else { return nil }
            if let present = table.families[name]?[labels] { return present }
            guard table.count < maximumSeries else { return nil }
            table.families[name, default: [:]][labels] = new
            table.kinds[name] = new.kind
            table.count += 1
            return new
        }
        if made == nil { refused.increment(by: Int64(1)) }
        return made
    }

    private func counter(_ label: String, _ dimensions: [(String, String)]) -> CounterSeries {
        let base = ExpositionText.name(label)
        let name = base.hasSuffix("_total") ? base : base + "_total"
        if case .counter(let counter)? = series(name, dimensions, orMake: { .counter(CounterSeries()) }) {
            return counter
        }
        return CounterSeries()
    }

    private func gauge(_ label: String, _ dimensions: [(String, String)]) -> GaugeSeries {
        let name = ExpositionText.name(label)
        if case .gauge(let gauge)? = series(name, dimensions, orMake: { .gauge(GaugeSeries()) }) { return gauge }
        return GaugeSeries()
    }

    private func histogram(_ name: String, _ dimensions: [(String, String)], bounds: [Double]) -> HistogramSeries {
        let made = series(name, dimensions) { .histogram(HistogramSeries(bounds: bounds)) }
        if case .histogram(let histogram)? = made { return histogram }
        return HistogramSeries(bounds: bounds)
    }

    private func remove(_ handler: AnyObject) {
        table.withLock { table in
            for (name, members) in table.families {
                for (labels, series) in members where Self.handler(of: series) === handler {
                    table.families[name]?[labels] = nil
                    table.count -= 1
                    if table.families[name]?.isEmpty == true { table.families[name] = nil }
                    if table.families[name] == nil { table.kinds[name] = nil }
                    return
                }
            }
        }
    }

    private static func handler(of series: Series) -> AnyObject {
        switch series {
        case .counter(let counter): counter
        case .gauge(let gauge): gauge
        case .histogram(let histogram): histogram
        }
    }
}

extension PrometheusRegistry {
    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        counter(label, dimensions)
    }

    package func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler { counter(label, dimensions) }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        gauge(label, dimensions)
    }

    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        guard aggregate else { return gauge(label, dimensions) }
        return histogram(ExpositionText.name(label), dimensions, bounds: HistogramSeries.amountBounds)
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        let base = ExpositionText.name(label)
        let name = base.hasSuffix("_seconds") ? base : base + "_seconds"
        return histogram(name, dimensions, bounds: HistogramSeries.secondsBounds)
    }

    package func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
    package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
    package func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
    package func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
    package func destroyTimer(_ handler: any TimerHandler) { remove(handler) }
}
