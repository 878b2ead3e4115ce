import MeshTelemetry
import Metrics
import Testing

/// What a strict reader makes of the metrics.
@Suite struct StrictExpositionTests {
    @Test func everySeriesIsReadWithItsHelpAndType() throws {
        let names = ["aisbf_answer_bytes_total", "aisbf_links", "aisbf_request_seconds"]
        let registry = PrometheusRegistry(help: MetricHelp.texts)
        Counter(label: names[0], dimensions: [("a", "x\"y\\z\nw,}"), ("b", "")], factory: registry).increment()
        Counter(label: names[0], factory: registry).increment(by: 3)
        Gauge(label: names[1], factory: registry).record(-2.5)
        let timer = Timer(label: names[2], dimensions: [("kind", "chat")], factory: registry)
        timer.recordMilliseconds(3)
        timer.recordSeconds(10_000)
        Timer(label: names[2], dimensions: [("kind", "proxy")], factory: registry).recordNanoseconds(1)
        let read = try StrictExposition(registry.exposition())
        #expect(read.types[names[2]] == "histogram" && read.types[names[1]] == "gauge")
        #expect(names.allSatisfy { read.helps[$0] == MetricHelp.texts[$0] && MetricHelp.texts[$0] != nil })
        // 18 bounds and the last, a sum and a count, of two; three others; one for what was refused.
        #expect(read.samples.count == 2 * 21 + 3 + 1)
        #expect(Set(read.helps.keys) == Set(read.types.keys))
        #expect(MetricHelp.texts.values.allSatisfy { !$0.isEmpty && !$0.contains("\n") })
    }

    @Test(arguments: [
        "# TYPE a_total counter\na_total 1", "a_total 1\n", "# TYPE a counter\na 1\n", "# TYPE a gauge\na{x=1} 1\n",
        "# TYPE a gauge\na{x=\"\\q\"} 1\n", "# TYPE a gauge\na 1\na 2\n", "# TYPE a gauge\n# TYPE a gauge\na 1\n",
        "# TYPE a gauge\na one\n", "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\na{x=\"\"} 1\n",
        "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
        "# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n", "\n",
    ])
    func theReaderIsStrict(text: String) {
        #expect(throws: StrictExposition.Malformed.self) { try StrictExposition(text) }
    }
}
