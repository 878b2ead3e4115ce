import MeshDialects
import MeshModel
import MeshWire
import Testing

/// Streams of Messages and of Responses, whatever a worker sends: of its chats as they are translated, and of its own that pass.
@Suite struct FaultyStreamTests {
    /// Cut off, or with the rest of an event lost, or with a byte changed.
    private static func damaged(_ stream: [UInt8], _ dice: inout SeededGenerator) -> [UInt8] {
        let place = Int.random(in: 0..<stream.count, using: &dice)
        var damaged = stream
        switch Int.random(in: 0..<3, using: &dice) {
        case 0: return Array(stream.prefix(place))
        case 1:
            let lost = stream[place...].prefix { $0 != 0x0A && $0 != 0x0D }
            damaged.removeSubrange(place..<place + lost.count)
        default: damaged[place] = UInt8.random(in: 0x20..<0x7F, using: &dice)
        }
        return damaged
    }

    private static func translated(_ reads: [[UInt8]], _ stream: any TranslatedStream) -> [UInt8] {
        var (events, usage, stream) = (AnswerEvents(), UsageReading(), stream)
        var output: [UInt8] = []
        for read in reads + [nil] {
            let delivery = read.map { events.append([.bytes($0)], usage: &usage) } ?? events.finish(usage: &usage)
            do throws(MeshError) {
                output += try stream.append(events.release() + delivery.body)
                if let failure = delivery.failure { throw failure }
            } catch { return output + stream.failure(error) }
        }
        return output + stream.finish(AnswerTotals(), outputTokens: 1)
    }

    private static func passed(_ reads: [[UInt8]], _ stream: any PassedStream) -> [UInt8] {
        var (events, usage, stream) = (AnswerEvents(), UsageReading(), stream)
        var output: [UInt8] = []
        for read in reads + [nil] {
            let delivery = read.map { events.append([.bytes($0)], usage: &usage) } ?? events.finish(usage: &usage)
            let body = events.release() + delivery.body
            output += body.withUnsafeBytes { stream.mended($0) } ?? body
            if let failure = stream.failure ?? delivery.failure {
                return output + stream.failureEvent(failure, requestID: "req_1")
            }
        }
        return output + (stream.flaw().map { stream.failureEvent($0, requestID: "req_1") } ?? [])
    }

