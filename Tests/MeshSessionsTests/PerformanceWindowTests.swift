import MeshModel
import MeshWire
import Testing

@testable import MeshSessions

@Suite struct PerformanceWindowTests {
    private static func sample(_ latencyMs: Int64, isSuccess: Bool = true, speed: Int64? = nil) -> RequestSample {
        RequestSample(
            latencyMs: latencyMs, firstContentMs: nil, totalTokens: nil, tokensPerSecond: speed, isSuccess: isSuccess)
    }

    /// What is kept as samples come and go is what looking through all of them gives.
    @Test func sumsThatAreKeptAgreeWithTheSamples() {
        var dice = SeededGenerator(seed: 7)
        var window = PerformanceWindow()
        var all: [RequestSample] = []
        func mean(_ values: [Int64]) -> Int64? {
            values.isEmpty ? nil : values.reduce(0, +) / Int64(values.count)
        }
        for _ in 0..<350 {
            func number() -> Int64? { Bool.random(using: &dice) ? Int64.random(in: 0...9_999, using: &dice) : nil }
            let sample = RequestSample(
                latencyMs: Int64.random(in: 0...9_999, using: &dice), firstContentMs: number(), totalTokens: number(),
                tokensPerSecond: number(), isSuccess: Int.random(in: 0..<4, using: &dice) > 0)
            window.add(sample)
            all.append(sample)
            let kept = all.suffix(Limits.performanceSamples)
            let good = kept.filter(\.isSuccess)
            #expect(window.count == kept.count)
            #expect(window.averageLatencyMs == mean(good.map(\.latencyMs)))
            #expect(window.averageTokens == mean(kept.compactMap(\.totalTokens)))
            #expect(window.averageTokensPerSecond == mean(kept.compactMap(\.tokensPerSecond)))
            #expect(window.averageFirstContentMs == mean(kept.compactMap(\.firstContentMs)))
            #expect(window.successPerMille == Int64(good.count) * 1_000 / Int64(kept.count))
        }
    }

    @Test func onlyTheLastHundredCount() {
        var window = PerformanceWindow()
        for latency in 0..<250 { window.add(Self.sample(Int64(latency))) }
        #expect(window.count == 100)
        #expect(window.averageLatencyMs == 199)
        #expect(window.last?.latencyMs == 249)
    }

    @Test func failuresMakeAWorkerDearAndTheirLatencyDoesNotCount() {
        var good = PerformanceWindow()
        var bad = PerformanceWindow()
        for index in 0..<10 {
            good.add(Self.sample(100))
            bad.add(Self.sample(index < 5 ? 1 : 100, isSuccess: index >= 5))
        }
        #expect(bad.successPerMille == 500)
        #expect(bad.averageLatencyMs == 100)
        #expect(bad.unitCost == 2 * good.unitCost)
        #expect(PerformanceWindow().unitCost < good.unitCost)
    }

    @Test func whoFailsAtOnceIsNotTheFastest() {
        var good = PerformanceWindow()
        var broken = PerformanceWindow()
        for _ in 0..<20 {
            good.add(Self.sample(5_000))
            broken.add(Self.sample(2, isSuccess: false))
        }
        #expect(broken.unitCost > 10 * good.unitCost)
    }

    @Test func whatIsNotTheWorkersDoingLeavesNoMark() {
        func failed(_ change: (inout AnswerExchange) -> Void, _ deadlines: AnswerDeadlines = .init()) -> Bool {
            var exchange = AnswerExchange(form: .bytes, deadlines: deadlines, now: SessionFixtures.start)
            change(&exchange)
            return exchange.sample(now: SessionFixtures.now(9).instant) != nil
        }
        #expect(failed { _ = $0.deadlinePassed() })
        #expect(!failed({ _ = $0.deadlinePassed() }, .init(firstContentMs: 1_000, areShortened: true)))
        #expect(!failed { _ = $0.failed(MeshError(.modelNotFound, "")) })
        #expect(failed { _ = $0.failed(MeshError(.workerLost, "")) })
        #expect(!failed { _ in })
        let hung = AnswerExchange(stream: false)
        #expect(hung.abandoned(now: SessionFixtures.now(1_000).instant) == nil)
        #expect(hung.abandoned(now: SessionFixtures.now(60_000).instant)?.isSuccess == false)
    }

    @Test func whoLetsItsTimePassIsToBlameUnlessItWasShortened() {
        func late(_ deadlines: AnswerDeadlines, _ change: (inout AnswerExchange) -> Void = { _ in }) -> [Bool] {
            var exchange = AnswerExchange(form: .bytes, deadlines: deadlines, now: SessionFixtures.start)
            change(&exchange)
            let isToBlame = exchange.isToBlameForTime
            _ = exchange.deadlinePassed()
            return [isToBlame, exchange.ranOutOfTime]
        }
        #expect(late(.init()) == [true, true])
        #expect(late(.init(firstContentMs: 1_000, areShortened: true)) == [false, false])
        #expect(late(.init()) { _ = $0.failed(MeshError(.workerError, "")) } == [false, false])
    }

    @Test func whatAnotherNodeMeasuredCountsUntilThereAreOwnSamples() {
        var window = PerformanceWindow()
        window.inherited = .init(tokensPerSecond: 40, firstContentMs: 300)
        #expect(window.averageTokensPerSecond == 40)
        #expect(window.unitCost == 300)
        window.add(Self.sample(10, speed: 80))
        #expect(window.averageTokensPerSecond == 80)
        #expect(window.unitCost == 10)
    }

