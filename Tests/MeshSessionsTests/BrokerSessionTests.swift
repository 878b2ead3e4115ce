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

    static func live() -> BrokerSession {
        var session = SessionFixtures.session()
        _ = session.receive(register, at: 0)
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
        #expect(frames[0]["owner_user_id"] == "ada" && frames[0]["expires_at"] == 1_800_000_000)
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
        let frames = try Self.sent(session.receive(register, at: 2_100))
        #expect(frames.first?["event"] == "registered" && frames.first?["status"] == "ok" && session.isLive)
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
    ])
    func aWrongFirstFrameCloses(frame: String, reason: CloseReason) {
        var session = SessionFixtures.session()
        #expect(session.receive(frame, at: 10) == [.close(reason)])
        #expect(!session.isLive && session.receive(Self.register, at: 20).isEmpty)
        #expect(reason.code == 1008)
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
        let bad = ["no JSON", #"{"op":"unheard-of"}"#, #"{"request_id":"theirs","payload":{}}"#, "[]"]
        for index in 1..<Limits.workerBadFrames {
            #expect(session.receive(bad[index % bad.count], at: 1) == [.badFrame])
        }
        #expect(session.isLive)
        #expect(session.receive("x", at: 1) == [.badFrame, .close(.tooManyBadFrames)])
        #expect(session.close(.nodeStopping).isEmpty)
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
