import MeshDialects
import MeshModel
import MeshWire
import Testing

/// Chats' streams with everything in them that workers do wrong, as the strictest program reads what the buyer gets.
@Suite struct ChatStreamTests {
    /// What reaches the buyer of what a worker sends.
    static func passed(_ reads: [[UInt8]], choices: Int = 1) -> [UInt8] {
        var events = AnswerEvents()
        var letter = ChatLetter(hasTools: true, choices: choices)
        var usage = UsageReading()
        var output: [UInt8] = []
        var failure: MeshError?
        func pass(_ delivery: AnswerEvents.Delivery, isLast: Bool = false) {
            guard failure == nil else { return }
            let body = events.release() + delivery.body
            output += body.withUnsafeBytes { letter.mended($0) } ?? body
            failure = letter.failure ?? delivery.failure
        }
        for read in reads {
            let delivery = events.append([.bytes(read)], usage: &usage)
            if !delivery.body.isEmpty || delivery.failure != nil { pass(delivery) }
        }
        pass(events.finish(usage: &usage))
        if let failure {
            return output + letter.release() + Dialect.chat.failureEvent(failure, requestID: nil)
        }
        return output + letter.end() + OpenAIStream.done
    }

    /// A worker that has some of the faults there are.
    struct Worker {
        var dice: SeededGenerator
        var faults: Set<Int>
        var chunks: [String] = []
        var expected = ChatReader.Choice()

        init(seed: UInt64) {
            dice = SeededGenerator(seed: seed)
            faults = []
            for fault in 0..<20 where Int.random(in: 0..<4, using: &dice) == 0 { faults.insert(fault) }
            // Who names no call has to number it.
            if faults.contains(6) { faults.subtract([4, 5, 17]) }
            // Who tells calls at once has to number them, too.
            if faults.contains(19) { faults.subtract([4, 5, 12]) }
            speak()
        }

        private func has(_ fault: Int) -> Bool { faults.contains(fault) }

