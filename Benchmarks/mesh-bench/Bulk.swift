import Glibc
import MeshWire
import NIOCore

/// P10: one answer of 200 MB beside 100 text streams at the same node.
enum Bulk {
    private static let size = 200_000_000

    static func measure(_ phases: inout Phases, fixture: Fixture) async throws {
        var node = try await BenchNode.initialised("l", binary: fixture.binary, folder: fixture.folder)
        _ = try await node.start()
        let address = try await node.createProvider()
        let key = try await node.createKey()
        let count = WorkerCount()
        let mock = try await MockWorker.connect(
            to: address, client: "mock", on: fixture.mockLoop, pacer: fixture.pacer, chunks: Fixture.streamChunks,
            count: count)
        let worker = try await startWorker(fixture, node, address)
        let model = try await node.model(key: key)
        let target = LoadTarget(
            port: node.apiPort, request: Payloads.request(model: model, key: key, stream: true),
            chunks: Fixture.streamChunks)
        for _ in 0..<phases.runs {
            let alone = try await streams(&phases, "bulk_alone", target, node)
            phases.add("bulk_alone", [("delay_p99_ms", phases.milliseconds(alone.chunkDelay, 99))])
            let before = ProcessFigures.residentKiB(node.pid)
            let download = Download(node, key: key, folder: fixture.folder)
            async let transfers = download.run(for: max(phases.seconds, 3))
            async let peak = Self.peak(node.pid, for: max(phases.seconds, 3))
            let beside = try await streams(&phases, "bulk_beside", target, node)
            let highest = await peak
            let (bytes, seconds) = try await transfers
            phases.add(
                "bulk_beside",
                [
                    ("delay_p99_ms", phases.milliseconds(beside.chunkDelay, 99)),
                    ("added_mib", (highest - before) / 1_024), ("mib_per_s", bytes / seconds / 1_048_576),
                ])
        }
        try? await mock.close().get()
        Children.shared.stop(worker)
        Children.shared.stop(node.pid)
    }

    private static func streams(
        _ phases: inout Phases, _ phase: String, _ target: LoadTarget, _ node: BenchNode
    ) async throws -> Recorder.Totals {
        let (totals, _) = try await phases.closedLoop(
            target, pid: node.pid, connections: 100, milliseconds: max(phases.seconds, 3) * 1_000, streams: true)
        phases.note(phase, .node, totals)
        return totals
    }

    /// The real worker with the demo backend, which has files of any size.
    private static func startWorker(
        _ fixture: Fixture, _ node: BenchNode, _ address: MockWorker.Address
    ) async throws -> Int32 {
        let file = fixture.folder + "/bulk-worker.json"
        let document: JSONValue = [
            "broker": [
                "enabled": true, "base_url": .string("http://127.0.0.1:\(node.apiPort)"), "scope": "global",
                "provider_id": .string(address.provider), "client_id": "bulk",
                "registration_token": .string(address.token), "transport": "websocket",
            ],
            "backend": ["kind": "demo", "models": ["files"]],
        ]
        try ProcessFigures.write(document.bytes, to: file)
        return try Children.shared.start(
            [fixture.binary, "worker", "run", "--config", file], output: fixture.folder + "/bulk-worker.log")
    }

    /// The largest resident memory seen, in KiB.
    private static func peak(_ pid: Int32, for seconds: Int) async -> Double {
        var highest = 0.0
        for _ in 0..<(seconds * 20) {
            highest = max(highest, ProcessFigures.residentKiB(pid))
            try? await Task.sleep(for: .milliseconds(50))
        }
        return highest
    }

    /// Fetches the large answer again and again with curl.
    private struct Download: Sendable {
        let arguments: [String]
        let folder: String

        init(_ node: BenchNode, key: String, folder: String) {
            self.folder = folder
            arguments = [
                "curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download} %{time_total}\n", "-H",
                "authorization: Bearer \(key)",
                "http://127.0.0.1:\(node.apiPort)/v1/files/demo-\(Bulk.size)/content",
            ]
        }

        func run(for seconds: Int) async throws -> (bytes: Double, seconds: Double) {
            let end = Clock.now() + UInt64(seconds) * 1_000_000_000
            var sum = (bytes: 0.0, seconds: 0.0)
            while Clock.now() < end {
                let words = try await Children.shared.output(of: arguments, in: folder).split { $0.isWhitespace }
                guard words.count == 2, let bytes = Double(words[0]), let time = Double(words[1]),
                    Int(bytes) == Bulk.size
                else { throw BenchError("the large answer was cut: \(words.joined(separator: " "))") }
                sum.bytes += bytes
                sum.seconds += time
            }
            return sum
        }
    }
}
