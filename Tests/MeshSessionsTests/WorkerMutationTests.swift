import MeshModel
import MeshSessions
import Testing

/// Damaged frames by the ten thousand: whatever they say, nothing traps and the contracts hold.
@Suite struct WorkerMutationTests {
    static let samples: [[UInt8]] = [
        BrokerSessionTests.register, AnswerStreamTests.load, AnswerStreamTests.end,
        #"{"v":1,"op":"heartbeat","request_id":"hb-1","payload":{"hardware":{"gpus":[{"index":0,"available_vram_mb":18432}]}}}"#,
        #"{"request_id":"q1","status":"ok","payload":{"data":[{"id":"m","context_window":8192}]}}"#,
        #"{"request_id":"q1000000","payload":{"status_code":200,"content_type":"text/event-stream","body":"data: a\n\ndata: [DONE]\n\n"}}"#,
        #"{"request_id":"q1000000","payload":{"status_code":200,"body_base64":"ZGF0YTogYQoK"}}"#,
        #"{"request_id":"q1000000","event":"chunk","payload":{"chunks":["data: \u00e4\n",{"data_base64":"Cg=="}],"sequence":1}}"#,
        #"{"request_id":"q1000000","payload":{"object":"chat.completion","choices":[{"message":{"tool_calls":[{"id":1}]}}]}}"#,
        #"{"request_id":"q1000000","payload":{"status_code":500,"body":"{\"error\":\"no\",\"code\":\"busy\"}"}}"#,
        #"{"request_id":"q1000000","event":"completed","payload":{"chunks":["data: {\"error\":{}}\n\n",{"a":1}]}}"#,
        #"{"request_id":"q1000000","event":"done","payload":{"id":1,"usage":{"prompt_tokens":3}}}"#,
        #"{"request_id":"q1000000","event":"pending","payload":{"estimated_timeout":300}}"#,
        #"{"request_id":"q1000000","status":"error","error":{"code":"busy","message":"\ud83d\ude00"}}"#,
    ].map { Array($0.utf8) }

    static func mutated(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes = samples[Int(random.next() % UInt64(samples.count))]
        let interesting = Array("\"\\{}[]:,0-9eu\n\r\u{0}".utf8) + [0xFF, 0xC3, 0xED]
        for _ in 0..<1 + random.next() % 3 {
            guard !bytes.isEmpty else { break }
            let at = Int(random.next() % UInt64(bytes.count))
            switch random.next() % 5 {
            case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[at] = interesting[Int(random.next() % UInt64(interesting.count))]
            case 2: bytes.remove(at: at)
            case 3: bytes.insert(interesting[Int(random.next() % UInt64(interesting.count))], at: at)
            default: bytes.removeLast(at / 4)
            }
        }
        return bytes
    }

    @Test(arguments: [UInt64(1), 2]) func fiftyThousandDamagedFrames(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var session = SessionFixtures.session()
        var exchange = AnswerExchange(stream: true)
        var (heads, ends, broken) = (0, 0, 0)
        for round in 0..<50_000 {
            let frame = Self.mutated(&random)
            for action in session.receive(frame, at: Int64(round)) {
                if case .close = action { session = BrokerSessionTests.live() }
            }
            if session.identity != SessionFixtures.identity() { broken += 1 }
            for action in exchange.receive(frame, at: Int64(round)) ?? [] {
                switch action {
                case .head: heads += 1
                case .end: ends += 1
                case .bytes: if heads != 1 { broken += 1 }
                case .fail: ends += heads
                }
            }
            if heads > 1 || ends > heads { broken += 1 }
            if exchange.isFinished {
                exchange = AnswerExchange(stream: round % 2 == 0)
                (heads, ends) = (0, 0)
            }
        }
        #expect(broken == 0)
    }
}