        private mutating func say(_ delta: String, finish: String? = nil, isFirst: Bool = false) {
            var members = [String]()
            if isFirst ? !has(0) : has(1) {
                members.append(has(2) && isFirst ? #""role":null"# : #""role":"assistant""#)
            }
            if !delta.isEmpty { members.append(delta) }
            let index = has(3) ? "" : #""index":0,"#
            let reason = finish.map { "\"\($0)\"" } ?? (has(11) ? "\"\"" : "null")
            let shown = members.isEmpty && has(10) ? "" : #""delta":{\#(members.joined(separator: ","))},"#
            chunks.append(
                #"{"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{\#(index)\#(shown)"finish_reason":\#(reason)}]}"#
            )
        }

        private mutating func speak() {
            say(#""content":"""#, isFirst: true)
            if Bool.random(using: &dice) {
                for word in ["Hel", "l\\no", " \\u00e4"] { say(#""content":"\#(word)""#) }
                expected.text = "Hel" + "l\no" + " ä"
            }
            if has(12) { say("", finish: "stop") }
            let count = Int.random(in: 0..<4, using: &dice)
            var calls: [[String]] = []
            for number in 0..<count { calls.append(call(number)) }
            if has(19) {
                for place in 0..<(calls.map(\.count).max() ?? 0) {
                    for call in calls where place < call.count { say(call[place]) }
                }
            } else {
                for (number, call) in calls.enumerated() {
                    for (place, piece) in call.enumerated() {
                        let ends = has(12) && place == call.count - 1 && number < count - 1
                        say(piece, finish: ends ? "tool_calls" : nil)
                    }
                }
            }
            if expected.text.isEmpty, count == 0 {
                say(#""content":"x""#)
                expected.text = "x"
            }
            let reason = count > 0 ? "tool_calls" : "stop"
            let usage = #""usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#
            if has(13) { chunks.append(#"{"choices":[],\#(usage)}"#) }
            if !has(14) { say("", finish: reason) }
            if has(15) { say("", finish: "stop") }
            if !has(13) { chunks.append(has(16) ? #"{"id":"c-1",\#(usage)}"# : #"{"choices":[],\#(usage)}"#) }
            expected.finish = reason
        }

        /// The pieces of a call.
        private mutating func call(_ number: Int) -> [String] {
            let id = has(6) ? "call_c1_0_\(number)" : "call_\(number)"
            // In pieces it comes with nothing else.
            let names = has(18) && !has(7) ? ["f_", "of", "\(number)"] : ["f_of\(number)"]
            expected.calls.append(.init(id: id, name: "f_of\(number)", arguments: #"{"n":\#(number)}"#))
            let before = names.dropFirst().map { ($0, "") }
            let pieces = [(names[0], names.count > 1 ? "" : "{\\\"n\\\":")] + before
            let rest = (names.count > 1 ? ["{\\\"n\\\":"] : []) + ["\(number)", "}"]
            let told = pieces + rest.map { (has(7) ? names[0] : "", $0) }
            return told.enumerated().map { place, piece in
                var members = [String]()
                if !has(4) { members.append(#""index":\#(has(5) ? 0 : has(17) ? number + 1 : number)"#) }
                if place == 0 ? !has(6) : has(7) { members.append(#""id":"call_\#(number)""#) }
                if place > 0, !has(7), has(8) { members.append(#""id":"""#) }
                if place == 0, !has(9) { members.append(#""type":"function""#) }
                let name = piece.0.isEmpty ? "" : #""name":"\#(piece.0)","#
                members.append(#""function":{\#(name)"arguments":"\#(piece.1)"}"#)
                return #""tool_calls":[{\#(members.joined(separator: ","))}]"#
            }
        }

        /// With comments, other line ends and events of several lines in it.
        mutating func stream() -> [UInt8] {
            var text = ""
            for chunk in chunks {
                switch Int.random(in: 0..<8, using: &dice) {
                case 0: text += ": processing\n\n"
                case 1: text += ": ping\n"
                case 2: text += "data: keepalive\n\n"
                case 3: text += "event: message\nid: 7\n"
                default: break
                }
                if Int.random(in: 0..<6, using: &dice) == 0 {
                    text += "data: " + chunk.replacing(#","choices""#, with: ",\ndata: \"choices\"") + "\n\n"
                } else {
                    text += "data:" + (Bool.random(using: &dice) ? " " : "") + chunk + "\n\n"
                }
            }
            text += "data: [DONE]\n\n" + (Bool.random(using: &dice) ? "data: [DONE]\n\n" : "")
            return Array((Bool.random(using: &dice) ? text.replacing("\n", with: "\r\n") : text).utf8)
        }
    }

    /// Whatever it does wrong, what was said comes across, and in the form that the strictest program wants.
    @Test func whateverAWorkerDoesItsWordsComeAcross() throws {
        for seed in 0..<600 as Range<UInt64> {
            var worker = Worker(seed: seed)
            let stream = worker.stream()
            let passed = Self.passed(worker.dice.cut(stream))
            do {
                let read = try ChatReader(Self.withoutNames(passed))
                var choice = try #require(read.choices[0])
                #expect(read.failure == nil && read.usages == 1, "seed \(seed)")
                if worker.faults.contains(15) || worker.faults.contains(14) { choice.finish = worker.expected.finish }
                #expect(choice == worker.expected, "seed \(seed) \(worker.faults.sorted())")
            } catch {
                Issue.record(
                    "seed \(seed) \(worker.faults.sorted()): \(error)\n\(String(decoding: passed, as: UTF8.self))")
            }
        }
    }

    /// Fields beside the data are none of a chat's programs' business.
    private static func withoutNames(_ stream: [UInt8]) -> [UInt8] {
        let lines = String(decoding: stream, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        return Array(lines.filter { !$0.hasPrefix("event:") && !$0.hasPrefix("id:") }.joined(separator: "\n").utf8)
    }

    /// Cut off, or with an event that is not whole, it is a stream that programs understand, or one that says that it failed.
    @Test func whatIsDamagedFailsOrIsUnderstood() {
        for seed in 1_000..<1_600 as Range<UInt64> {
            var worker = Worker(seed: seed)
            var stream = worker.stream()
            let place = Int.random(in: 0..<stream.count, using: &worker.dice)
            if Bool.random(using: &worker.dice) {
                stream = Array(stream.prefix(place))
            } else {
                // The rest of an event is lost.
                let lost = stream[place...].prefix { $0 != 0x0A && $0 != 0x0D }
                stream.removeSubrange(place..<place + lost.count)
            }
            let passed = Self.passed(worker.dice.cut(stream))
            var isOver = false
            for line in String(decoding: passed, as: UTF8.self).split(separator: "\n")
            where line.hasPrefix("data: {") || line.hasPrefix("data:{") {
                #expect((try? JSONValue.parse(Array(line.dropFirst(5).utf8))) != nil, "seed \(seed): \(line)")
                isOver = line.contains(#""error":"#)
            }
            #expect(isOver || passed.suffix(OpenAIStream.done.count).elementsEqual(OpenAIStream.done), "seed \(seed)")
        }
    }

    /// A reason to finish goes out once, and behind everything.
    @Test func whatComesBehindAFinishTakesItsPlace() throws {
        func chunk(_ delta: String, _ reason: String) -> [UInt8] {
            Array("data: {\"choices\":[{\"index\":0,\"delta\":{\(delta)},\"finish_reason\":\(reason)}]}\n\n".utf8)
        }
        let first = chunk(#""role":"assistant","content":"a""#, #""stop""#)
        var letter = ChatLetter(hasTools: false)
        #expect(first.withUnsafeBytes { letter.mended($0) } == [])
        let second = chunk(#""content":"b""#, "null")
        let told = second.withUnsafeBytes { letter.mended($0) }
        #expect(told == chunk(#""role":"assistant","content":"a""#, "null") + second)
        let last = chunk("", #""length""#)
        #expect(last.withUnsafeBytes { letter.mended($0) } == [])
        #expect(letter.release() == last && letter.end().isEmpty)
        // What breaks off keeps what was held; one that never says why it ends is given a reason.
        var silent = ChatLetter(hasTools: false)
        let only = Array(
            "data: {\"id\":\"x\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n"
                .utf8)
        #expect(only.withUnsafeBytes { silent.mended($0) } == nil)
        #expect(
            String(decoding: silent.end(), as: UTF8.self)
                == "data: {\"object\":\"chat.completion.chunk\",\"id\":\"x\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
        )
    }

    /// An event that is too long for one piece passes as it is, and what is held goes in front of it.
    @Test func aLongEventPassesInPieces() {
        let role = #"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}"# + "\n\n"
        let finish = #"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\n"
        let long =
            #"data: {"choices":[{"index":0,"delta":{"content":"\#(String(repeating: "x", count: 900))"}}]}"# + "\n\n"
        // In front of its blank line it is whole.
        for cut in 1..<long.utf8.count - 2 {
            var letter = ChatLetter(hasTools: true)
            var output: [UInt8] = []
            let pieces = [role + finish + long.prefix(cut), String(long.dropFirst(cut)) + ": waiting\n"]
            for piece in pieces.map({ Array($0.utf8) }) {
                output += piece.withUnsafeBytes { letter.mended($0) } ?? piece
            }
            #expect(letter.failure == nil)
            #expect(
                String(decoding: output + letter.end(), as: UTF8.self) == role + finish + long + ": waiting\n", "\(cut)"
            )
        }
    }

    /// Of several choices each has its own.
    @Test func eachChoiceFinishesOnce() throws {
        let chunks = [
            #"{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}"#,
            #"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
            #"{"choices":[{"index":0,"delta":{"content":"c"}}]}"#,
            #"{"choices":[{"index":0,"delta":{},"finish_reason":"length"},{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
        ]
        let stream = chunks.map { "data: \($0)\n\n" }.joined() + "data: [DONE]\n\n"
        let read = try ChatReader(Self.passed([Array(stream.utf8)], choices: 2))
        #expect(read.choices[0] == .init(text: "ac", finish: "length"))
        #expect(read.choices[1] == .init(text: "b", finish: "stop"))
    }
}