    @Test(
        arguments: [
            (#""payload":{"id":"x","usage":{"completion_tokens":50,"total_tokens":70}}"#, 70, 50),
            (#""payload":{"status_code":200,"body":"{\"usage\":{\"total_tokens\":9,\"completion_tokens\":4}}"}"#, 9, 4),
            (#""payload":{"a":1},"metrics":{"elapsed_ms":5,"tokens_per_second":33.7}"#, nil, 33),
            (#""payload":{"a":1}"#, nil, nil),
            (#""payload":{"usage":{"total_tokens":-4,"completion_tokens":"many"}}"#, nil, nil),
            (#""payload":{"usage":{"total_tokens":99999999999999999999}}"#, nil, nil),
            (#""payload":{"usage":{"total_tokens":1e9}}"#, nil, nil),
            (#""payload":{"usage":{"prompt_tokens":20,"completion_tokens":50}}"#, 70, 50),
            (#""payload":{"usage":{"prompt_tokens":20}}"#, 20, nil),
            (#""payload":{"id":"x","prompt_tokens":1,"completion_tokens":2,"latency_ms":1}"#, 3, 2),
            (#""payload":{"id":"x","total_tokens":5,"tok_per_s":7}"#, 5, 7),
            (#""payload":{"status_code":200,"body":{"id":1},"total_tokens":5,"throughput_tps":7}"#, 5, 7),
            (#""payload":{"status_code":200,"body":{"id":1},"usage":{"total_tokens":5}}"#, 5, nil),
            (#""payload":{"status_code":200,"body":{"id":1},"metrics":{"completion_tokens":5}}"#, 5, 5),
            (#""payload":{"status_code":200,"body":{"metrics":{"total_tokens":5}},"total_tokens":6}"#, 5, nil),
            (
                #""payload":{"status_code":200,"body":{"usage":{"total_tokens":5}}},"metrics":{"total_tokens":6}"#, 5,
                nil
            ),
            (#""event":"done","payload":{"id":1,"usage":{"prompt_tokens":2,"completion_tokens":3}}"#, 5, 3),
            (#""event":"done","payload":{"status_code":200,"body":"{\"usage\":{\"total_tokens\":9}}"}"#, 9, nil),
            (#""event":"done","payload":{"id":1},"metrics":{"total_tokens":6}"#, 6, nil),
        ] as [(String, Int64?, Int64?)])
    func usageOfAWholeAnswer(payload: String, tokens: Int64?, perSecond: Int64?) {
        var exchange = AnswerExchange(stream: false)
        _ = exchange.receive(#"{"request_id":"q1000000","status":"ok",\#(payload)}"#, at: 1_000)
        // First content after one second, the end after two: tokens were made for one second.
        let sample = exchange.sample(now: SessionFixtures.now(2_000).instant)
        #expect(sample?.totalTokens == tokens)
        #expect(sample?.tokensPerSecond == perSecond)
        #expect(sample?.latencyMs == 2_000)
        #expect(sample?.isSuccess == true)
    }

    @Test func usageOfAStreamStandsInItsLastEvent() {
        var exchange = AnswerExchange(stream: true)
        func chunk(_ text: String, at milliseconds: Int64) {
            _ = exchange.receive(
                #"{"request_id":"q1000000","event":"chunk","payload":{"chunk":"\#(text)"}}"#, at: milliseconds)
        }
        let padding = String(repeating: "x", count: 64)
        chunk(#"data: {\"id\":\"\#(padding)\",\"usage\":null}\n\n"#, at: 500)
        chunk(
            #"data: {\"id\":\"\#(padding)\",\"usage\":{\"completion_tokens\":30,\"details\":{\"a\":\"}\"},\"total_tokens\":40}}\n\n"#,
            at: 3_000)
        _ = exchange.receive(#"{"request_id":"q1000000","event":"done"}"#, at: 3_500)
        let sample = exchange.sample(now: SessionFixtures.now(3_500).instant)
        #expect(sample?.totalTokens == 40)
        #expect(sample?.firstContentMs == 500)
        #expect(sample?.tokensPerSecond == 10)
    }

    /// The last chunk of a stream has the usage, or the event that ends it.
    @Test func usageOfAStreamMayStandInItsEnd() {
        var exchange = AnswerExchange(stream: true)
        _ = exchange.receive(#"{"event":"chunk","payload":"data: a\n\n"}"#, at: 500)
        _ = exchange.receive(#"{"event":"done","payload":{"metrics":{"prompt_tokens":10,"completion_tokens":30}}}"#)
        let sample = exchange.sample(now: SessionFixtures.now(3_500).instant)
        #expect(sample?.totalTokens == 40)
        #expect(sample?.tokensPerSecond == 10)
        var short = AnswerExchange(stream: true)
        _ = short.receive(#"{"event":"chunk","payload":"data: {\"usage\":{\"total_tokens\":4}}\n\n"}"#)
        _ = short.receive(AnswerStreamTests.end)
        #expect(short.sample(now: SessionFixtures.now(9).instant)?.totalTokens == 4)
    }

    @Test func aStreamThatEndsInAnErrorIsAFailure() {
        for error in [#"\"no\""#, #"{\"code\":\"model_not_found\",\"message\":\"no\"}"#] {
            var exchange = AnswerExchange(stream: true)
            _ = exchange.receive(#"{"event":"chunk","payload":"data: a\n\ndata: {\"error\":\#(error)}\n\n"}"#)
            #expect(exchange.isFinished)
            #expect(exchange.sample(now: SessionFixtures.now(9).instant)?.isSuccess == false)
        }
    }
}
