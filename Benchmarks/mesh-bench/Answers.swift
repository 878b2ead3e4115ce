import MeshWire
import NIOCore

/// What is asked and answered: the same bytes whether a worker answers behind a node or a plain HTTP server behind
/// nginx.
enum Answers {
    static let model = "bench-chat"

    /// A chat answer of 1 KiB.
    static let whole: [UInt8] = {
        let front =
            #"{"id":"chatcmpl-bench","object":"chat.completion","created":1760000000,"model":"bench-chat","choices":[{"index":0,"message":{"role":"assistant","content":""#
        let back =
            #""},"finish_reason":"stop"}],"usage":{"prompt_tokens":180,"completion_tokens":120,"total_tokens":300}}"#
        let words = "All happy meshes are alike; each unhappy mesh is unhappy in its own way. "
        let room = 1_024 - front.utf8.count - back.utf8.count
        let text = String(String(repeating: words, count: 20).prefix(room))
        return Array((front + text + back).utf8)
    }()

    static let models = Array(#"{"object":"list","data":[{"id":"bench-chat","object":"model"}]}"#.utf8)

    static let eventFront =
        #"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1760000000,"model":"bench-chat","choices":[{"index":0,"delta":{"content":""#
    static let eventBack = #""},"finish_reason":null}]}"# + "\n\n"
    static let done = "data: [DONE]\n\n"

    /// A chat request of 1 KiB.
    static func request(model: String, stream: Pace?) -> [UInt8] {
        var text = #"{"model":"\#(model)","stream":\#(stream != nil)"#
        if let stream { text += #","bench_chunks":\#(stream.chunks),"bench_pace_us":\#(stream.microseconds)"# }
        text += #","messages":[{"role":"user","content":""#
        let back = #""}]}"#
        let room = max(1_024 - text.utf8.count - back.utf8.count, 1)
        text += String(repeating: "tell me more ", count: 100).prefix(room) + back
        return Array(text.utf8)
    }

    static func quotedInside(_ text: String) -> [UInt8] {
        Array(JSONText.quoted(text).dropFirst().dropLast())
    }
}

/// A stream of `chunks` events, one every `microseconds`; the first is sent at once.
struct Pace: Sendable, Hashable {
    var chunks: Int
    var microseconds: Int

    /// What the request body asks for; nil when it asks for a whole answer.
    static func asked(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> Pace? {
        guard fields.boolean("stream", in: bytes) == true else { return nil }
        let chunks = fields.integer("bench_chunks", in: bytes) ?? 1
        let pace = fields.integer("bench_pace_us", in: bytes) ?? 1_000
        return Pace(chunks: Int(min(max(chunks, 1), 1_000_000)), microseconds: Int(min(max(pace, 100), 10_000_000)))
    }
}
