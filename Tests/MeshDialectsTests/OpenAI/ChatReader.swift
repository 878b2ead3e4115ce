import MeshWire
import Testing

/// Reads a chat's stream as the strictest programs do: throws where one of them would, and puts together what was said.
struct ChatReader {
    struct Fault: Error, CustomStringConvertible {
        var description: String
    }

    struct Call: Equatable {
        var id: String
        var name: String
        var arguments = ""
    }

    struct Choice: Equatable {
        var text = ""
        var calls: [Call] = []
        var finish: String?
    }

    private(set) var choices: [Int64: Choice] = [:]
    private(set) var usages = 0
    private(set) var failure: String?
    private var isOver = false

    /// - Parameter stream: to its end.
    init(_ stream: [UInt8]) throws {
        for block in String(decoding: stream, as: UTF8.self).split(separator: "\n\n") {
            let lines = block.split(separator: "\n").filter { !$0.hasPrefix(":") }
            try Self.check(lines.count <= 1, "an event of several lines: \(block)")
            guard let line = lines.first else { continue }
            try Self.check(line.hasPrefix("data:") && !isOver, "\(line)")
            let data = line.dropFirst(line.hasPrefix("data: ") ? 6 : 5)
            if data == "[DONE]" { isOver = true } else { try read(String(data)) }
        }
        try Self.check(isOver || failure != nil, "no end")
        guard failure == nil else { return }
        for (index, choice) in choices { try Self.check(choice.finish != nil, "choice \(index) never finished") }
    }

    private static func check(_ isGood: Bool, _ words: @autoclosure () -> String) throws {
        if !isGood { throw Fault(description: words()) }
    }

    private mutating func read(_ text: String) throws {
        guard let chunk = try? JSONValue.parse(Array(text.utf8)) else { throw Fault(description: "no JSON: \(text)") }
        try Self.check(failure == nil, "behind the failure: \(text)")
        if let message = chunk["error"]?["message"]?.text {
            failure = message
            return
        }
        guard let list = chunk["choices"]?.elements else { throw Fault(description: "no choices: \(text)") }
        if list.isEmpty, chunk["usage"]?.members != nil {
            usages += 1
            try Self.check(choices.values.allSatisfy { $0.finish != nil }, "usage before the end: \(text)")
        }
        for choice in list { try read(choice, text) }
    }

    private mutating func read(_ choice: JSONValue, _ text: String) throws {
        guard let index = choice["index"]?.integer, let delta = choice["delta"], delta.members != nil else {
            throw Fault(description: "no index or no delta: \(text)")
        }
        let isFirst = choices[index] == nil
        try Self.check(delta["role"]?.text == (isFirst ? "assistant" : nil), "role: \(text)")
        var known = choices[index] ?? Choice()
        let said = delta["content"]?.text ?? ""
        let calls = delta["tool_calls"]?.elements ?? []
        try Self.check(known.finish == nil || said.isEmpty && calls.isEmpty, "behind the finish: \(text)")
        known.text += said
        for call in calls { try Self.read(call, &known.calls, text) }
        if let reason = choice["finish_reason"], reason != .null {
            try Self.check(known.finish == nil && reason.text?.isEmpty == false, "finish_reason: \(text)")
            known.finish = reason.text
        }
        choices[index] = known
    }

    private static func read(_ call: JSONValue, _ calls: inout [Call], _ text: String) throws {
        guard let index = call["index"]?.integer, call["function"]?.members != nil else {
            throw Fault(description: "no index or no function: \(text)")
        }
        let (id, name) = (call["id"]?.text, call["function"]?["name"]?.text ?? "")
        if index == calls.count {
            guard let id, !id.isEmpty, call["type"]?.text == "function", !calls.contains(where: { $0.id == id }),
                !name.isEmpty
            else {
                throw Fault(description: "how a call begins: \(text)")
            }
            calls.append(Call(id: id, name: name))
        } else {
            try check(index >= 0 && index < calls.count, "indices are not dense: \(text)")
            try check(id == nil && name.isEmpty, "identity changed: \(text)")
        }
        calls[Int(index)].arguments += call["function"]?["arguments"]?.text ?? ""
    }
}
