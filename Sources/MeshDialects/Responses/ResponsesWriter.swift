import MeshModel
import MeshWire

/// Tells the parts of a turn as items of a response, and keeps them for its last event.
struct ResponsesWriter: TurnWriter {
    /// The item that is open.
    private struct Item: Sendable {
        var part: TurnPart
        var id: String
        /// What came of it, as it stands in a JSON string.
        var text: [UInt8] = []
        /// Of a call: the tool's name as the buyer knows it, and whether its input is free text.
        var name: [UInt8] = []
        var namespace: String?
        var isFreeForm = false
    }

    let context: ResponsesContext
    private let mark: String
    private var sequence: Int64 = 0
    private var item: Item?
    private var items = 0
    /// The items that are done, as they stand in a list.
    private var told: [UInt8] = []
    /// What the pieces of the item that is open are called, and what stands in front of and behind each.
    private var pieceName = ""
    private var pieceHead: [UInt8] = []
    private var pieceTail: [UInt8] = []

    init(_ context: ResponsesContext) {
        self.context = context
        mark = context.mark.text
    }

    func callID(_ said: String?, number: Int, taken: [String]) -> String {
        context.mark.callID("call", said, number: number, taken: taken)
    }

    // MARK: The response

    mutating func start(_ usage: UsageReading, _ output: inout [UInt8]) {
        let response = document(status: "in_progress", usage: .null)
        for name in ["response.created", "response.in_progress"] {
            begin(name, &output)
            output += ",\"response\":".utf8
            output += response
            Self.end(&output)
        }
    }

    mutating func end(_ end: TurnEnd, outputTokens: Int64, _ output: inout [UInt8]) {
        let response = document(end, outputTokens: outputTokens)
        begin("response.\(ResponsesContext.status(end.reason).status)", &output)
        output += ",\"response\":".utf8
        output += response
        Self.end(&output)
    }

    mutating func fail(_ error: MeshError, _ output: inout [UInt8]) {
        let response = document(status: "failed", error: Dialect.failedReason(error), usage: .null)
        begin("response.failed", &output)
        output += ",\"response\":".utf8
        output += response
        Self.end(&output)
    }

    mutating func keepAlive(_ output: inout [UInt8]) {
        begin("keepalive", &output)
        Self.end(&output)
    }

    func document(_ end: TurnEnd, outputTokens: Int64) -> [UInt8] {
        let (status, incomplete) = ResponsesContext.status(end.reason)
        return document(
            status: status, incomplete: incomplete.map { ["reason": .string($0)] } ?? .null,
            usage: context.usage(end.usage, outputTokens: outputTokens))
    }

    private func document(
        status: String, error: JSONValue = .null, incomplete: JSONValue = .null, usage: JSONValue
    ) -> [UInt8] {
        let head: JSONValue = [
            "id": .string("resp_\(mark)"), "object": "response", "created_at": .integer(context.createdAt),
            "status": .string(status), "error": error, "incomplete_details": incomplete,
            "model": .string(context.model),
        ]
        var bytes = head.bytes
        bytes.reserveCapacity(bytes.count + told.count + context.terms.repeated.count + 256)
        bytes.removeLast()
        bytes += ",\"output\":[".utf8
        bytes += told
        bytes += "],".utf8
        bytes += context.terms.repeated
        bytes += ",\"usage\":".utf8
        usage.append(to: &bytes)
        bytes += "}".utf8
        return bytes
    }

    // MARK: Items

