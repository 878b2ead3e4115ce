import MeshWire

/// Reads a stream of Responses as the strictest programs do: throws where one of them would, and puts together what was said.
struct StrictResponses {
    struct Fault: Error, CustomStringConvertible {
        var description: String
    }

    struct Item: Equatable {
        var id: String
        var type: String
        var callID = ""
        var name = ""
        var text = ""
        var parts: Int64 = 0
        var isDone = false
    }

    private(set) var items: [Item] = []
    private(set) var status: String?
    private(set) var failure: String?
    private var hasStarted = false
    private var number: Int64 = -1

    init(_ stream: [UInt8]) throws {
        for block in String(decoding: stream, as: UTF8.self).split(separator: "\n\n") {
            let lines = block.split(separator: "\n").filter { !$0.hasPrefix(":") }
            guard !lines.isEmpty else { continue }
            let data = lines.filter { $0.hasPrefix("data:") }
            try Self.check(data.count == 1, "an event of several lines: \(block)")
            let text = data[0].dropFirst(data[0].hasPrefix("data: ") ? 6 : 5)
            guard let event = try? JSONValue.parse(Array(text.utf8)), let type = event["type"]?.text else {
                throw Fault(description: "no JSON: \(block)")
            }
            try Self.check(status == nil, "behind the end: \(block)")
            guard let said = event["sequence_number"]?.integer, said > number else {
                throw Fault(description: "its number: \(block)")
            }
            number = said
            try read(type, event, String(block))
        }
        try Self.check(status != nil, "no end")
    }

    private static func check(_ isGood: Bool, _ words: @autoclosure () -> String) throws {
        if !isGood { throw Fault(description: words()) }
    }

    private mutating func read(_ type: String, _ event: JSONValue, _ text: String) throws {
        switch type {
        case "keepalive": return
        case "response.created":
            try Self.check(!hasStarted && event["response"]?.members != nil, "start: \(text)")
            hasStarted = true
            // What stands in it is there.
            for item in event["response"]?["output"]?.elements ?? [] {
                items.append(
                    Item(
                        id: item["id"]?.text ?? "", type: item["type"]?.text ?? "", callID: item["call_id"]?.text ?? "",
                        name: item["name"]?.text ?? "", isDone: true))
            }
            return
        case "response.failed":
            status = "failed"
            failure = event["response"]?["error"]?["message"]?.text
            return try Self.check(failure != nil, "failure: \(text)")
        default: try Self.check(hasStarted, "before the beginning: \(text)")
        }
        switch type {
        case "response.completed", "response.incomplete":
            status = event["response"]?["status"]?.text
            try Self.check(items.allSatisfy(\.isDone) && status != nil, "an item is open: \(text)")
        case "response.output_item.added", "response.output_item.done": try readItem(type, event, text)
        default: if event["output_index"] != nil { try readPiece(type, event, text) }
        }
    }

    private mutating func readItem(_ type: String, _ event: JSONValue, _ text: String) throws {
        guard let index = event["output_index"]?.integer.map(Int.init), let id = event["item"]?["id"]?.text,
            !id.isEmpty,
            let kind = event["item"]?["type"]?.text
        else { throw Fault(description: "no item: \(text)") }
        let call = event["item"]?["call_id"]?.text ?? ""
        if type == "response.output_item.added" {
            try Self.check(index == items.count && !items.contains { $0.id == id }, "added: \(text)")
            try Self.check(kind != "function_call" || !call.isEmpty, "no call_id: \(text)")
            items.append(Item(id: id, type: kind, callID: call, name: event["item"]?["name"]?.text ?? ""))
        } else {
            try Self.check(items.indices.contains(index) && !items[index].isDone, "done: \(text)")
            let item = items[index]
            try Self.check(item.id == id && item.type == kind && item.callID == call, "identity: \(text)")
            items[index].isDone = true
        }
    }

    private mutating func readPiece(_ type: String, _ event: JSONValue, _ text: String) throws {
        guard let index = event["output_index"]?.integer.map(Int.init), items.indices.contains(index),
            !items[index].isDone,
            event["item_id"]?.text == items[index].id
        else { throw Fault(description: "no such item: \(text)") }
        switch type {
        case "response.content_part.added":
            try Self.check(event["content_index"]?.integer == items[index].parts, "part: \(text)")
            items[index].parts += 1
        case "response.output_text.delta", "response.refusal.delta":
            try Self.check(event["content_index"]?.integer == items[index].parts - 1, "no such part: \(text)")
            items[index].text += event["delta"]?.text ?? ""
        case "response.function_call_arguments.delta": items[index].text += event["delta"]?.text ?? ""
        default: break
        }
    }
}
