import MeshSessions
import MeshWire
import Testing

@Suite struct WorkerFrameTests {
    static func kind(_ text: String) throws -> WorkerFrame.Kind {
        try Array(text.utf8).withUnsafeBytes { try WorkerFrame.scan($0).kind }
    }

    /// Some workers repeat in the reply what they were asked.
    @Test(
        arguments: [
            (#"{"op":"chat.completions","status":"ok"}"#, .reply(.answer)),
            (#"{"op":"proxy","ok":true}"#, .reply(.answer)),
            (#"{"op":"proxy","ok":false}"#, .reply(.error)), (#"{"op":"proxy","event":"chunk"}"#, .reply(.chunk)),
            (#"{"op":"heartbeat","event":"heartbeat"}"#, .reply(.heartbeat)),
            (#"{"op":"heartbeat"}"#, .operation("heartbeat")),
            (#"{"op":"heartbeat","ok":null}"#, .operation("heartbeat")),
            (#"{"op":"register","event":"register"}"#, .operation("register")),
            (#"{"event":"what"}"#, .reply(.ignored)),
            (#"{"op":3,"payload":{}}"#, .reply(.answer)),
        ] as [(String, WorkerFrame.Kind)])
    func kinds(text: String, expected: WorkerFrame.Kind) throws { #expect(try Self.kind(text) == expected) }
}
