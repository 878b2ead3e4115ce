/// That a prompt is too long for a model, in the words by which programs know it and compact what they send. Every backend
/// says it in its own; a program that does not know them sends the same prompt for ever.
package struct ContextOverflow: Hashable, Sendable {
    /// What was said.
    package let words: String
    /// Tokens, where whoever refused has told them.
    package private(set) var input: Int64?
    package private(set) var output: Int64?
    package private(set) var limit: Int64?

    /// - Parameter document: all of what was said, where the words stand in a document.
    package init(_ words: String, document: String? = nil) {
        self.words = words
        let text = NumberText((document ?? words).lowercased())
        let sum = text.numbers(behind: "exceed context limit: ", separatedBy: [" + ", " > "])
        let pair = text.numbers(behind: "prompt is too long: ", separatedBy: [" tokens > "])
        limit =
            sum?[2] ?? pair?[1]
            ?? text.number(
                behind: [
                    "maximum context length is ", "maximum context length of ", "maximum model length of ",
                    "available context size (", "\"n_ctx\":",
                ])
        input =
            sum?[0] ?? pair?[0]
            ?? text.number(before: [" in the messages", " input tokens", " tokens in the input"])
            ?? text.number(behind: ["resulted in ", "the request (", "request (", "\"n_prompt_tokens\":"])
        output =
            sum?[1] ?? text.number(before: [" in the completion", " output tokens"])
            ?? text.number(behind: ["is too large: "])
    }

    /// Whether the prompt alone would have room.
    private var isOfOutput: Bool {
        guard let input, let output, let limit else { return false }
        let (sum, overflow) = input.addingReportingOverflow(output)
        return input <= limit && (overflow || sum > limit)
    }

    var isOpenAIs: Bool { words.lowercased().contains("maximum context length") }
    var isAnthropics: Bool {
        let words = words.lowercased()
        return words.contains("prompt is too long") || words.contains("exceed context limit")
    }

    /// The words of a dialect, and behind them what was said.
    package func message(in dialect: Dialect) -> String {
        switch dialect {
        case .chat, .responses:
            if isOpenAIs { return words }
            guard let limit else { return "the request is longer than the model's maximum context length: \(words)" }
            let asked = input.map { ", and the request has \($0) in its messages" } ?? ""
            return "this model's maximum context length is \(limit) tokens\(asked): \(words)"
        case .messages:
            if isAnthropics { return words }
            if isOfOutput, let input, let output, let limit {
                return "input length and `max_tokens` exceed context limit: \(input) + \(output) > \(limit); \(words)"
            }
            guard let input, let limit, input > limit else { return "prompt is too long; \(words)" }
            return "prompt is too long: \(input) tokens > \(limit) maximum; \(words)"
        }
    }
}

/// Numbers in a text, found by what stands beside them.
private struct NumberText {
    private let bytes: [UInt8]

    init(_ text: String) { bytes = Array(text.utf8) }

    func number(behind phrases: [String]) -> Int64? {
        for phrase in phrases {
            if let end = end(of: phrase, from: 0), let found = number(at: end) { return found.value }
        }
        return nil
    }

    func number(before phrases: [String]) -> Int64? {
        for phrase in phrases {
            guard let end = end(of: phrase, from: 0) else { continue }
            let start = end - phrase.utf8.count
            let digits = bytes[..<start].reversed().prefix { (0x30...0x39).contains($0) }
            if let value = Int64(String(decoding: Array(digits.reversed()), as: UTF8.self)) { return value }
        }
        return nil
    }

    /// One number behind `phrase`, and one behind each separator.
    func numbers(behind phrase: String, separatedBy separators: [String]) -> [Int64]? {
        guard var end = end(of: phrase, from: 0), let first = number(at: end) else { return nil }
        var numbers = [first.value]
        end = first.end
        for separator in separators {
            guard bytes[end...].starts(with: separator.utf8), let next = number(at: end + separator.utf8.count) else {
                return nil
            }
            numbers.append(next.value)
            end = next.end
        }
        return numbers
    }

    private func number(at start: Int) -> (value: Int64, end: Int)? {
        var position = start
        while position < bytes.count, bytes[position] == 0x20 { position += 1 }
        let digits = bytes[position...].prefix { (0x30...0x39).contains($0) }
        return Int64(String(decoding: digits, as: UTF8.self)).map { ($0, digits.endIndex) }
    }

    private func end(of phrase: String, from start: Int) -> Int? {
        let wanted = Array(phrase.utf8)
        guard bytes.count >= wanted.count else { return nil }
        for position in start...(bytes.count - wanted.count) where bytes[position] == wanted[0] {
            if bytes[position...].starts(with: wanted) { return position + wanted.count }
        }
        return nil
    }
}
