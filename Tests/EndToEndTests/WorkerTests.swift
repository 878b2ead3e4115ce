import Foundation
import Testing

/// A seller's worker as a real process: tokens, failures, drain.
@Suite(.serialized) struct WorkerTests {
    /// A running node with user `alice`, her public provider `gpu` and a buyer's key.
    struct Shop {
        var node: NodeProcess
        var process: ChildProcess
        var key: String
        var workerFile: String

        static func open(_ extra: [String: Any] = [:], backend: Any = "demo") async throws -> Shop {
            let node = try NodeProcess(extra)
            let process = try node.start()
            guard await node.isUp() else { throw LocalMesh.Failure(description: process.output) }
            _ = try await node.cli(["user", "create", "alice"])
            let created = try await node.json(["provider", "create", "gpu", "--owner", "alice", "--access", "public"])
            let key = try await node.json(["key", "create", "alice"])
            guard var worker = created["worker"] as? [String: Any], let secret = key["key"] as? String else {
                throw LocalMesh.Failure(description: "\(created) \(key)")
            }
            worker["backend"] = backend
            // The host's name would do; a known one can be looked for.
            var broker = worker["broker"] as? [String: Any] ?? [:]
            broker["client_id"] = "worker-01"
            worker["broker"] = broker
            let data = try JSONSerialization.data(withJSONObject: worker)
            let file = try node.directory.write(String(decoding: data, as: UTF8.self), to: "worker.json")
            return Shop(node: node, process: process, key: secret, workerFile: file)
        }

        func startWorker() throws -> ChildProcess {
            try ChildProcess(Products.aisbf, ["worker", "run", "--config", workerFile])
        }

        func ask(
            stream: Bool = false, tokens: Int? = nil, within seconds: Double = 20
        ) async throws -> LocalMesh.Answer {
            let limit = tokens.map { #","max_tokens":\#($0)"# } ?? ""
            return try await Curl.run(
                [
                    "-H", "authorization: Bearer \(key)", "-d",
                    #"{"model":"gpu/demo-chat","stream":\#(stream)\#(limit),"messages":[{"role":"user","content":"Hi"}]}"#,
                    "\(node.url)/v1/chat/completions",
                ], within: seconds)
        }

        /// Whether as many requests are under way as that.
        func isBusy(with count: Int) async -> Bool {
            await eventually(within: 10) {
                let answer = try? await Curl.run([
                    "--unix-socket", "\(node.dataDirectory)/admin.sock", "http://node/api/admin/v1/status",
                ])
                return answer?.body.contains("\"requests_in_flight\":\(count)") ?? false
            }
        }

        func isServing(within seconds: Double = 10) async -> Bool {
            await eventually(within: seconds) { (try? await ask().status) == 200 }
        }

        func close() async {
            process.kill(SIGTERM)
            _ = await process.exitCode(within: 15)
        }
    }

    @Test func aRotatedTokenClosesTheSessionAndIsRefusedAfterwards() async throws {
        let shop = try await Shop.open()
        let worker = try shop.startWorker()
        #expect(await shop.isServing(), "\(worker.output)")
        let rotated = try await shop.node.cli(["provider", "rotate-token", "alice/gpu", "--overlap", "0"])
        #expect(rotated.code == 0, "\(rotated.output)")
        let told = await eventually(within: 8) {
            worker.output.contains("no longer valid") && worker.output.contains("403")
        }
        #expect(told, "\(worker.output)")
        #expect(try await shop.ask().status == 503)
        worker.kill(SIGTERM)
        await shop.close()
    }

    @Test func aTokenOfAnotherProviderIsRefused() async throws {
        let shop = try await Shop.open()
        let other = try await shop.node.json(["provider", "create", "other", "--owner", "alice", "--access", "public"])
        let token = try #require(other["registration_token"] as? String)
        var text = try String(contentsOfFile: shop.workerFile, encoding: .utf8)
        let original = try #require(text.firstMatch(of: /aisbf_reg_[a-z0-9]+/)).output
        text = text.replacingOccurrences(of: String(original), with: token)
        try text.write(toFile: shop.workerFile, atomically: true, encoding: .utf8)
        let worker = try shop.startWorker()
        let refused = await eventually(within: 8) { worker.output.contains("403") }
        #expect(refused, "\(worker.output)")
        #expect(!worker.output.contains(token), "the token is never logged")
        #expect(!shop.process.output.contains(token))
        worker.kill(SIGTERM)
        await shop.close()
    }

    @Test func aWorkerThatNeverAnswersIsATimeout() async throws {
        let shop = try await Shop.open(
            ["limits": ["first_content_ms": 1_500]], backend: ["kind": "demo", "faults": ["silent": true]])
        let worker = try shop.startWorker()
        let answered = await eventually(within: 15) { (try? await shop.ask().status) == 504 }
        #expect(answered, "\(worker.output)")
        #expect(try await shop.ask().code == "worker_timeout")
        worker.kill(SIGTERM)
        await shop.close()
    }

    @Test func garbageIsABadGatewayAndAWorkersOwnErrorPasses() async throws {
        let garbage = try await Shop.open(backend: ["kind": "demo", "faults": ["garbage": true]])
        let worker = try garbage.startWorker()
        let bad = await eventually(within: 10) { (try? await garbage.ask().status) == 502 }
        #expect(bad, "\(worker.output)")
        worker.kill(SIGTERM)
        await garbage.close()
        let failing = try await Shop.open(backend: ["kind": "demo", "faults": ["error_status": 418]])
        let second = try failing.startWorker()
        let passed = await eventually(within: 10) { (try? await failing.ask().status) == 418 }
        #expect(passed, "\(second.output)")
        second.kill(SIGTERM)
        await failing.close()
    }

    @Test func aDrainingNodeFinishesItsStreamsAndTheWorkerComesBack() async throws {
        let shop = try await Shop.open(backend: ["kind": "demo", "tokens_per_second": 8])
        let worker = try shop.startWorker()
        #expect(await shop.isServing(), "\(worker.output)")
        async let streamed = shop.ask(stream: true, within: 30)
        #expect(await shop.isBusy(with: 1))
        shop.process.kill(SIGTERM)
        let answer = try await streamed
        #expect(answer.status == 200 && answer.body.contains("[DONE]"), "\(answer.body)")
        #expect(await shop.process.exitCode(within: 15) == 0)
        let again = try shop.node.start()
        #expect(await shop.isServing(within: 15), "\(worker.output)\n\(again.output)")
        worker.kill(SIGTERM)
        #expect(await worker.exitCode(within: 10) == 0)
        again.kill(SIGTERM)
        _ = await again.exitCode(within: 15)
    }
}
