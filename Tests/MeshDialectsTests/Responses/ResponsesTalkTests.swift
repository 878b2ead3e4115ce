import MeshDialects
import MeshModel
import MeshWire
import Testing

/// What is said over a WebSocket of the Responses API.
@Suite struct ResponsesTalkTests {
    private static func took(_ talk: inout ResponsesTalk, _ frame: String) throws -> JSONValue {
        guard case .ask(let body) = try talk.took(Array(frame.utf8)) else { return .null }
        return try JSONValue.parse(body)
    }

    private static func completed(_ id: String, _ output: String, type: String = "response.completed") -> [UInt8] {
        Array(#"{"type":"\#(type)","sequence_number":4,"response":{"id":"\#(id)","output":[\#(output)]}}"#.utf8)
    }

    /// The next request names the last response, and says only what is new.
    @Test func whatWasSaidIsRemembered() throws {
        var talk = ResponsesTalk(mark: "x")
        let first = try Self.took(
            &talk,
            #"{"type":"response.create","model":"m","input":"hi","store":false,"event_id":"e","temperature":0.70}"#)
        #expect(first["input"] == [["type": "message", "role": "user", "content": "hi"]])
        #expect(first["stream"] == true && first["type"] == nil && first["event_id"] == nil)
        #expect(first["temperature"] == .number("0.70") && talk.isBusy)
        talk.told(Array(#"{"type":"response.created","response":{"id":"r1"}}"#.utf8))
        talk.told(Self.completed("r1", #"{"type":"message","id":"m1"}"#))
        talk.ended()
        let second = try Self.took(
            &talk, #"{"type":"response.create","model":"m","previous_response_id":"r1","input":[{"a":1},{"b":2}]}"#)
        #expect(second["previous_response_id"] == nil)
        #expect(
            second["input"] == [
                ["type": "message", "role": "user", "content": "hi"], ["type": "message", "id": "m1"], ["a": 1],
                ["b": 2],
            ])
        // One that failed is nothing to go on from; the one before still is.
        talk.told(Self.completed("r2", "", type: "response.failed"))
        talk.ended()
        #expect(throws: MeshError.self) {
            try Self.took(&talk, #"{"type":"response.create","model":"m","previous_response_id":"r2","input":"x"}"#)
        }
        let third = try Self.took(
            &talk, #"{"type":"response.create","model":"m","previous_response_id":"r1","input":[ ]}"#)
        #expect(third["input"]?.elements?.count == 2)
    }

    /// What is said beforehand costs nothing, and is remembered.
    @Test func whatIsSaidBeforehandIsNotAsked() throws {
        var talk = ResponsesTalk(mark: "x")
        let frame = #"{"type":"response.create","generate":false,"model":"m","instructions":"i","input":[{"a":1}]}"#
        guard case .tell(let events) = try talk.took(Array(frame.utf8)) else {
            Issue.record("asked")
            return
        }
        let last = try JSONValue.parse(try #require(events.last))
        #expect(last["type"] == "response.completed" && last["response"]?["output"] == [])
        let id = try #require(last["response"]?["id"]?.text)
        let next = try Self.took(
            &talk, #"{"type":"response.create","model":"m","previous_response_id":"\#(id)","input":[{"b":2}]}"#)
        #expect(next["input"] == [["a": 1], ["b": 2]] && next["generate"] == nil)
    }

    @Test(
        arguments: [
            ("", "invalid_json", nil), ("[]", "invalid_json", nil), ("{}", "invalid_request", "type"),
            (#"{"type":"response.append"}"#, "invalid_request", "type"),
            (#"{"type":"response.create","input":5}"#, "invalid_request", "input"),
            (#"{"type":"response.create","input":"a","input":"b"}"#, "invalid_request", "input"),
            (
                #"{"type":"response.create","previous_response_id":"r","input":"a"}"#, "previous_response_not_found",
                "previous_response_id"
            ),
            (
                #"{"type":"response.create","previous_response_id":5,"input":"a"}"#, "previous_response_not_found",
                "previous_response_id"
            ),
        ] as [(String, String, String?)])
    func whatIsNoFrame(frame: String, code: String, parameter: String?) {
        var talk = ResponsesTalk(mark: "x")
        let error = #expect(throws: MeshError.self) { try talk.took(Array(frame.utf8)) }
        #expect(error?.code.rawValue == code && error?.parameter == parameter, "\(String(describing: error))")
        #expect(!talk.isBusy && talk.heldBytes == 0)
    }

    @Test func oneAtATime() throws {
        var talk = ResponsesTalk(mark: "x")
        _ = try Self.took(&talk, #"{"type":"response.create","model":"m","input":"hi"}"#)
        #expect(throws: MeshError.self) {
            try Self.took(&talk, #"{"type":"response.create","model":"m","input":"hi"}"#)
        }
        #expect(try talk.took(Array(#"{"type":"response.processed","response_id":"r"}"#.utf8)) == .nothing)
        talk.ended()
        #expect(try Self.took(&talk, #"{"type":"response.create","model":"m"}"#)["input"] == [])
    }

    /// What would not fit a request is forgotten.
    @Test func whatIsRememberedIsBounded() throws {
        var talk = ResponsesTalk(mark: "x")
        let text = String(repeating: "x", count: 1 << 20)
        _ = try Self.took(&talk, #"{"type":"response.create","model":"m","input":"\#(text)"}"#)
        let output = (0..<8).map { _ in #"{"text":"\#(text)"}"# }.joined(separator: ",")
        talk.told(Self.completed("r1", output))
        talk.ended()
        #expect(talk.heldBytes == 0)
        #expect(throws: MeshError.self) {
            try Self.took(&talk, #"{"type":"response.create","model":"m","previous_response_id":"r1","input":"x"}"#)
        }
    }

    /// Frames cut and changed anywhere: an error, or a request that is JSON.
    @Test func whateverComesIsNoFault() throws {
        var dice = SeededGenerator(seed: 7)
        let frame = Array(
            #"{"type":"response.create","model":"m","previous_response_id":"r1","generate":true,"input":[{"role":"user","content":"\u00e4\n"}]}"#
                .utf8)
        for _ in 0..<4_000 {
            var talk = ResponsesTalk(mark: "x")
            _ = try Self.took(&talk, #"{"type":"response.create","model":"m","input":"hi"}"#)
            talk.told(Self.completed("r1", ""))
            talk.ended()
            var damaged = frame
            for _ in 0..<Int.random(in: 1...3, using: &dice) {
                damaged[Int.random(in: damaged.indices, using: &dice)] = UInt8.random(in: 0...255, using: &dice)
            }
            if Bool.random(using: &dice) {
                damaged = Array(damaged.prefix(Int.random(in: 0...damaged.count, using: &dice)))
            }
            if case .ask(let body)? = try? talk.took(damaged) { #expect((try? JSONValue.parse(body)) != nil) }
            talk.told(damaged)
        }
    }

    @Test func anAnswerThatIsNoStreamIsAnErrorFrame() throws {
        let frame = try JSONValue.parse(
            ResponsesTalk.error(
                Array(#"{"error":{"message":"no","code":"c"}}"#.utf8), status: 429, headers: [("retry-after", "3")]))
        #expect(frame["type"] == "error" && frame["status"]?.integer == 429)
        #expect(frame["error"]?["code"] == "c" && frame["headers"]?["retry-after"] == "3")
        let other = try JSONValue.parse(ResponsesTalk.error([], status: 502, headers: []))
        #expect(other["error"]?["message"]?.text?.contains("502") == true)
    }
}
