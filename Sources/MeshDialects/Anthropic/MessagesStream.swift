package import MeshModel
import MeshWire

/// The events of a streamed chat completion as those of a message: bytes in, cut anywhere, and bytes out. The parts of the turn
/// are the message's blocks.
package struct MessagesStream: TurnTranslation {
    var turn: TurnStream<MessagesWriter>
    private var context: MessagesContext { turn.writer.context }

    package init(_ context: MessagesContext) { turn = TurnStream(MessagesWriter(context)) }

    private func stop(_ end: TurnEnd) -> (reason: String, sequence: String?) {
        context.stop(end.reason, end.stopSequence, hasCalls: end.hasCalls)
    }

    func excuses(_ end: TurnEnd) -> Bool { stop(end).reason != "end_turn" }

    mutating func tell(_ end: TurnEnd, outputTokens: Int64, _ output: inout [UInt8]) {
        let (reason, sequence) = stop(end)
        let delta: JSONValue = [
            "type": "message_delta",
            "delta": [
                "stop_reason": .string(end.isRefusal ? "refusal" : reason), "stop_sequence": .optional(sequence),
            ],
            "usage": context.usage(end.usage, outputTokens: outputTokens),
        ]
        output += EventText.event("message_delta", delta.bytes)
        output += EventText.event("message_stop", Array(#"{"type":"message_stop"}"#.utf8))
    }

    /// The stream broke off: blocks that have ended are kept by programs, the one that is open is not.
    package mutating func failure(_ error: MeshError) -> [UInt8] {
        turn.breakOff()
        return Dialect.messages.failureEvent(error, requestID: context.requestID)
    }

    package mutating func keepAlive() -> [UInt8] { Dialect.messages.keepAlive(after: []) }
}

struct MessagesWriter: TurnWriter {
    let context: MessagesContext
    private var blocks = 0
    private var delta = ""
    /// What stands behind a thought.
    private var signature: String?

    init(_ context: MessagesContext) { self.context = context }

    func callID(_ said: String?, number: Int, taken: [String]) -> String {
        context.callID(said, number: number, taken: taken)
    }

    mutating func start(_ usage: UsageReading, _ output: inout [UInt8]) {
        let message: JSONValue = [
            "type": "message_start",
            "message": [
                "id": .string(context.messageID), "type": "message", "role": "assistant",
                "model": .string(context.model), "content": [], "stop_reason": nil, "stop_sequence": nil,
                "usage": context.usage(usage, outputTokens: 0),
            ],
        ]
        output += EventText.event("message_start", message.bytes)
        output += Dialect.messages.keepAlive(after: [])
    }

    mutating func open(_ part: TurnPart, _ output: inout [UInt8]) {
        output += "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":".utf8
        output += String(blocks).utf8
        output += ",\"content_block\":".utf8
        switch part {
        case .text, .refusal:
            delta = #"text_delta","text"#
            output += #"{"type":"text","text":""}"#.utf8
        case .thought(let field):
            delta = #"thinking_delta","thinking"#
            signature = context.mark(field)
            output += #"{"type":"thinking","thinking":"","signature":""}"#.utf8
        case .call(let id, let name):
            delta = #"input_json_delta","partial_json"#
            output += #"{"type":"tool_use","id":"#.utf8
            JSONText.appendQuoted(id.utf8, to: &output)
            output += #","name":""#.utf8
            output += name
            output += #"","input":{}}"#.utf8
        }
        output += "}\n\n".utf8
    }

    mutating func write(_ text: ArraySlice<UInt8>, _ output: inout [UInt8]) { write(delta, text, &output) }

    private func write(_ delta: String, _ text: some Collection<UInt8>, _ output: inout [UInt8]) {
        output += "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":".utf8
        output += String(blocks).utf8
        output += ",\"delta\":{\"type\":\"".utf8
        output += delta.utf8
        output += "\":\"".utf8
        output += text
        output += "\"}}\n\n".utf8
    }

    mutating func close(isCut: Bool, _ output: inout [UInt8]) {
        if let signature { write(#"signature_delta","signature"#, signature.utf8, &output) }
        signature = nil
        output += "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":".utf8
        output += String(blocks).utf8
        output += "}\n\n".utf8
        blocks += 1
    }
}
