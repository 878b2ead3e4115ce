import MeshWire

/// Reads a stream of Messages as the strictest programs do: throws where one of them would, and puts together what was said.
struct StrictMessages {
    struct Fault: Error, CustomStringConvertible {
        var description: String
    }

    struct Block: Equatable {
        var kind: String
        var name = ""
        var id = ""
        var text = ""
        var hasEnded = false
    }

    private(set) var blocks: [Block] = []
    private(set) var reason: String?
    private(set) var failure: String?
    private var hasStarted = false
    private var isOver = false

    init(_ stream: [UInt8]) throws {
        for block in String(decoding: stream, as: UTF8.self).split(separator: "\n\n") {
            let lines = block.split(separator: "\n").filter { !$0.hasPrefix(":") }
            guard !lines.isEmpty else { continue }
            let names = lines.filter { $0.hasPrefix("event:") }
            let data = lines.filter { $0.hasPrefix("data:") }
            try Self.check(names.count == 1 && data.count == 1, "an event without its name: \(block)")
            guard let document = try? JSONValue.parse(Array(data[0].dropFirst(5).utf8)) else {
                throw Fault(description: "no JSON: \(block)")
            }
            try Self.check(
                document["type"]?.text == String(names[0].dropFirst(6).drop { $0 == " " }), "another name: \(block)")
            try Self.check(!isOver && failure == nil, "behind the end: \(block)")
            try read(document, String(block))
        }
        try Self.check(isOver || failure != nil, "no end")
    }

    private static func check(_ isGood: Bool, _ words: @autoclosure () -> String) throws {
        if !isGood { throw Fault(description: words()) }
    }

    private mutating func read(_ event: JSONValue, _ text: String) throws {
        let type = event["type"]?.text ?? ""
        switch type {
        case "ping": break
        case "error":
            failure = event["error"]?["message"]?.text
            try Self.check(failure != nil && event["error"]?["type"]?.text != nil, "error: \(text)")
        case "message_start":
            try Self.check(!hasStarted && event["message"]?["usage"]?["input_tokens"]?.integer != nil, "start: \(text)")
            hasStarted = true
        default:
            try Self.check(hasStarted, "before the beginning: \(text)")
            try readInside(type, event, text)
        }
    }

    private mutating func readInside(_ type: String, _ event: JSONValue, _ text: String) throws {
        let index = event["index"]?.integer.map(Int.init)
        let isOpen = index == blocks.count - 1 && blocks.last?.hasEnded == false
        switch type {
        case "content_block_start":
            try Self.check(index == blocks.count && blocks.last?.hasEnded ?? true && reason == nil, "start: \(text)")
            let block = event["content_block"]
            guard let kind = block?["type"]?.text else { throw Fault(description: text) }
            blocks.append(Block(kind: kind, name: block?["name"]?.text ?? "", id: block?["id"]?.text ?? ""))
            try Self.check(kind != "tool_use" || !blocks[blocks.count - 1].name.isEmpty, "no name: \(text)")
        case "content_block_delta":
            try Self.check(isOpen, "no such block: \(text)")
            let delta = event["delta"]
            let (kind, said) = (blocks[blocks.count - 1].kind, delta?["type"]?.text ?? "")
            let types = [
                "text": ["text_delta"], "thinking": ["thinking_delta", "signature_delta"],
                "tool_use": ["input_json_delta"],
            ]
            try Self.check(types[kind]?.contains(said) ?? true, "another type of piece: \(text)")
            blocks[blocks.count - 1].text +=
                delta?["text"]?.text ?? delta?["thinking"]?.text ?? delta?["partial_json"]?.text ?? ""
        case "content_block_stop":
            try Self.check(isOpen, "no such block: \(text)")
            blocks[blocks.count - 1].hasEnded = true
        case "message_delta":
            try Self.check(blocks.allSatisfy(\.hasEnded), "a block is open: \(text)")
            try Self.check(event["usage"]?["output_tokens"]?.integer != nil, "usage: \(text)")
            reason = event["delta"]?["stop_reason"]?.text ?? reason
        case "message_stop":
            try Self.check(reason != nil, "no reason: \(text)")
            isOver = true
        default: break
        }
    }
}
