import MeshModel
import MeshNode
import MeshTelemetry
import Testing

@testable import MeshGateway

@Suite(.serialized) struct RequestMetricsTests {
    private func lines(_ start: String) -> [Substring] {
        NodeMetrics.bootstrap().exposition().split(separator: "\n").filter { $0.hasPrefix(start) }
    }

    @Test func whatComesLaterSharesOneSeries() throws {
        _ = NodeMetrics.bootstrap()
        let metrics = RequestMetrics()
        let before = try others()
        let count = Limits.metricModels * 2
        for index in 0..<count {
            metrics.ended(
                .chat, provider: "crowd@x/p", model: "m\(index)", failed: false, nanoseconds: 1_000, firstByte: nil)
        }
        let own = lines(#"aisbf_model_request_seconds_count{model="m"#).filter { $0.contains("crowd@x/p") }
        #expect(own.count == Limits.metricModels)
        #expect(try others() - before == count - Limits.metricModels)
        // What has a series keeps it, and what is counted stays counted under it.
        metrics.ended(.chat, provider: "crowd@x/p", model: "m0", failed: true, nanoseconds: 1, firstByte: 1)
        #expect(
            lines(#"aisbf_model_requests_total{model="m0",provider="crowd@x/p",result="failed"} 1"#).count == 1)
        // No place was found: no provider's series.
        metrics.ended(.other, provider: nil, model: nil, failed: true, nanoseconds: 1, firstByte: 1)
        #expect(try others() - before == count - Limits.metricModels)
    }

    @Test(arguments: [(0, true), (1, false)])
    func aLongNameIsNotALabel(over: Int, isOwn: Bool) throws {
        _ = NodeMetrics.bootstrap()
        let metrics = RequestMetrics()
        let provider = "long\(over)@x/p"
        let model = String(repeating: "m", count: Limits.metricLabelBytes - provider.utf8.count + over)
        metrics.ended(.chat, provider: provider, model: model, failed: false, nanoseconds: 1, firstByte: nil)
        #expect(lines("aisbf_model_request_seconds_count").contains { $0.contains(provider) } == isOwn)
    }

    private func others() throws -> Int {
        let line = lines(#"aisbf_model_request_seconds_count{model="other",provider="other"}"#).first
        return line.flatMap { $0.split(separator: " ").last }.flatMap { Int($0) } ?? 0
    }
}
