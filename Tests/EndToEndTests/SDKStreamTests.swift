import Foundation
import Testing

/// The official SDK on streams that programs have stumbled over, from a real backend through a real worker and node.
@Suite(.serialized) struct SDKStreamTests {
    @Test func theSDKReadsEventsWithIDsAndSilences() async throws {
        try #require(
            FileManager.default.isExecutableFile(atPath: Products.python),
            "the SDK is not installed; run 'make venv', as 'make test' does")
        let script = "\(Products.root)/Tests/EndToEndTests/Clients/stream_shapes.py"
        let backend = try ChildProcess(Products.python, ["-u", script, "serve"])
        #expect(await eventually(within: 20) { backend.output.contains("\n") }, "\(backend.output)")
        let port = backend.output.trimmingCharacters(in: .whitespacesAndNewlines)
        let shop = try await WorkerTests.Shop.open(
            backend: ["kind": "openai", "base_url": "http://127.0.0.1:\(port)/v1"])
        let worker = try shop.startWorker()
        let isListed = await eventually(within: 20) {
            let answer = try? await Curl.run(
                ["-H", "authorization: Bearer \(shop.key)", "\(shop.node.url)/v1/models"], within: 5)
            return answer?.body.contains("gpu/quiet") ?? false
        }
        #expect(isListed, "\(worker.output)")
        let asked = try ChildProcess(Products.python, ["-u", script, "ask", "\(shop.node.url)/v1", shop.key])
        let code = await asked.exitCode(within: 60)
        #expect(code == 0, "\(asked.output)")
        worker.kill(SIGTERM)
        _ = await worker.exitCode(within: 15)
        backend.kill(SIGKILL)
        await shop.close()
    }
}
