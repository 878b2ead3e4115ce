import MeshDialects
import MeshModel
import MeshWire
import Testing

/// Streams of text completions, as the strictest program reads what the buyer gets of them.
@Suite struct TextStreamTests {
    struct Fault: Error, CustomStringConvertible {
        var description: String
    }

    /// What was said, by choice.
    private static func read(_ stream: [UInt8]) throws -> (texts: [Int64: String], usages: Int, failure: String?) {
        var texts: [Int64: String] = [:]
        var finished: Set<Int64> = []
        var (usages, isOver) = (0, false)
        var failure: String?
        for block in String(decoding: stream, as: UTF8.self).split(separator: "\n\n") {
            guard let line = block.split(separator: "\n").last, line.hasPrefix("data:") else { continue }
            guard !isOver, failure == nil else { throw Fault(description: "behind the end: \(line)") }
            let data = line.dropFirst(line.hasPrefix("data: ") ? 6 : 5)
            if data == "[DONE]" {
                isOver = true
                continue
            }
            let chunk = try JSONValue.parse(Array(data.utf8))
            if let message = chunk["error"]?["message"]?.text {
                failure = message
                continue
            }
            guard let choices = chunk["choices"]?.elements else { throw Fault(description: "no choices: \(line)") }
            if choices.isEmpty, chunk["usage"]?.members != nil {
                usages += 1
                guard finished.count == texts.count else { throw Fault(description: "usage before the end") }
            }
            for choice in choices {
                guard let index = choice["index"]?.integer, let text = choice["text"]?.text else {
                    throw Fault(description: "no index or no text: \(line)")
                }
                guard !finished.contains(index) else { throw Fault(description: "behind its finish: \(line)") }
                texts[index, default: ""] += text
                if let reason = choice["finish_reason"], reason != .null {
                    guard reason.text?.isEmpty == false else { throw Fault(description: "finish: \(line)") }
                    finished.insert(index)
                }
            }
        }
        guard failure != nil || isOver && finished.count == texts.count else { throw Fault(description: "no end") }
        return (texts, usages, failure)
    }

    private static func passed(_ reads: [[UInt8]], choices: Int) -> [UInt8] {
        var events = AnswerEvents()
        var letter = ChatLetter(.text, choices: choices)
        var usage = UsageReading()
        var output: [UInt8] = []
        func pass(_ delivery: AnswerEvents.Delivery) -> MeshError? {
            let body = events.release() + delivery.body
            output += body.withUnsafeBytes { letter.mended($0) } ?? body
            return letter.failure ?? delivery.failure
        }
        for read in reads + [nil] {
            let delivery = read.map { events.append([.bytes($0)], usage: &usage) } ?? events.finish(usage: &usage)
            if let failure = pass(delivery) {
                return output + letter.release() + Dialect.chat.failureEvent(failure, requestID: nil)
            }
        }
        return output + letter.end() + OpenAIStream.done
    }

    /// A worker with some of the faults there are, and what it says.
    private static func worker(_ dice: inout SeededGenerator) -> (stream: [UInt8], texts: [Int64: String]) {
        let faults = Set((0..<8).filter { _ in Int.random(in: 0..<3, using: &dice) == 0 })
        let choices: Int64 = faults.contains(0) ? 1 : Int64.random(in: 1...3, using: &dice)
        var chunks: [String] = []
        var texts: [Int64: String] = [:]
        func say(_ index: Int64, _ text: String?, _ finish: String?) {
            let number = faults.contains(0) ? "" : #""index":\#(index),"#
            let word = text.map { #""text":"\#($0)","# } ?? (faults.contains(1) ? "" : #""text":null,"#)
            let reason = finish.map { "\"\($0)\"" } ?? (faults.contains(2) ? "\"\"" : "null")
            chunks.append(
                #"{"id":"cmpl-1","object":"text_completion","choices":[{\#(number)\#(word)"logprobs":null,"finish_reason":\#(reason)}]}"#
            )
        }
        for word in 0..<Int.random(in: 1...4, using: &dice) {
            for index in 0..<choices {
                say(index, "w\(word) ", faults.contains(3) ? "stop" : nil)
                texts[index, default: ""] += "w\(word) "
            }
        }
        let usage = #""usage":{"prompt_tokens":1,"completion_tokens":2}"#
        if faults.contains(4) { chunks.append(#"{"choices":[],\#(usage)}"#) }
        if !faults.contains(5) { for index in 0..<choices { say(index, nil, "stop") } }
        if faults.contains(6) { for index in 0..<choices { say(index, "", "length") } }
        if !faults.contains(4) { chunks.append(faults.contains(7) ? "{\(usage)}" : #"{"choices":[],\#(usage)}"#) }
        var text = ""
        for chunk in chunks {
            if Int.random(in: 0..<8, using: &dice) == 0 { text += "data: waiting\n\n" }
            text += "data: \(chunk)\n\n"
        }
        return (Array((text + "data: [DONE]\n\n").utf8), texts)
    }

    @Test func whateverAWorkerDoesItsWordsComeAcross() {
        for seed in 0..<400 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            let (stream, texts) = Self.worker(&dice)
            let passed = Self.passed(dice.cut(stream), choices: texts.count)
            do {
                let read = try Self.read(passed)
                #expect(read.texts == texts && read.usages == 1 && read.failure == nil, "seed \(seed)")
            } catch { Issue.record("seed \(seed): \(error)\n\(String(decoding: passed, as: UTF8.self))") }
        }
    }

    /// Cut off, it says that it failed, or is whole.
    @Test func whatIsCutFails() {
        for seed in 1_000..<1_400 as Range<UInt64> {
            var dice = SeededGenerator(seed: seed)
            let (stream, texts) = Self.worker(&dice)
            let part = Array(stream.prefix(Int.random(in: 0..<stream.count, using: &dice)))
            let passed = Self.passed(dice.cut(part), choices: texts.count)
            do { _ = try Self.read(passed) } catch {
                Issue.record("seed \(seed): \(error)\n\(String(decoding: passed, as: UTF8.self))")
            }
        }
    }

    /// What is in order passes byte for byte, until a reason to finish has come.
    @Test func whatLacksNothingPasses() {
        var letter = ChatLetter(.text)
        let chunk = Array("data: {\"choices\": [ {\"index\":0,\"text\":\"a\"}]}\n\n".utf8)
        #expect(chunk.withUnsafeBytes { letter.mended($0) } == nil)
        #expect(chunk.withUnsafeBytes { letter.mended($0) } == nil)
        let end =
            "data: {\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n"
        #expect(String(decoding: letter.end(), as: UTF8.self) == end)
    }
}