    mutating func open(_ part: TurnPart, _ output: inout [UInt8]) {
        var opened = Item(part: part, id: "")
        switch part {
        case .text, .refusal: opened.id = "msg_\(mark)_\(items)"
        case .thought: opened.id = "rs_\(mark)_\(items)"
        case .call(_, let name):
            let said = String(decoding: ResponsesTools.plain(name), as: UTF8.self)
            let tool = context.terms.tools.tool(function: said)
            opened.isFreeForm = tool?.isFreeForm ?? false
            opened.id = "\(opened.isFreeForm ? "ctc" : "fc")_\(mark)_\(items)"
            opened.namespace = tool?.namespace
            opened.name = tool.map { Array(JSONText.quoted($0.name).dropFirst().dropLast()) } ?? name
        }
        item = opened
        let shown = document(opened, status: "in_progress", isDone: false)
        begin("response.output_item.added", &output)
        output += ",\"output_index\":\(items),\"item\":".utf8
        output += shown
        Self.end(&output)
        let place = #","item_id":"\#(opened.id)","output_index":\#(items)"#
        let inner: String
        switch part {
        case .text: inner = content(place, #"{"type":"output_text","text":"","annotations":[],"logprobs":[]}"#, &output)
        case .refusal: inner = content(place, #"{"type":"refusal","refusal":""}"#, &output)
        case .thought:
            begin("response.reasoning_summary_part.added", &output)
            output += place.utf8
            output += #","summary_index":0,"part":{"type":"summary_text","text":""}"#.utf8
            Self.end(&output)
            inner = "\(place),\"summary_index\":0"
        case .call: inner = place
        }
        pieceName = Self.names(of: opened).delta
        pieceHead = Array("\(inner),\"delta\":\"".utf8)
        pieceTail = Array((part == .text ? "\",\"logprobs\":[]" : "\"").utf8)
    }

    private mutating func content(_ place: String, _ part: String, _ output: inout [UInt8]) -> String {
        let inner = "\(place),\"content_index\":0"
        begin("response.content_part.added", &output)
        output += inner.utf8
        output += ",\"part\":".utf8
        output += part.utf8
        Self.end(&output)
        return inner
    }

    mutating func write(_ text: ArraySlice<UInt8>, _ output: inout [UInt8]) throws(MeshError) {
        guard told.count + (item?.text.count ?? 0) + text.count <= Limits.translatedAnswerBytes else {
            throw MeshError(.workerBadAnswer, "the worker's answer is longer than this node translates")
        }
        item?.text += text
        // What is wrapped in JSON is told when it is whole.
        if item?.isFreeForm == false { piece(text, &output) }
    }

    private mutating func piece(_ text: some Collection<UInt8>, _ output: inout [UInt8]) {
        begin(pieceName, &output)
        output += pieceHead
        output += text
        output += pieceTail
        Self.end(&output)
    }

    mutating func close(isCut: Bool, _ output: inout [UInt8]) {
        guard var done = item else { return }
        item = nil
        if done.isFreeForm {
            let input = ResponsesTools.input(of: done.text)
            done.text = Array(JSONText.quoted(input).dropFirst().dropLast())
            if !done.text.isEmpty { piece(done.text, &output) }
        } else if case .call = done.part, done.text.isEmpty {
            done.text = Array("{}".utf8)
        }
        tellEnd(of: done, &output)
        let shown = document(done, status: isCut ? "incomplete" : "completed", isDone: true)
        begin("response.output_item.done", &output)
        output += ",\"output_index\":\(items),\"item\":".utf8
        output += shown
        Self.end(&output)
        if !told.isEmpty { told.append(UInt8(ascii: ",")) }
        told += shown
        items += 1
    }

    /// That no more comes of what an item holds.
    private mutating func tellEnd(of item: Item, _ output: inout [UInt8]) {
        let place = #","item_id":"\#(item.id)","output_index":\#(items)"#
        let index: String
        switch item.part {
        case .text, .refusal: index = ",\"content_index\":0"
        case .thought: index = ",\"summary_index\":0"
        case .call: index = ""
        }
        let names = Self.names(of: item)
        begin(names.done, &output)
        output += place.utf8
        output += index.utf8
        if case .call = item.part, !item.isFreeForm {
            output += ",\"name\":\"".utf8
            output += item.name
            output += "\"".utf8
        }
        output += ",\"\(names.member)\":\"".utf8
        output += item.text
        output += (item.part == .text ? "\",\"logprobs\":[]" : "\"").utf8
        Self.end(&output)
        guard let part = names.part else { return }
        begin(part, &output)
        output += place.utf8
        output += index.utf8
        output += ",\"part\":".utf8
        Self.append(contentOf: item, to: &output)
        Self.end(&output)
    }

    private struct Names {
        var delta: String
        var done: String
        var member: String
        /// What tells that the part is done, where there is one.
        var part: String?
    }

    private static func names(of item: Item) -> Names {
        switch item.part {
        case .text:
            Names(
                delta: "response.output_text.delta", done: "response.output_text.done", member: "text",
                part: "response.content_part.done")
        case .refusal:
            Names(
                delta: "response.refusal.delta", done: "response.refusal.done", member: "refusal",
                part: "response.content_part.done")
        case .thought:
            Names(
                delta: "response.reasoning_summary_text.delta", done: "response.reasoning_summary_text.done",
                member: "text", part: "response.reasoning_summary_part.done")
        case .call where item.isFreeForm:
            Names(
                delta: "response.custom_tool_call_input.delta", done: "response.custom_tool_call_input.done",
                member: "input")
        case .call:
            Names(
                delta: "response.function_call_arguments.delta", done: "response.function_call_arguments.done",
                member: "arguments")
        }
    }

    /// The one part that an item of text holds.
    private static func append(contentOf item: Item, to bytes: inout [UInt8]) {
        switch item.part {
        case .text:
            bytes += #"{"type":"output_text","text":""#.utf8
            bytes += item.text
            bytes += #"","annotations":[],"logprobs":[]}"#.utf8
        case .refusal:
            bytes += #"{"type":"refusal","refusal":""#.utf8
            bytes += item.text
            bytes += #""}"#.utf8
        case .thought:
            bytes += #"{"type":"summary_text","text":""#.utf8
            bytes += item.text
            bytes += #""}"#.utf8
        case .call: break
        }
    }

    private func document(_ item: Item, status: String, isDone: Bool) -> [UInt8] {
        var bytes = Array(#"{"id":"\#(item.id)","type":""#.utf8)
        switch item.part {
        case .text, .refusal:
            bytes += #"message","status":"\#(status)","role":"assistant","content":["#.utf8
            if isDone { Self.append(contentOf: item, to: &bytes) }
            bytes += "]".utf8
        case .thought(let field):
            bytes += #"reasoning","summary":["#.utf8
            if isDone { Self.append(contentOf: item, to: &bytes) }
            bytes += "]".utf8
            if context.terms.wantsEncryptedReasoning, let model = context.servedModel {
                bytes += ",\"encrypted_content\":".utf8
                JSONText.appendQuoted(Thought.mark(field, by: model).utf8, to: &bytes)
            }
        case .call(let id, _):
            bytes += item.isFreeForm ? "custom_tool_call".utf8 : "function_call".utf8
            bytes += #"","status":"\#(status)","call_id":"#.utf8
            JSONText.appendQuoted(id.utf8, to: &bytes)
            if let namespace = item.namespace {
                bytes += ",\"namespace\":".utf8
                JSONText.appendQuoted(namespace.utf8, to: &bytes)
            }
            bytes += ",\"name\":\"".utf8
            bytes += item.name
            bytes += (item.isFreeForm ? "\",\"input\":\"" : "\",\"arguments\":\"").utf8
            if isDone { bytes += item.text }
            bytes += "\"".utf8
        }
        bytes += "}".utf8
        return bytes
    }

    // MARK: Events

    private mutating func begin(_ name: String, _ output: inout [UInt8]) {
        output += "event: ".utf8
        output += name.utf8
        output += "\ndata: {\"type\":\"".utf8
        output += name.utf8
        output += "\",\"sequence_number\":".utf8
        output += String(sequence).utf8
        sequence += 1
    }

    private static func end(_ output: inout [UInt8]) { output += "}\n\n".utf8 }
}
