import MeshModel
import MeshSessions
import MeshWire
import Testing

/// What the node itself asks a worker: `models.list` until a list came and then every minute, `capabilities` where
/// `register` had none.
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
    func aListIsEnoughForAMinute(list: String) throws {
        let times = try Self.times { count, _ in count < 3 ? #""status":"error""# : list }.compactMap { Int($0) }
        #expect(times.prefix(3) == [0, 5, 15])
        #expect(times.count == 6)
        for (earlier, later) in zip(times.dropFirst(2), times.dropFirst(3)) {
            #expect((54...61).contains(later - earlier))
        }
    }

    /// Workers that came at the same moment are not all asked at the same moment.
    @Test func aMinuteIsNotTheSameForAll() {
        let times = (0..<20).map { number -> Int64 in
            var session = BrokerSession(
                identity: SessionFixtures.identity(), sessionID: "s-\(number)", tokenText: "secret",
                greetingGraceMs: 1_500, now: SessionFixtures.now(0))
            _ = session.receive(BrokerSessionTests.register, at: 0)
            _ = session.receive(#"{"request_id":"q1","payload":["m"]}"#, at: 0)
            for at in stride(from: Int64(500), through: 70_000, by: 500) {
                session.seen(now: SessionFixtures.now(at).instant)
                let asks = session.tick(at: at).contains { action in
                    if case .send(let bytes) = action {
                        SessionFixtures.text(bytes).contains("models.list")
                    } else {
                        false
                    }
                }
                if asks { return at }
            }
            return 0
        }
        #expect(times.allSatisfy { (54_000...60_500).contains($0) })
        #expect(Set(times).count > 3)
    }

    @Test func aListThatChangedIsToldAndTheSameOneIsNot() throws {
        var session = BrokerSessionTests.live()
        _ = session.receive(#"{"request_id":"q1","payload":["m"]}"#, at: 0)
        func answered(_ list: String, from start: Int64) throws -> [BrokerSession.Action] {
            for at in stride(from: start, through: start + 61_000, by: 500) {
                session.seen(now: SessionFixtures.now(at).instant)
                for frame in try BrokerSessionTests.sent(session.tick(at: at)) where frame["op"] == "models.list" {
                    let id = frame["request_id"]?.text ?? ""
                    return session.receive(#"{"request_id":"\#(id)","payload":\#(list)}"#, at: at)
                }
            }
            throw JSONScanError(reason: .unexpectedEnd, offset: 0)
        }
        #expect(try answered(#"["m"]"#, from: 500).isEmpty)
        #expect(try answered(#"["n"]"#, from: 62_000) == [.modelsListed([WorkerModel(id: "n")])])
        #expect(try answered("[]", from: 124_000) == [.modelsListed([])])
    }

    /// After an answer that knows no model, and when the worker says so; but not all the time.
    @Test(arguments: [true, false]) func doubtIsAReasonToAsk(isTold: Bool) throws {
        var session = BrokerSessionTests.live()
        _ = session.receive(#"{"request_id":"q1","payload":["m"]}"#, at: 0)
        var asked: [Int64] = []
        for at in stride(from: Int64(500), through: 20_000, by: 500) {
            session.seen(now: SessionFixtures.now(at).instant)
            if isTold {
                _ = session.receive(#"{"op":"heartbeat","payload":{"models_changed":true}}"#, at: at)
            } else {
                session.doubtModels()
            }
            for frame in try BrokerSessionTests.sent(session.tick(at: at)) where frame["op"] == "models.list" {
                asked.append(at)
                let id = frame["request_id"]?.text ?? ""
                _ = session.receive(#"{"request_id":"\#(id)","payload":["m"]}"#, at: at)
            }
        }
        #expect(asked == [5_000, 10_000, 15_000, 20_000])
    }

    // MARK: Long lists

    private static func binary(_ id: String, _ bytes: some Sequence<UInt8>) -> [UInt8] {
        [1, UInt8(id.utf8.count)] + Array(id.utf8) + Array(bytes)
    }

    private static func arrived(_ frame: [UInt8], at: Int64, _ session: inout BrokerSession) -> [BrokerSession.Action] {
        frame.withUnsafeBytes { bytes in
            switch session.binaryArrived(bytes, now: SessionFixtures.now(at).instant) {
            case .success: [.badFrame, .badFrame]
            case .failure(let own): own.actions
            }
        }
    }

    @Test func aListInBinaryFramesIsPutTogetherAndPaidFor() throws {
        var session = BrokerSessionTests.live()
        let text = String(repeating: "words ", count: 60_000)
        let document = Array(#"{"data":[{"id":"m","description":"\#(text)"},{"id":"n"}]}"#.utf8)
        #expect(Self.arrived(Self.binary("q1", [1]), at: 1, &session) == [.badFrame], "before the start")
        _ = session.receive(#"{"request_id":"q1","event":"start","payload":{"status_code":200}}"#, at: 2)
        var paid: Int64 = 0
        for start in stride(from: 0, to: document.count, by: 65_536) {
            let part = document[start...].prefix(65_536)
            for frame in try BrokerSessionTests.sent(Self.arrived(Self.binary("q1", part), at: 3, &session)) {
                #expect(frame["op"] == "credit" && frame["payload"]?["request_id"] == "q1")
                paid += frame["payload"]?["bytes"]?.integer ?? 0
            }
        }
        #expect(paid == Int64(document.count))
        #expect(
            session.receive(#"{"request_id":"q1","event":"done"}"#, at: 4) == [
                .modelsListed([WorkerModel(id: "m"), WorkerModel(id: "n")])
            ])
        #expect(Self.arrived(Self.binary("q1", [1]), at: 5, &session) == [.badFrame], "behind the end")
    }

    @Test(arguments: [0, 1]) func aListInBinaryFramesIsBounded(over: Int) {
        var session = BrokerSessionTests.live()
        _ = session.receive(#"{"request_id":"q1","event":"start","payload":{"status_code":200}}"#, at: 2)
        let head = Array(#"["m""#.utf8)
        let space = [UInt8](repeating: 0x20, count: Limits.workerListAnswerBytes - head.count - 1 + over)
        _ = Self.arrived(Self.binary("q1", head), at: 3, &session)
        let last = Self.arrived(Self.binary("q1", space + Array("]".utf8)), at: 3, &session)
        #expect((last == [.badFrame]) == (over > 0))
        let end = session.receive(#"{"request_id":"q1","event":"done"}"#, at: 4)
        #expect(end == (over > 0 ? [.badFrame] : [.modelsListed([WorkerModel(id: "m")])]))
    }

    @Test func anErrorInBinaryFramesIsNoList() {
        var session = BrokerSessionTests.live()
        _ = session.receive(#"{"request_id":"q1","event":"start","payload":{"status_code":500}}"#, at: 2)
        _ = Self.arrived(Self.binary("q1", Array(#"["m"]"#.utf8)), at: 3, &session)
        #expect(session.receive(#"{"request_id":"q1","event":"done"}"#, at: 4).isEmpty)
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
        #expect(questions.prefix(2) == ["models.list 0", "capabilities 0"])
        #expect(questions.dropFirst(2).allSatisfy { $0.hasPrefix("models.list") })
        #expect(session.profile.server == "s" && session.profile.offer.takesUploads && session.profile.offer.slots == 3)
        #expect(session.profile.maxFrameBytes == 2_097_152)
        #expect(session.profile.offer.endpoints == ["v1/a", "v1/b", "v1/embeddings"])
        #expect(session.profile.capabilityMembers.first?.name == "server")
        // Who sent an object, and be it empty, has said what it has to say.
        let told = #"{"op":"register","payload":{"capabilities":{}}}"#
        #expect(try Self.asked(told, through: 9_000) { _, _ in nil }.questions == ["models.list 0"])
    }

    @Test func theAnswerIsToldToTheRestOfTheNode() {
        var session = SessionFixtures.session()
        _ = session.receive(Self.bare, at: 0)
        let actions = session.receive(#"{"request_id":"q2","payload":{"capabilities":{"uploads":true}}}"#, at: 1)
        #expect(actions == [.profileChanged(session.profile)] && session.profile.offer.takesUploads)
        #expect(session.receive(#"{"request_id":"q2","payload":{"uploads":false}}"#, at: 2) == [.badFrame])
        #expect(session.profile.offer.takesUploads)
    }

    /// Old clients do not know the operation.
    @Test func capabilitiesAreAskedForThreeTimesAtMost() throws {
        for answer in [#""ok":false,"error":"unsupported""#, #""payload":{}"#, #""payload":[]"#, nil] {
            let (questions, session) = try Self.asked(Self.bare, through: 300_000) { _, operation in
                operation == "capabilities" ? answer : #""payload":["m"]"#
            }
            #expect(questions.filter { $0.hasPrefix("capabilities") }.count == Limits.workerCapabilityAttempts)
            #expect(session.isLive && session.profile.offer.endpoints == ["v1/a"])
        }
    }
}
