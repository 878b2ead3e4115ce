import MeshModel
import MeshSessions
import MeshWire
import Testing

@Suite struct BrokerSessionTests {
    static let register =
        #"{"v":1,"op":"register","request_id":"reg-1","registration_token":"secret","payload":{"registration_token":"secret","gpus":[{"index":0,"total_vram_mb":24576,"available_vram_mb":20480}],"capabilities":{"server":"codai","version":"2.0.0"}}}"#

    static func sent(_ actions: [BrokerSession.Action]) throws -> [JSONValue] {
        try actions.compactMap { action in
            guard case .send(let bytes) = action else { return nil }
            return try JSONValue.parse(bytes)
        }
    }

    /// Registered, and has been given a hundred requests.
    static func live(_ register: String = register) -> BrokerSession {
        var session = SessionFixtures.session()
        _ = session.receive(register, at: 0)
        session.requestSent(BrokerSession.firstRequestNumber + 99)
        return session
    }

    /// Generations C, D, E: the client speaks first, and the first frame it reads is the ack.
    @Test func whoSpeaksFirstReadsOneRegisteredFrame() throws {
        var session = SessionFixtures.session()
        #expect(session.tick(at: 1_000).isEmpty)
        let actions = session.receive(Self.register, at: 1_200)
        let frames = try Self.sent(actions)
        #expect(frames.count == 2 && session.isLive)
        #expect(frames[0]["event"] == "registered" && frames[0]["status"] == "ok" && frames[0]["accepted"] == true)
        #expect(frames[0]["request_id"] == "reg-1" && frames[0]["session_id"] == "s-1")
        #expect(frames[0]["owner_user_id"] == "ada" && frames[0]["expires_at"] == 1_747_046_401)
        #expect(
            frames[1]["op"] == "models.list" && frames[1]["request_id"] == "q1" && frames[1]["client_id"] == "gpu-1")
        #expect(actions.contains(.registered(session.profile)))
        #expect(session.tick(at: 1_600).isEmpty)
        #expect(!SessionFixtures.text(frames.flatMap(\.bytes)).contains("secret"))
    }

    /// Generations A and B wait for the server; B then uses the session's id as its request id.
    @Test(arguments: [#"{"op":"register","payload":{}}"#, #"{"v":1,"op":"register","request_id":"s-1","payload":{}}"#])
    func whoWaitsIsGreetedOnceAndThenRegisters(register: String) throws {
        var session = SessionFixtures.session()
        #expect(session.tick(at: 1_499).isEmpty)
        let greeting = try Self.sent(session.tick(at: 1_500))
        #expect(greeting.count == 1 && greeting[0]["accepted"] == true && greeting[0]["request_id"] == "s-1")
        #expect(!session.isLive)
        #expect(try Self.sent(session.tick(at: 2_000)).isEmpty)
        #expect(greeting[0]["expires_at"] == 1_747_046_401)
        let frames = try Self.sent(session.receive(register, at: 3_600_000))
        #expect(frames.first?["event"] == "registered" && frames.first?["status"] == "ok" && session.isLive)
        // A day from now, not from when it connected.
        #expect(frames.first?["expires_at"] == 1_747_050_000)
    }

    @Test func withoutRegisterTheSessionIsClosed() {
        var session = SessionFixtures.session()
        _ = session.tick(at: 1_500)
        #expect(!session.tick(at: 29_999).contains(.close(.registrationTimeout)))
        #expect(session.tick(at: 30_000) == [.close(.registrationTimeout)])
        #expect(session.tick(at: 31_000).isEmpty && session.receive(Self.register, at: 31_000).isEmpty)
        #expect(CloseReason.registrationTimeout.code == 1008)
    }

    @Test(arguments: [
        ("hello", CloseReason.notJSON), ("[]", .notJSON), (#"{"op":"heartbeat"}"#, .registerExpected),
        ("{}", .registerExpected),
        (#"{"event":"registered"}"#, .registerExpected),
        (#"{"op":"register","registration_token":"wrong"}"#, .tokenMismatch),
        (#"{"op":"register","payload":{"registration_token":"wrong"}}"#, .tokenMismatch),
        (#"{"op":"register","registration_token":"secret","payload":{"registration_token":"wrong"}}"#, .tokenMismatch),
        (#"{"op":"register","payload":["# + String(repeating: "0,", count: 5_000) + "0]}", .registerExpected),
        (#"{"op":"register","payload":NaN"#, .notJSON), ("NaN", .notJSON),
    ])
    func aWrongFirstFrameCloses(frame: String, reason: CloseReason) {
        var session = SessionFixtures.session()
        #expect(session.receive(frame, at: 10) == [.close(reason)])
        #expect(!session.isLive && session.receive(Self.register, at: 20).isEmpty)
        #expect(reason.code == 1008)
    }

    @Test func longRequestIDsAreNotRepeated() throws {
        let id = String(repeating: "x", count: 100_000)
        var session = Self.live()
        for operation in ["register", "heartbeat"] {
            for frame in try Self.sent(session.receive(#"{"op":"\#(operation)","request_id":"\#(id)"}"#, at: 1)) {
                #expect(frame.bytes.count < 2_000)
            }
        }
    }

    @Test func aRegisterThatIsTooLargeIsToldSo() throws {
        let frame =
            #"{"op":"register","request_id":"r","payload":""# + String(repeating: "x", count: 1 << 20) + #""}"#
        var session = SessionFixtures.session()
        #expect(session.receive(frame, at: 10) == [.close(.registerTooLarge)])
        #expect(CloseReason.registerTooLarge.code == 1009)
        var live = Self.live()
        let actions = live.receive(frame, at: 10)
        let error = try #require(try Self.sent(actions).first)
        #expect(actions.contains(.badFrame) && live.isLive && error["request_id"] == "r")
        #expect(error["error"]?.text?.contains("\(frame.utf8.count) bytes") == true)
    }

    @Test func aWrongTokenLaterIsAnErrorOnly() throws {
        var session = Self.live()
        let before = session.profile
        let frames = try Self.sent(
            session.receive(#"{"op":"register","request_id":"r2","registration_token":"x"}"#, at: 9))
        #expect(frames.count == 1 && frames[0]["status"] == "error" && frames[0]["request_id"] == "r2")
        #expect(session.isLive && session.profile == before)
    }

    @Test func registeringAgainReplacesTheProfileAndListsAgain() throws {
        var session = Self.live()
        let again = #"{"op":"register","request_id":"r2","payload":{"capabilities":{"server":"other"}}}"#
        let frames = try Self.sent(session.receive(again, at: 100))
        #expect(frames[0]["session_id"] == "s-1" && frames[0]["request_id"] == "r2" && frames[1]["request_id"] == "q2")
        #expect(session.profile.hardware.gpus.isEmpty && session.profile.server.hasPrefix("other"))
    }

    @Test(arguments: [OwnerScope.global, .user("ada")]) func nothingAWorkerSendsChangesItsIdentity(scope: OwnerScope)
        throws
    {
        var session = SessionFixtures.session(scope)
        let claim =
            #""provider_id":"other","client_id":"evil","username":"root","scope_name":"global","owner_user_id":"1","session_id":"s-9""#
        let frame = #"{"op":"register",\#(claim),"payload":{\#(claim)}}"#
        for at in [Int64(1), 2] {
            let frames = try Self.sent(session.receive(frame, at: at))
            #expect(frames[0]["provider_id"] == "coderai" && frames[0]["client_id"] == "gpu-1")
            #expect(frames[0]["session_id"] == "s-1" && frames[0]["username"] == .string(scope.username))
            #expect(frames[0]["scope_name"] == (scope == .global ? "global" : "user"))
            #expect(frames[0]["owner_user_id"] == (scope == .global ? .null : "ada"))
        }
        _ = session.receive(#"{"op":"heartbeat",\#(claim),"payload":{\#(claim)}}"#, at: 3)
        #expect(session.identity == SessionFixtures.identity(scope))
    }

    @Test func aHeartbeatIsAnsweredAndMerged() throws {
        var session = Self.live()
        let beat =
            #"{"v":1,"op":"heartbeat","request_id":"hb-1","payload":{"hardware":{"gpus":[{"index":0,"available_vram_mb":18432}]}}}"#
        let actions = session.receive(beat, at: 40_000)
        let answer = try Self.sent(actions)
        #expect(answer.count == 1 && answer[0]["event"] == "heartbeat" && answer[0]["request_id"] == "hb-1")
        #expect(answer[0]["payload"]?["ts"] == 1_746_960_040)
        #expect(actions.contains(.hardwareChanged(session.profile.hardware)))
        let gpu = session.profile.hardware.gpus[0]
        #expect(gpu.totalMb == 24_576 && gpu.availableMb == 18_432 && gpu.usedMb == 6_144)
        #expect(session.receive(#"{"op":"heartbeat"}"#, at: 40_001).count == 1)
    }

    /// What the mesh is told of a worker is told again when it changes, and not more often than every ten seconds.
    @Test func changedHardwareIsNewsAndItsUseIsNot() {
        func isNews(_ actions: [BrokerSession.Action]) -> Bool {
            actions.contains { if case .profileChanged = $0 { true } else { false } }
        }
        func beat(_ gpu: String) -> String { #"{"op":"heartbeat","payload":{"gpus":[{"index":0,\#(gpu)}]}}"# }
        var session = Self.live()
        _ = session.receive(beat(#""available_vram_mb":1,"temperature":60"#), at: 1_000)
        #expect(!isNews(session.tick(at: 1_500)))
        _ = session.receive(beat(#""total_vram_mb":49152"#), at: 2_000)
        #expect(session.tick(at: 2_500).contains(.profileChanged(session.profile)))
        _ = session.receive(beat(#""name":"A""#), at: 3_000)
        session.seen(now: SessionFixtures.now(12_000).instant)
        #expect(!isNews(session.tick(at: 12_499)) && isNews(session.tick(at: 12_500)))
        #expect(!isNews(session.tick(at: 13_000)))
        _ = session.receive(#"{"op":"heartbeat","payload":{"gpus":[{"index":1}]}}"#, at: 20_000)
        #expect(!isNews(session.tick(at: 22_000)) && isNews(session.tick(at: 22_500)))
    }

    /// Whoever counts frames and not pings must hear something; any answer to it will do.
    @Test(arguments: [
        #""status":"ok","event":"heartbeat","payload":{"ts":1}"#, #""status":"error","error":"unsupported operation""#,
        #""ok":false,"error":"what?""#, #""op":"heartbeat","status":"ok""#, #""op":"heartbeat","event":"heartbeat""#,
        #""payload":{}"#,
    ])
    func anIdleWorkerHearsAHeartbeat(answer: String) throws {
        var session = Self.live()
        _ = session.receive(#"{"request_id":"q1","payload":{"data":[]}}"#, at: 100)
        var beats: [(at: Int64, frame: JSONValue)] = []
        for at in stride(from: Int64(500), through: 100_000, by: 500) {
            session.seen(now: SessionFixtures.now(at).instant)
            if at == 30_000 { _ = session.controlFrame("cancel", number: 1_000_000) }
            if at == 60_000 { session.requestSent(1_000_000) }
            for frame in try Self.sent(session.tick(at: at)) {
                let id = try #require(frame["request_id"]?.text)
                if frame["op"] == "models.list" {
                    _ = session.receive(#"{"request_id":"\#(id)","payload":{"data":[]}}"#, at: at)
                    continue
                }
                beats.append((at, frame))
                #expect(session.receive(#"{"request_id":"\#(id)",\#(answer)}"#, at: at).isEmpty)
            }
        }
        #expect(beats.map(\.at) == [20_500, 50_000, 80_000, 100_000])
        #expect(beats.allSatisfy { $0.frame["op"] == "heartbeat" && $0.frame["payload"]?.members?.isEmpty == true })
        #expect(beats.allSatisfy { $0.frame["v"] == 1 && $0.frame["client_id"] == "gpu-1" })
        #expect(Set(beats.compactMap { $0.frame["request_id"]?.text }).count == beats.count)
    }

    /// Python writes a float that is no number without quotes.
    @Test func bareNumbersAreNoReasonToCloseAnything() throws {
        let register =
            #"{"op":"register","request_id":"r","payload":{"hardware":{"load":NaN,"hostname":"NaN","gpus":[{"total_vram_mb":100,"available_vram_mb":-Infinity,"used_vram_mb":Infinity}]}}}"#
        var session = SessionFixtures.session()
        let frames = try Self.sent(session.receive(register, at: 1))
        #expect(frames.first?["status"] == "ok" && session.isLive && session.profile.hardware.hostname == "NaN")
        #expect(session.profile.hardware.gpus.map(\.totalMb) == [100] && session.profile.hardware.gpus[0].usedMb == nil)
        let beat = session.receive(#"{"op":"heartbeat","request_id":"h","payload":{"temperature":NaN}}"#, at: 2)
        #expect(try Self.sent(beat).first?["event"] == "heartbeat" && !beat.contains(.badFrame))
        let list = #"{"request_id":"q1","payload":{"data":[{"id":"m","score":NaN}]}}"#
        #expect(session.receive(list, at: 3) == [.modelsListed([WorkerModel(id: "m")])])
        // Answers are passed on as they are, and a buyer's reader may stumble over it.
        session.requestSent(1_000_000)
        #expect(session.receive(#"{"request_id":"q1000000","payload":{"a":NaN}}"#, at: 4) == [.badFrame])
        #expect(session.receive(#"{"op":"other","payload":NaN}"#, at: 4) == [.badFrame])
        #expect(session.receive(#"{"op":"heartbeat","payload":NaN,}"#, at: 4) == [.badFrame])
    }

    @Test func silencePingsAndThenCloses() {
        var session = Self.live()
        #expect(session.tick(at: 4_999).isEmpty)
        #expect(session.tick(at: 5_000) == [.ping])
        #expect(session.tick(at: 5_250).isEmpty)
        session.seen(now: SessionFixtures.now(6_000).instant)
        #expect(!session.tick(at: 14_999).contains(.close(.silent)))
        #expect(session.tick(at: 15_000) == [.close(.silent)])
    }

    @Test func aFloodOfBadFramesCostsTheSession() {
        var session = Self.live()
        let bad = [
            "no JSON", #"{"op":"unheard-of"}"#, #"{"request_id":"theirs","payload":{}}"#, "[]",
            #"{"request_id":"q1000100","payload":{}}"#, #"{"request_id":"q9223372036854775807","event":"chunk"}"#,
            #"{"request_id":"q1000000","event":"unheard-of"}"#, #"{"event":"registered"}"#,
            #"{"request_id":"q2","payload":{"data":[]}}"#, #"{"request_id":"q18446744073709551615","payload":{}}"#,
            #"{"request_id":"q18446744073708551515","payload":{}}"#,
        ]
        for index in 1..<Limits.workerBadFrames {
            #expect(session.receive(bad[index % bad.count], at: 1) == [.badFrame])
        }
        #expect(session.isLive)
        #expect(session.receive("x", at: 1) == [.badFrame, .close(.tooManyBadFrames)])
        #expect(session.close(.nodeStopping).isEmpty)
    }

    /// Nothing is held against it for ever.
    @Test func aBadFrameEverySecondNeverEndsTheSession() {
        var session = Self.live()
        for second in 0..<1_000 { #expect(session.receive("x", at: Int64(second) * 1_000) == [.badFrame]) }
        #expect(session.isLive)
        for _ in 1..<Limits.workerBadFrames { _ = session.receive("x", at: 2_000_000) }
        #expect(session.isLive && session.receive("x", at: 2_059_999).contains(.close(.tooManyBadFrames)))
    }

    @Test func repliesToWhatHasEndedCostNothing() {
        var session = Self.live()
        for _ in 0..<1_000 {
            #expect(
                session.receive(#"{"request_id":"q1000099","event":"chunk"}"#, at: 1)
                    == [.reply(number: 1_000_099, .chunk)])
            #expect(session.receive(#"{"event":"heartbeat","status":"ok"}"#, at: 1).isEmpty)
        }
        #expect(session.isLive)
    }

    @Test func repliesGoToTheirRequest() {
        var session = Self.live()
        #expect(
            session.receive(#"{"request_id":"q1000000","event":"chunk"}"#, at: 1) == [.reply(number: 1_000_000, .chunk)]
        )
        #expect(
            session.receive(#"{"request_id":"q1","payload":{"data":[{"id":"m"},"n",{"id":"m"}]}}"#, at: 1)
                == [.modelsListed([WorkerModel(id: "m"), WorkerModel(id: "n")])])
        #expect(session.receive(#"{"request_id":"q1","payload":{"status_code":500,"body":{}}}"#, at: 1) == [.badFrame])
        let cancel = session.controlFrame("cancel", number: 1_000_000)
        let id = (try? JSONValue.parse(cancel))?["request_id"]?.text ?? ""
        #expect(
            session.receive(#"{"request_id":"\#(id)","status":"error","error":"unsupported operation"}"#, at: 1).isEmpty
        )
    }

    @Test(arguments: ["", "q", "1", "q-1", "qx", "q18446744073709551616"]) func foreignRequestIDs(id: String) {
        #expect(BrokerSession.requestNumber(id) == nil)
    }
}
