import MeshModel
import Testing

@Suite struct WorkerSpeedTests {
    @Test func newsIsWhatChangedByMoreThanAQuarter() {
        let known = WorkerSpeed(tokensPerSecond: 100, firstContentMs: 400, latencyMs: 8_000)
        #expect(!known.isNews(after: known))
        #expect(!WorkerSpeed(tokensPerSecond: 125, firstContentMs: 300, latencyMs: 10_000).isNews(after: known))
        #expect(WorkerSpeed(tokensPerSecond: 126, firstContentMs: 400, latencyMs: 8_000).isNews(after: known))
        #expect(WorkerSpeed(tokensPerSecond: 100, firstContentMs: 299, latencyMs: 8_000).isNews(after: known))
        #expect(WorkerSpeed(tokensPerSecond: 100, firstContentMs: 400, latencyMs: 10_001).isNews(after: known))
        #expect(!WorkerSpeed().isNews(after: WorkerSpeed()))
    }

    @Test func aWorkerOfImagesHasNewsWithoutTokens() {
        #expect(WorkerSpeed(firstContentMs: 30_000, latencyMs: 30_000).isNews(after: WorkerSpeed()))
        #expect(
            WorkerSpeed(firstContentMs: 60_000, latencyMs: 60_000)
                .isNews(after: WorkerSpeed(firstContentMs: 30_000, latencyMs: 30_000)))
    }

    @Test func whoComesFromElsewhereCostsAWholeRequest() {
        #expect(WorkerSpeed(tokensPerSecond: 5, firstContentMs: 300, latencyMs: 9_000).expectedLatencyMs == 9_000)
        #expect(WorkerSpeed(tokensPerSecond: 5, firstContentMs: 300).expectedLatencyMs == 51_500)
        #expect(WorkerSpeed(firstContentMs: 20_000).expectedLatencyMs == 20_000)
        #expect(WorkerSpeed().expectedLatencyMs == 0)
        #expect(WorkerSpeed(tokensPerSecond: .max, firstContentMs: 1).expectedLatencyMs == 1)
    }
}
