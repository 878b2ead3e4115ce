import Logging
import MeshExchange
import MeshModel
import MeshSessions
import MeshWire
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import MeshUpstream

/// One request at an upstream, without a socket: that it goes no faster than its buyer, and is told once.
@Suite struct UpstreamAttemptTests {
    /// Gives as many pieces as it is let.
    private struct Giver: Backend {
        var faults: DemoFaults { DemoFaults() }
        var name: String { "a giver" }
        var endpoints: [String] { [] }
        var type: String
        var pieces: Int
        var piece: ByteBuffer
        var ending: @Sendable () async throws -> Void = {}

        func perform(
            _ request: BackendRequest, deliver: @Sendable (BackendPart) async throws -> Void
        ) async throws {
            try await deliver(
                .head(status: 200, headers: [("x-job-id", "7"), ("set-cookie", "a=b")], contentType: type))
            for _ in 0..<pieces { try await deliver(.body(piece)) }
            try await ending()
        }
    }

    /// A buyer who takes one delivery at a time.
    private final class Taker: AnswerReceiver {
        struct Heard: Sendable {
            var names: [String] = []
            var bytes = 0
            var head: AnswerHead?
            var error: MeshError?
            var isPaused = false
            var isRushed = false
            var isOver = false
        }

        let eventLoop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let heard = Mutex(Heard())
        let handle = Mutex<(any AttemptHandle)?>(nil)
        private let pauses: Bool

        init(pauses: Bool = false) { self.pauses = pauses }

        func receive(_ events: [AnswerPart]) {
            let pause = heard.withLock { heard in
                for event in events {
                    switch event {
                    case .pending: heard.names.append("pending")
                    case .head(let head):
                        heard.names.append("head")
                        heard.head = head
                    case .bytes(let bytes):
                        heard.isRushed = heard.isRushed || heard.isPaused
                        heard.bytes += bytes.readableBytes
                        if heard.names.last != "body" { heard.names.append("body") }
                    case .end:
                        heard.names.append("end")
                        heard.isOver = true
                    case .fail(let error):
                        heard.names.append("fail")
                        heard.error = error
                        heard.isOver = true
                    }
                }
                heard.isPaused = pauses && heard.bytes > 0 && !heard.isOver
                return heard.isPaused
            }
            guard pause, let handle = handle.withLock({ $0 }) else { return }
            handle.pause()
            eventLoop.scheduleTask(in: .milliseconds(1)) { [self] in
                heard.withLock { $0.isPaused = false }
                handle.resume()
            }
        }
    }

    private struct Ends: Sendable {
        var count = 0
        var isSuccess: Bool?
    }

    private static func with(
        _ giver: Giver, form: AnswerForm, taker: Taker, firstContentMs: Int64 = 60_000,
        terms: UpstreamPlace.Terms = .init(),
        _ body: (UpstreamAttempt) async throws -> Void
    ) async throws -> Ends {
        let ends = Mutex(Ends())
        let logger = Logger(label: "t") { _ in SwiftLogNoOpLogHandler() }
        let request = WorkRequest(
            content: .document(
                ByteBuffer(string: #"{"endpoint_path":"/v1/audio/speech","body":{}}"#),
                form == .bytes ? .proxy : .chatCompletions), form: form,
            need: WorkerNeed(model: "m", endpoint: form == .bytes ? EndpointPath("/v1/audio/speech") : nil),
            deadlines: .init(firstContentMs: firstContentMs))
        let place = UpstreamPlace(
            giver, keys: UpstreamKeys([], holdsBack: true), terms: terms,
            report: UpstreamReport(logger: logger, metrics: UpstreamMetrics()), logger: logger)
        let attempt = UpstreamAttempt(request, model: "m", at: place, receiver: taker) { _, sample in
            ends.withLock { ends in
                ends.count += 1
                ends.isSuccess = sample?.isSuccess
            }
        }
        taker.handle.withLock { $0 = attempt }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await attempt.run() }
            try await body(attempt)
            try await group.waitForAll()
        }
        // What was told is heard a moment later.
        try await taker.eventLoop.submit {}.get()
        return ends.withLock { $0 }
    }

    private static let event = ByteBuffer(string: "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n")

    @Test func whoPausesIsToldNothingUntilItResumes() async throws {
        let taker = Taker(pauses: true)
        let giver = Giver(type: "text/event-stream", pieces: 200, piece: Self.event) {
            // What stays open behind it is not the buyer's affair.
        }
        let ends = try await Self.with(giver, form: .events, taker: taker) { _ in }
        let heard = taker.heard.withLock { $0 }
        #expect(!heard.isRushed && heard.bytes >= 200 * Self.event.readableBytes)
        // It never said that it was complete.
        #expect(heard.names.last == "fail" && ends.count == 1)
    }

    @Test func bytesWaitForRoom() async throws {
        let taker = Taker()
        let piece = ByteBuffer(repeating: 0x73, count: 300_000)
        let giver = Giver(type: "audio/mpeg", pieces: 20, piece: piece)
        let ends = try await Self.with(giver, form: .bytes, taker: taker) { attempt in
            var taken = 0
            while taken < 6_000_000 {
                let bytes = taker.heard.withLock { $0.bytes }
                #expect(bytes - taken <= Limits.answerWindowBytes)
                attempt.consumed(bytes - taken)
                taken = bytes
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        let heard = taker.heard.withLock { $0 }
        #expect(heard.names == ["pending", "head", "body", "end"] && heard.bytes == 6_000_000)
        #expect(heard.head?.contentType == "audio/mpeg" && heard.head?.fields == [HeaderField("x-job-id", "7")])
        #expect(ends.count == 1 && ends.isSuccess == true)
    }

    @Test func whoCancelsIsToldNothingMore() async throws {
        let taker = Taker()
        let giver = Giver(type: "text/event-stream", pieces: 1, piece: Self.event) {
            try await Task.sleep(for: .seconds(600))
        }
        let ends = try await Self.with(giver, form: .events, taker: taker) { attempt in
            while taker.heard.withLock({ $0.bytes }) == 0 { try await Task.sleep(for: .milliseconds(1)) }
            attempt.cancel()
            attempt.cancel()
        }
        #expect(taker.heard.withLock { $0.isOver } == false)
        #expect(ends.count == 1 && ends.isSuccess == nil)
    }

    @Test func failuresAreToldInTheNodesOwnWordsAndOnce() async throws {
        let cases: [(code: String, expected: ErrorCode)] = [
            ("backend_refused", .workerError), ("backend_unreachable", .workerUnavailable),
            ("backend_timeout", .workerError), ("backend_bad_answer", .workerError),
        ]
        for (code, expected) in cases {
            let taker = Taker()
            let giver = Giver(type: "application/json", pieces: 0, piece: ByteBuffer()) {
                throw BackendFailure(code: code, message: "its backend fails", detail: "for the operator")
            }
            let ends = try await Self.with(giver, form: .document, taker: taker) { _ in }
            let heard = taker.heard.withLock { $0 }
            #expect(heard.names == ["pending", "fail"] && heard.error?.code == expected, "\(code): \(heard)")
            #expect(heard.error?.message.contains("operator") == false && ends.count == 1)
        }
    }

    @Test func aClosedProviderLosesWhatIsUnderWay() async throws {
        let taker = Taker()
        let giver = Giver(type: "application/json", pieces: 0, piece: ByteBuffer()) {
            try await Task.sleep(for: .seconds(600))
        }
        let ends = try await Self.with(giver, form: .document, taker: taker) { attempt in attempt.lost() }
        #expect(taker.heard.withLock { $0.error?.code } == .workerLost && ends.count == 1)
    }
}
