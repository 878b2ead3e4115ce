import MeshDialects
import MeshModel
import MeshWire

/// A stream of completions to the letter. Whatever the split into reads, the events are the same; each choice finishes once, and
/// says nothing behind that; a call has one id.
enum ChatLetterTarget {
    static func run(_ input: [UInt8]) {
        var reader = InputReader(input)
        let kind = reader.byte()
        let seed = reader.byte()
        let form: ChatLetter.Form = kind & 3 == 0 ? .text : .chat(hasTools: kind & 1 == 1)
        let choices = Int(kind >> 4)
        let whole = Splits.same(reader.rest, seed) { reads in
            var letter = ChatLetter(form, choices: choices)
            let (output, failure) = Splits.delivered(reads) { events in
                (events.withUnsafeBytes { letter.mended($0) } ?? events, letter.failure)
            }
            return output + (failure == nil ? letter.end() : letter.release())
        }
        if let whole { check(whole, form) }
    }

    private static func check(_ bytes: [UInt8], _ form: ChatLetter.Form) {
        var finished: [Int64] = []
        for block in String(decoding: bytes, as: UTF8.self).split(separator: "\n\n") {
            guard let line = block.split(separator: "\n").first(where: { $0.hasPrefix("data:") }),
                let chunk = try? JSONValue.parse(Array(line.dropFirst(5).utf8)),
                let list = chunk["choices"]?.elements
            else { continue }
            for choice in list {
                guard let index = choice["index"]?.integer, choice["finish_reason"]?.text != nil else { continue }
                expect(!finished.contains(index), "a choice that finishes twice")
                finished.append(index)
            }
        }
    }
}
