import Logging
import MeshCrypto
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshSessions
import MeshWire
import NIOCore
import NIOPosix
import Synchronization
import Testing

/// Which of a provider's hosts a request goes to, by what became of those before.
@Suite struct DispatcherTests {
    /// Other nodes that answer as a test says.
    final class Remote: RemoteDispatch {
        let receivers = Mutex<[any AnswerReceiver]>([])

        func isLinked(_ node: PublicKey) -> Bool { true }

        func forward(
            _ request: WorkRequest, to place: ForwardPlace, attempt: Int, receiver: any AnswerReceiver
        ) -> any AttemptHandle {
            receivers.withLock { $0.append(receiver) }
            return Handle()
        }

        final class Handle: AttemptHandle {
            func cancel() {}
            func pause() {}
            func resume() {}
        }
    }

    final class Receiver: AnswerReceiver {
        let eventLoop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
        let count = Mutex(0)
        func receive(_ events: [AnswerPart]) { count.withLock { $0 += events.count } }
    }

    let here = SigningKey.random().publicKey
    let remote = Remote()
    let route: Route
    let dispatcher: Dispatcher
    let asker: Asker

    init() {
        let provider = CatalogProvider(
            key: RecordKey(Bytes16(high: 1, low: 1)), advertHash: Sodium.shared.hash32([1]), owner: here,
            providerID: "gpu", scope: .global, homeNode: here, homeName: "n", access: .everyone, attachKeys: [],
            hosts: (0..<2).map { number in
                CatalogHost(
                    node: SigningKey.random().publicKey, nodeName: "h\(number)",
                    attachment: RecordKey(Bytes16(high: 2, low: number)), clientHash: [],
                    offer: WorkerOffer(models: [WorkerModel(id: "m")]))
            })
        route = Route(providers: [provider], model: "m")
        dispatcher = Dispatcher(
            locals: [
                SessionTable(
                    metrics: WorkerMetrics(), catalog: CatalogHolder(node: here), logger: Logger(label: "test"))
            ], remotes: ForwardPlaces(remote: remote))
        asker = Asker(
            principal: Principal(owner: here, username: nil, node: here, nodeOperator: nil), requestID: "r")
    }

    /// Sends a request to the host of that number.
    func start(_ host: Int) -> any AttemptHandle {
        let node = route.providers[0].remoteHosts[host].node
        guard let place = places.first(where: { $0.node == node }) else { preconditionFailure("no such host") }
        return place.begin(
            WorkRequest(
                content: .document(ByteBuffer(), .chatCompletions), form: .events, need: WorkerNeed(model: "m"),
                deadlines: AnswerDeadlines()),
            attempt: 1, receiver: Receiver())
    }

    var places: [any Place] { dispatcher.places(route, WorkerNeed(model: "m"), for: asker) }

    /// What the host that was asked last says.
    func answer(_ events: [AnswerPart]) async throws {
        let receiver = try #require(remote.receivers.withLock { $0.last })
        try await receiver.eventLoop.submit { receiver.receive(events) }.get()
    }

    /// How often each host is tried first.
    func firsts() -> [Int] {
        var counts = [0, 0]
        for _ in 0..<200 {
            guard let first = places.first else { continue }
            counts[first.provider.remoteHosts[0].node == first.node ? 0 : 1] += 1
        }
        return counts
    }

    @Test func withoutMeasurementsBothAreTried() {
        #expect(firsts().allSatisfy { (50...150).contains($0) })
        #expect(places.count == 2)
    }

    @Test func whoFailedComesSecondAndStaysACandidate() async throws {
        _ = start(0)
        try await answer([.fail(MeshError(.workerLost, "gone"))])
        _ = start(1)
        try await answer([.head(AnswerHead(status: 200, contentType: "text/event-stream"))])
        try await answer([.end(AnswerTotals())])
        #expect(firsts() == [0, 200])
        #expect(places.count == 2)
    }

    @Test func aQuickErrorOfTheWorkerIsAFailureAndTheBuyersIsNone() async throws {
        _ = start(1)
        try await answer([.head(AnswerHead(status: 200, contentType: "application/json")), .end(AnswerTotals())])
        _ = start(0)
        try await answer([.head(AnswerHead(status: 500, contentType: "application/json")), .end(AnswerTotals())])
        #expect(firsts() == [0, 200])
        let other = DispatcherTests()
        _ = other.start(0)
        try await other.answer([.fail(MeshError(.accessDenied, "no"))])
        #expect(other.firsts().allSatisfy { (50...150).contains($0) })
    }

    /// Places are given back however an attempt ends: cancelled, failed after it was cancelled, or forgotten.
    @Test func whatIsUnderWayCountsUntilItEnds() async throws {
        // Both cost the same, however busy this machine is.
        for host in 0..<2 {
            _ = start(host)
            try await answer([.fail(MeshError(.workerLost, "gone"))])
        }
        var handles = (0..<50).map { _ in start(0) }
        #expect(firsts() == [0, 200])
        for handle in handles {
            handle.cancel()
            handle.cancel()
        }
        for receiver in remote.receivers.withLock({ $0 }) {
            try await receiver.eventLoop.submit { receiver.receive([.fail(MeshError(.workerLost, "late"))]) }.get()
        }
        handles = (0..<50).map { _ in start(1) }
        #expect(firsts() == [200, 0], "nothing is under way at the first host, and no failure of it counted")
        handles = []
        remote.receivers.withLock { $0 = [] }
        _ = start(0)
        #expect(firsts() == [0, 200], "who let go of an attempt gave its place back")
    }
}
