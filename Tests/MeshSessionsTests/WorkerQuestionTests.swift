import MeshModel
import MeshSessions
import MeshWire
import Testing

/// What the node itself asks a worker: `models.list` until a list came, `capabilities` where `register` had none.
@Suite struct WorkerQuestionTests {
    static let bare = #"{"op":"register","request_id":"r","payload":{"studio_endpoints":["v1/a"]}}"#

    /// When which question goes out, with a tick each half second and a worker that answers as `answer` says.
    static func asked(
        _ register: String, through end: Int64, answer: (Int, String) -> String?
    ) throws -> (questions: [String], session: BrokerSession) {
        var session = SessionFixtures.session()
        var questions: [String] = []
        var waiting = session.receive(register, at: 0)
        for at in stride(from: Int64(0), through: end, by: 500) {
            session.seen(now: SessionFixtures.now(at).instant)
            if at > 0 { waiting = session.tick(at: at) }
            for frame in try BrokerSessionTests.sent(waiting) {
                guard let operation = frame["op"]?.text, operation != "heartbeat" else { continue }
                questions.append("\(operation) \(at / 1_000)")
                guard let id = frame["request_id"]?.text, let reply = answer(questions.count, operation) else {
                    continue
                }
                _ = session.receive(#"{"request_id":"\#(id)",\#(reply)}"#, at: at)
            }
        }
        return (questions, session)
    }

    static func times(_ answer: (Int, String) -> String?) throws -> [String] {
        try asked(BrokerSessionTests.register, through: 200_000, answer: answer).questions.compactMap {
            $0.split(separator: " ").last.map(String.init)
        }
    }

    @Test func anErrorIsNotTheEndOfAsking() throws {
        #expect(
            try Self.times { _, _ in #""status":"error","error":"loading""# } == [
                "0", "5", "15", "35", "75", "135", "195",
            ])
        #expect(try Self.times { _, _ in #""payload":{"status_code":503,"body":{}}"# }.prefix(3) == ["0", "5", "15"])
        #expect(try Self.times { _, _ in #""payload":{"nothing":1}"# }.prefix(3) == ["0", "5", "15"])
        #expect(try Self.times { _, _ in #""event":"done""# }.prefix(3) == ["0", "5", "15"])
        #expect(try Self.times { _, _ in nil } == ["0", "35", "75", "125", "195"])
        #expect(try Self.times { _, _ in #""status":"pending","event":"pending""# } == ["0", "35", "75", "125", "195"])
    }

    @Test(arguments: [
        #""payload":{"data":[]}"#, #""event":"done","payload":{"data":[{"id":"m"}]}"#,
        #""event":"completed","payload":{"status_code":200,"body":"{\"models\":[{\"id\":\"m\",\"x\":NaN}]}"}"#,
        #""op":"models.list","status":"ok","payload":["m"]"#, #""op":"models.list","ok":true,"payload":["m"]"#,
    ])
    func aListIsTheEndOfAsking(list: String) throws {
        #expect(try Self.times { count, _ in count < 3 ? #""status":"error""# : list } == ["0", "5", "15"])
    }

    /// A worker that needs longer than the node waits is heard all the same, once.
    @Test func aLateAnswerIsTaken() throws {
        var session = BrokerSessionTests.live()
        for at in stride(from: Int64(0), through: 35_000, by: 500) {
            session.seen(now: SessionFixtures.now(at).instant)
            let actions = session.tick(at: at)
            if at == 35_000 { #expect(try BrokerSessionTests.sent(actions).first?["request_id"] == "q2") }
        }
        let late = #"{"request_id":"q1","payload":["m"]}"#
        #expect(session.receive(late, at: 36_000) == [.modelsListed([WorkerModel(id: "m")])])
        #expect(session.receive(late, at: 36_001) == [.badFrame])
        #expect(session.receive(#"{"request_id":"q2","payload":["n"]}"#, at: 36_002) == [.badFrame])
    }

    @Test func registeringAgainForgetsTheOldQuestion() {
        var session = BrokerSessionTests.live()
        _ = session.receive(BrokerSessionTests.register, at: 10)
        #expect(session.receive(#"{"request_id":"q1","payload":["m"]}"#, at: 20) == [.badFrame])
        #expect(
            session.receive(#"{"request_id":"q2","payload":["m"]}"#, at: 30) == [.modelsListed([WorkerModel(id: "m")])])
    }

    @Test func capabilitiesAreAskedForWhereRegisterHadNone() throws {
        let answer =
            #""payload":{"status_code":200,"body":"{\"server\":\"s\",\"uploads\":true,\"max_frame_bytes\":2097152,\"slots\":3,\"studio\":{\"endpoints\":[\"v1/b\"]},\"openai_compat\":{\"embeddings\":true}}"}"#
        let (questions, session) = try Self.asked(Self.bare, through: 100_000) { _, operation in
            operation == "capabilities" ? answer : #""payload":["m"]"#
        }
        #expect(questions == ["models.list 0", "capabilities 0"])
        #expect(session.profile.server == "s" && session.profile.takesUploads && session.profile.slots == 3)
        #expect(session.profile.maxFrameBytes == 2_097_152)
        #expect(session.profile.endpoints == ["v1/a", "v1/b", "v1/embeddings"])
        #expect(session.profile.capabilityMembers.first?.name == "server")
        // Who sent an object, and be it empty, has said what it has to say.
        let told = #"{"op":"register","payload":{"capabilities":{}}}"#
        #expect(try Self.asked(told, through: 9_000) { _, _ in nil }.questions == ["models.list 0"])
    }

    @Test func theAnswerIsToldToTheRestOfTheNode() {
        var session = SessionFixtures.session()
        _ = session.receive(Self.bare, at: 0)
        let actions = session.receive(#"{"request_id":"q2","payload":{"capabilities":{"uploads":true}}}"#, at: 1)
        #expect(actions == [.profileChanged(session.profile)] && session.profile.takesUploads)
        #expect(session.receive(#"{"request_id":"q2","payload":{"uploads":false}}"#, at: 2) == [.badFrame])
        #expect(session.profile.takesUploads)
    }

    /// Old clients do not know the operation.
    @Test func capabilitiesAreAskedForThreeTimesAtMost() throws {
        for answer in [#""ok":false,"error":"unsupported""#, #""payload":{}"#, #""payload":[]"#, nil] {
            let (questions, session) = try Self.asked(Self.bare, through: 300_000) { _, operation in
                operation == "capabilities" ? answer : #""payload":["m"]"#
            }
            #expect(questions.filter { $0.hasPrefix("capabilities") }.count == Limits.workerCapabilityAttempts)
            #expect(session.isLive && session.profile.endpoints == ["v1/a"])
        }
    }
}
