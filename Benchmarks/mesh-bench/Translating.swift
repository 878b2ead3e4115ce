import ArgumentParser
import MeshDialects
import MeshModel
import MeshWire

/// What it costs to tell one API in the words of another, on one core and without a node around it.
struct Translate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure the translation of Messages and Responses into chats, and of their answers back.")

    @Option(help: "How often each is done in a run; the best of five runs counts.")
    var times = 2_000

    func run() throws {
        for line in try TranslationCost.measure(times: times) { print(line) }
    }
}

/// Requests of about 4 KB, and streams of one text of 200 pieces.
enum TranslationCost {
    private static let pieces = 200

    static func measure(times: Int) throws -> [String] {
        let (messages, responses) = (messagesRequest, responsesRequest)
        let terms = try ResponsesRequest(responses).terms
        let scanned = try best(of: times) {
            try responses.withUnsafeBytes { _ = try JSONScanner.fields(of: $0, depth: Limits.jsonDepth) }
        }
        let rows: [(String, Double, String)] = [
            ("request as it passes (read once)", scanned, "a request of \(responses.count) bytes"),
            (
                "request, Messages to chat", try best(of: times) { _ = try MessagesRequest(messages) },
                "a request of \(messages.count) bytes"
            ),
            (
                "request, Responses to chat", try best(of: times) { _ = try ResponsesRequest(responses) },
                "a request of \(responses.count) bytes"
            ),
            (
                "event, chat to Messages",
                try event(times) {
                    MessagesStream(MessagesContext(model: "m", requestID: "req_1", stopSequences: [], promptTokens: 9))
                }, "an event"
            ),
            (
                "event, chat to Responses",
                try event(times) {
                    ResponsesStream(
                        ResponsesContext(model: "m", requestID: "req_1", terms: terms, promptTokens: 9, createdAt: 0))
                }, "an event"
            ),
            ("event of a chat as it passes", letter(times, ChatLetter(hasTools: false)), "an event"),
            ("event of a chat with tools as it passes", letter(times, ChatLetter(hasTools: true)), "an event"),
            ("event of Messages as it passes", passed(times, MessagesLetter(), messagesStream), "an event"),
            (
                "event of Responses as it passes", passed(times, ResponsesLetter(requestID: "req_1"), responsesStream),
                "an event"
            ),
        ]
        return rows.map { name, nanoseconds, unit in
            let tenths = Int(nanoseconds / 100)
            return "\(name): \(tenths / 10).\(tenths % 10) µs \(unit)"
        }
    }

    /// Nanoseconds.
    private static func best(of times: Int, _ work: () throws -> Void) rethrows -> Double {
        var best = Double.infinity
        for _ in 0..<5 {
            let took = try ContinuousClock().measure { for _ in 0..<times { try work() } }
            best = min(best, Double(took / .nanoseconds(1)) / Double(times))
        }
        return best
    }

    private static let chunks = (0..<pieces).map { number in
        Array(
            #"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764400000,"model":"m","choices":[{"index":0,"delta":{"content":" word\#(number)"},"finish_reason":null}]}"#
                .utf8) + [10, 10]
    }

    /// Of a stream that lacks nothing.
    private static func letter(_ times: Int, _ begun: ChatLetter) -> Double {
        let first = Array(
            #"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#.utf8)
        let whole = best(of: max(times / 50, 1)) {
            var letter = begun
            for chunk in [first + [10, 10]] + chunks { _ = chunk.withUnsafeBytes { letter.mended($0) } }
        }
        return whole / Double(pieces)
    }

    private static func passed(_ times: Int, _ begun: some PassedStream, _ events: [[UInt8]]) -> Double {
        let whole = best(of: max(times / 50, 1)) {
            var stream = begun
            for event in events { _ = event.withUnsafeBytes { stream.mended($0) } }
        }
        return whole / Double(pieces)
    }

    private static func events(_ documents: [(name: String, members: String)]) -> [[UInt8]] {
        documents.map { name, members in
            Array("event: \(name)\ndata: {\"type\":\"\(name)\",\(members)}\n\n".utf8)
        }
    }

    private static let messagesStream = events(
        [
            ("message_start", #""message":{"id":"msg_1","usage":{"input_tokens":9,"output_tokens":0}}"#),
            ("content_block_start", #""index":0,"content_block":{"type":"text","text":""}"#),
        ]
            + (0..<pieces).map {
                ("content_block_delta", #""index":0,"delta":{"type":"text_delta","text":" word\#($0)"}"#)
            })

    private static let responsesStream = events(
        [
            ("response.created", #""sequence_number":0,"response":{"id":"resp_1","status":"in_progress"}"#),
            (
                "response.output_item.added",
                #""sequence_number":1,"output_index":0,"item":{"id":"msg_1","type":"message","content":[]}"#
            ),
            (
                "response.content_part.added",
                #""sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text"}"#
            ),
        ]
            + (0..<pieces).map {
                (
                    "response.output_text.delta",
                    #""sequence_number":\#($0 + 3),"item_id":"msg_1","output_index":0,"content_index":0,"delta":" word\#($0)""#
                )
            })

    private static func event(_ times: Int, _ begin: () -> any TranslatedStream) throws -> Double {
        let whole = try best(of: max(times / 50, 1)) {
            var stream = begin()
            for chunk in chunks { _ = try stream.append(chunk) }
            _ = stream.finish(AnswerTotals(), outputTokens: 1)
        }
        return whole / Double(pieces)
    }

    // MARK: Requests

    private static let words = String(
        repeating: "Say in a few sentences what the function below does, and name the line on which it fails. ",
        count: 4)
    private static let schema =
        #"{"type":"object","properties":{"path":{"type":"string","description":"Where the file is."},"lines":{"type":"array","items":{"type":"integer"}}},"required":["path"]}"#

    private static let messagesRequest: [UInt8] = {
        let tools = (0..<4).map {
            #"{"name":"tool_\#($0)","description":"Reads lines of a file.","input_schema":\#(schema)}"#
        }
        let turns = (0..<3).map {
            #"{"role":"user","content":[{"type":"text","text":"\#(words)"}]},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_\#($0)","name":"tool_0","input":{"path":"a.swift","lines":[1,2]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_\#($0)","content":"\#(words)"}]}"#
        }
        return Array(
            #"{"model":"m","max_tokens":1024,"stream":true,"system":"\#(words)","tools":[\#(tools.joined(separator: ","))],"messages":[\#(turns.joined(separator: ","))]}"#
                .utf8)
    }()

    private static let responsesRequest: [UInt8] = {
        let tools = (0..<4).map {
            #"{"type":"function","name":"tool_\#($0)","description":"Reads lines of a file.","parameters":\#(schema)}"#
        }
        let items = (0..<3).map {
            #"{"type":"message","role":"user","content":[{"type":"input_text","text":"\#(words)"}]},{"type":"function_call","call_id":"call_\#($0)","name":"tool_0","arguments":"{\"path\":\"a.swift\",\"lines\":[1,2]}"},{"type":"function_call_output","call_id":"call_\#($0)","output":"\#(words)"}"#
        }
        return Array(
            #"{"model":"m","stream":true,"store":false,"instructions":"\#(words)","tools":[\#(tools.joined(separator: ","))],"input":[\#(items.joined(separator: ","))]}"#
                .utf8)
    }()
}
