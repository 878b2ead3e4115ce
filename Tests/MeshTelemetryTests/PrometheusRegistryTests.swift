import MeshTelemetry
import Metrics
import Testing

@Suite struct PrometheusRegistryTests {
    private func lines(_ registry: PrometheusRegistry, starting prefix: String) -> [String] {
        registry.exposition().split(separator: "\n").map(String.init).filter { $0.hasPrefix(prefix) }
    }

    @Test func countersAddUpPerLabelSet() {
        let registry = PrometheusRegistry(help: ["aisbf_requests_total": "Requests\nby code"])
        Counter(label: "aisbf.requests", dimensions: [("code", "ok"), ("api", "chat")], factory: registry).increment(
            by: 2)
        Counter(label: "aisbf.requests", dimensions: [("api", "chat"), ("code", "ok")], factory: registry).increment()
        Counter(label: "aisbf.requests", dimensions: [("code", "a\"b\\c\nd")], factory: registry).increment()
        #expect(
            lines(registry, starting: "aisbf_requests_total") == [
                "aisbf_requests_total{api=\"chat\",code=\"ok\"} 3", "aisbf_requests_total{code=\"a\\\"b\\\\c\\nd\"} 1",
            ])
        #expect(registry.exposition().contains("# HELP aisbf_requests_total Requests\\nby code\n"))
        #expect(registry.exposition().contains("# TYPE aisbf_requests_total counter\n"))
    }

    @Test func gaugesShowTheLatestValue() {
        let registry = PrometheusRegistry()
        let gauge = Gauge(label: "aisbf.links", factory: registry)
        gauge.record(7)
        gauge.record(2.5)
        let meter = Meter(label: "aisbf.workers", factory: registry)
        meter.set(5)
        meter.decrement(by: 2)
        #expect(lines(registry, starting: "aisbf_links") == ["aisbf_links 2.5"])
        #expect(lines(registry, starting: "aisbf_workers") == ["aisbf_workers 3"])
    }

    @Test func timersAreHistogramsInSeconds() {
        let registry = PrometheusRegistry()
        let timer = Timer(label: "aisbf.request.duration", factory: registry)
        timer.recordMilliseconds(1)
        timer.recordMilliseconds(700)
        timer.recordSeconds(1_000)
        let name = "aisbf_request_duration_seconds"
        let all = lines(registry, starting: name)
        #expect(all.contains("\(name)_bucket{le=\"0.0005\"} 0"))
        #expect(all.contains("\(name)_bucket{le=\"0.001\"} 1"))
        #expect(all.contains("\(name)_bucket{le=\"1\"} 2"))
        #expect(all.contains("\(name)_bucket{le=\"300\"} 2"))
        #expect(all.contains("\(name)_bucket{le=\"+Inf\"} 3"))
        #expect(all.contains("\(name)_count 3"))
        #expect(all.contains("\(name)_sum 1000.701"))
    }

    @Test func recordersThatAggregateAreHistogramsOfAmounts() {
        let registry = PrometheusRegistry()
        Recorder(label: "aisbf.body.bytes", factory: registry).record(100)
        let all = lines(registry, starting: "aisbf_body_bytes")
        #expect(all.contains("aisbf_body_bytes_bucket{le=\"64\"} 0"))
        #expect(all.contains("aisbf_body_bytes_bucket{le=\"256\"} 1"))
        #expect(all.contains("aisbf_body_bytes_sum 100"))
    }

    @Test func seriesAreBoundedAndRefusalsCounted() {
        let registry = PrometheusRegistry(maximumSeries: 2)
        for index in 0..<5 {
            Counter(label: "aisbf.requests", dimensions: [("user", "\(index)")], factory: registry).increment()
        }
        Counter(label: "aisbf.requests", dimensions: [("user", "0")], factory: registry).increment()
        #expect(lines(registry, starting: "aisbf_requests_total").count == 2)
        #expect(lines(registry, starting: "aisbf_requests_total{user=\"0\"}") == ["aisbf_requests_total{user=\"0\"} 2"])
        #expect(lines(registry, starting: "aisbf_metric_series_refused") == ["aisbf_metric_series_refused_total 3"])
    }

    @Test func oneNameHasOneKind() {
        let registry = PrometheusRegistry()
        Gauge(label: "aisbf.x", dimensions: [("a", "1")], factory: registry).record(1)
        Recorder(label: "aisbf.x", dimensions: [("a", "2")], factory: registry).record(1)
        #expect(lines(registry, starting: "aisbf_x") == ["aisbf_x{a=\"1\"} 1"])
        #expect(lines(registry, starting: "aisbf_metric_series_refused") == ["aisbf_metric_series_refused_total 1"])
    }

    @Test func destroyedSeriesMakeRoom() {
        let registry = PrometheusRegistry(maximumSeries: 1)
        Counter(label: "aisbf.a", factory: registry).destroy()
        Gauge(label: "aisbf.b", factory: registry).record(1)
        #expect(lines(registry, starting: "aisbf_") == ["aisbf_b 1", "aisbf_metric_series_refused_total 0"])
    }

    @Test func namesAreMadeLegal() {
        let registry = PrometheusRegistry()
        Gauge(label: "9 über-größe", dimensions: [("1st label", "x")], factory: registry).record(1)
        #expect(
            lines(registry, starting: "_9_").allSatisfy { $0.wholeMatch(of: /_9_[a-z_]+\{_1st_label="x"\} 1/) != nil })
        #expect(lines(registry, starting: "_9_").count == 1)
    }

    @Test func countingFromManyThreadsLosesNothing() async {
        let registry = PrometheusRegistry()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let counter = Counter(label: "aisbf.n", factory: registry)
                    let timer = Timer(label: "aisbf.t", factory: registry)
                    for _ in 0..<1_000 {
                        counter.increment()
                        timer.recordSeconds(1)
                    }
                }
            }
        }
        #expect(lines(registry, starting: "aisbf_n_total") == ["aisbf_n_total 8000"])
        #expect(lines(registry, starting: "aisbf_t_seconds_sum") == ["aisbf_t_seconds_sum 8000"])
    }
}