    private static var messages: any TranslatedStream {
        MessagesStream(MessagesContext(model: "m", requestID: "req_1", stopSequences: [], promptTokens: 1))
    }
    private static func responses() throws -> any TranslatedStream {
        let request = try ResponsesRequest(
            Array(#"{"model":"m","input":"x"}"#.utf8), servedModel: "m", takesEffort: false)
        return ResponsesStream(
            ResponsesContext(model: "m", requestID: "req_1", terms: request.terms, promptTokens: 1, createdAt: 1))
    }

    // MARK: Chats

    /// What a chat says comes across, and the stream is one that the strictest program reads.
    @Test func whateverAWorkerDoesItsWordsComeAcross() throws {
        for seed in 0..<400 as Range<UInt64> {
            var worker = ChatStreamTests.Worker(seed: seed)
            let stream = worker.stream()
            let reads = worker.dice.cut(stream)
            let expected = worker.expected
            let words = [expected.text] + expected.calls.map(\.arguments)
            let names = expected.calls.map(\.name)
            do {
                let message = try StrictMessages(Self.translated(reads, Self.messages))
                let calls = message.blocks.filter { $0.kind == "tool_use" }
                let text = message.blocks.filter { $0.kind == "text" }.map(\.text).joined()
                #expect(
                    [text] + calls.map(\.text) == words && calls.map(\.name) == names,
                    "seed \(seed) \(worker.faults.sorted())")
                #expect(message.reason == (names.isEmpty ? "end_turn" : "tool_use") && message.failure == nil)
                let response = try StrictResponses(Self.translated(reads, try Self.responses()))
                let items = response.items.filter { $0.type == "function_call" }
                let said = response.items.filter { $0.type == "message" }.map(\.text).joined()
                #expect([said] + items.map(\.text) == words && items.map(\.name) == names, "seed \(seed)")
                #expect(response.status == "completed")
            } catch { Issue.record("seed \(seed) \(worker.faults.sorted()): \(error)") }
        }
    }

    @Test func damagedChatsFailOrAreUnderstood() throws {
        for seed in 1_000..<1_600 as Range<UInt64> {
            var worker = ChatStreamTests.Worker(seed: seed)
            let stream = Self.damaged(worker.stream(), &worker.dice)
            let reads = worker.dice.cut(stream)
            do {
                _ = try StrictMessages(Self.translated(reads, Self.messages))
                _ = try StrictResponses(Self.translated(reads, try Self.responses()))
            } catch { Issue.record("seed \(seed): \(error)") }
        }
    }

    // MARK: Messages that pass

    /// Blocks of a message, told with the faults of `faults`.
    private static func message(_ faults: Set<Int>, _ dice: inout SeededGenerator) -> ([UInt8], [StrictMessages.Block])
    {
        var blocks: [StrictMessages.Block] = []
        var events: [[(String, String)]] = []
        let kinds = ["thinking", "text", "tool_use", "tool_use"].prefix(Int.random(in: 1...4, using: &dice))
        for (number, kind) in kinds.enumerated() {
            var block = StrictMessages.Block(kind: kind, hasEnded: true)
            let index = faults.contains(0) ? number + 3 : number
            var told: [(String, String)] = []
            var inner = #""type":"\#(kind)","text":"""#
            if kind == "tool_use" {
                (block.name, block.id) = ("f\(number)", "toolu_\(number)")
                inner = #""type":"tool_use","id":"toolu_\#(number)","name":"f\#(number)","input":{}"#
            }
            if !(faults.contains(1) && kind != "tool_use") {
                told.append(("content_block_start", #""index":\#(index),"content_block":{\#(inner)}"#))
            }
            for word in ["a", "b", "c"].prefix(Int.random(in: 1...3, using: &dice)) {
                let delta = [
                    "thinking": #""type":"thinking_delta","thinking":"\#(word)""#,
                    "text": #""type":"text_delta","text":"\#(word)""#,
                ]
                let piece = delta[kind] ?? #""type":"input_json_delta","partial_json":"\#(word)""#
                told.append(("content_block_delta", #""index":\#(index),"delta":{\#(piece)}"#))
                block.text += word
            }
            if !faults.contains(2) { told.append(("content_block_stop", #""index":\#(index)"#)) }
            if faults.contains(3) { told.append(("content_block_stop", #""index":\#(index)"#)) }
            blocks.append(block)
            events.append(told)
        }
        var all: [(String, String)] = [
            (
                "message_start",
                #""message":{"id":"m","type":"message","role":"assistant","content":[]\#(faults.contains(4) ? "" : #","usage":{"input_tokens":1}"#)}"#
            )
        ]
        if faults.contains(5), !faults.contains(1) {
            // Two blocks at once.
            for place in 0..<(events.map(\.count).max() ?? 0) {
                for event in events where place < event.count { all.append(event[place]) }
            }
        } else {
            all += events.flatMap { $0 }
        }
        if !faults.contains(6) {
            let usage = faults.contains(7) ? "" : #","usage":{"output_tokens":3}"#
            let reason = kinds.contains("tool_use") ? "tool_use" : "end_turn"
            all.append(("message_delta", #""delta":{"stop_reason":"\#(reason)"}\#(usage)"#))
        }
        all.append(("message_stop", ""))
        if faults.contains(8) { all.append(("message_stop", "")) }
        var text = ""
        for (name, members) in all {
            if faults.contains(9) { text += "event: ping\ndata: {\"type\":\"ping\"}\n\n: hm\n\ndata: x\n\n" }
            if !faults.contains(10) { text += "event: \(name)\n" }
            text += "data: {\"type\":\"\(name)\"\(members.isEmpty ? "" : ",")\(members)}\n\n"
        }
        if faults.contains(11) { text += "data: [DONE]\n\n" }
        return (Array(text.utf8), blocks)
    }

    private static func faults(_ count: Int, _ dice: inout SeededGenerator) -> Set<Int> {
        Set((0..<count).filter { _ in Int.random(in: 0..<4, using: &dice) == 0 })
    }

    @Test func messagesThatPassAreToTheLetter() {
        for seed in 0..<600 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            let faults = Self.faults(12, &dice)
            let (stream, blocks) = Self.message(faults, &dice)
            let passed = Self.passed(dice.cut(stream), MessagesLetter())
            do {
                let read = try StrictMessages(passed)
                #expect(
                    read.failure == nil && read.blocks == blocks,
                    "seed \(seed) \(faults.sorted()): \(read.failure ?? "") \(read.blocks)")
                #expect(read.reason == (blocks.contains { $0.kind == "tool_use" } ? "tool_use" : "end_turn"))
                if faults.isEmpty { #expect(passed == stream) }
            } catch {
                Issue.record("seed \(seed) \(faults.sorted()): \(error)\n\(String(decoding: passed, as: UTF8.self))")
            }
        }
    }

    @Test func damagedMessagesFailOrAreUnderstood() {
        for seed in 1_000..<1_600 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            let (stream, _) = Self.message(Self.faults(12, &dice), &dice)
            let damaged = Self.damaged(stream, &dice)
            let passed = Self.passed(dice.cut(damaged), MessagesLetter())
            do { _ = try StrictMessages(passed) } catch {
                Issue.record("seed \(seed): \(error)\n\(String(decoding: passed, as: UTF8.self))")
            }
        }
    }

    // MARK: Responses that pass

    private static func response(_ faults: Set<Int>, _ dice: inout SeededGenerator) -> ([UInt8], [StrictResponses.Item])
    {
        var items: [StrictResponses.Item] = []
        var all: [(String, String)] = []
        let start = #""response":{"id":"r","object":"response","status":"in_progress","output":[]}"#
        if !faults.contains(0) { all.append(("response.created", start)) }
        all.append(("response.in_progress", start))
        var told: [String] = []
        for (number, kind) in ["message", "function_call", "function_call"].prefix(Int.random(in: 1...3, using: &dice))
            .enumerated()
        {
            let index = faults.contains(1) ? number + 2 : number
            let id = faults.contains(2) ? "same" : "i\(number)"
            var item = StrictResponses.Item(id: id, type: kind, isDone: true)
            var inner = #""id":"\#(id)","type":"\#(kind)""#
            if kind == "function_call" {
                (item.callID, item.name) = ("c\(number)", "f\(number)")
                inner += #","call_id":"c\#(number)","name":"f\#(number)""#
            }
            let isLate = faults.contains(3)
            if !isLate { all.append(("response.output_item.added", #""output_index":\#(index),"item":{\#(inner)}"#)) }
            let place = #""item_id":"\#(faults.contains(4) ? "x" : id)","output_index":\#(index)"#
            if kind == "message", !isLate {
                if !faults.contains(5) {
                    all.append(
                        ("response.content_part.added", place + #","content_index":0,"part":{"type":"output_text"}"#))
                }
                item.parts = 1
            }
            for word in ["a", "b"] where !isLate {
                let name = kind == "message" ? "response.output_text.delta" : "response.function_call_arguments.delta"
                all.append((name, place + (kind == "message" ? #","content_index":0"# : "") + #","delta":"\#(word)""#))
                item.text += word
            }
            let done = ("response.output_item.done", #""output_index":\#(index),"item":{\#(inner)}"#)
            if !faults.contains(6) { all.append(done) }
            if faults.contains(7) { all.append(done) }
            told.append("{\(inner)}")
            items.append(item)
        }
        let output = told.joined(separator: ",")
        all.append(("response.completed", #""response":{"id":"r","status":"completed","output":[\#(output)]}"#))
        if faults.contains(8) { all.append(("response.completed", #""response":{"status":"completed"}"#)) }
        var text = ""
        for (number, event) in all.enumerated() {
            if faults.contains(9) { text += ": hm\n\ndata: x\n\n" }
            if !faults.contains(10) { text += "event: \(event.0)\n" }
            let said = faults.contains(11) ? "" : ",\"sequence_number\":\(number)"
            text += "data: {\"type\":\"\(event.0)\"\(said),\(event.1)}\n\n"
        }
        return (Array(text.utf8), items)
    }

    @Test func responsesThatPassAreToTheLetter() {
        for seed in 0..<600 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            let faults = Self.faults(12, &dice)
            let (stream, items) = Self.response(faults, &dice)
            let passed = Self.passed(dice.cut(stream), ResponsesLetter(requestID: "req_1"))
            do {
                let read = try StrictResponses(passed)
                #expect(read.status == "completed", "seed \(seed) \(faults.sorted()): \(read.failure ?? "")")
                #expect(
                    read.items.map(\.text) == items.map(\.text) && read.items.map(\.name) == items.map(\.name),
                    "seed \(seed) \(faults.sorted()) \(read.items)")
                if faults.isEmpty { #expect(passed == stream) }
            } catch {
                Issue.record("seed \(seed) \(faults.sorted()): \(error)\n\(String(decoding: passed, as: UTF8.self))")
            }
        }
    }

    /// Of a response that says at once what it holds, nothing is told twice.
    @Test func whatStandsInTheBeginningIsThere() throws {
        let response = #""response":{"id":"r","status":"completed","output":[{"id":"i","type":"message"}]}"#
        let item = #""output_index":0,"item":{"id":"i","type":"message"}"#
        let events = [
            ("response.created", response), ("response.output_item.added", item),
            ("response.output_item.done", item), ("response.completed", response),
        ].enumerated().map { number, event in
            "event: \(event.0)\ndata: {\"type\":\"\(event.0)\",\"sequence_number\":\(number),\(event.1)}\n\n"
        }
        for sent in [events, [events[0], events[3]]] {
            let passed = Self.passed([Array(sent.joined().utf8)], ResponsesLetter(requestID: "req_1"))
            #expect(String(decoding: passed, as: UTF8.self) == events[0] + events[3])
            #expect(try StrictResponses(passed).items.count == 1)
        }
    }

    @Test func damagedResponsesFailOrAreUnderstood() {
        for seed in 1_000..<1_600 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            let (stream, _) = Self.response(Self.faults(12, &dice), &dice)
            let damaged = Self.damaged(stream, &dice)
            let passed = Self.passed(dice.cut(damaged), ResponsesLetter(requestID: "req_1"))
            do { _ = try StrictResponses(passed) } catch {
                Issue.record("seed \(seed): \(error)\n\(String(decoding: passed, as: UTF8.self))")
            }
        }
    }
}
