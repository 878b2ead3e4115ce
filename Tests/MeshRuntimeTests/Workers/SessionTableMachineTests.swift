import MeshModel
import MeshSessions
import Testing

@testable import MeshRuntime

/// A session as the index sees it, without a socket.
private final class Worker: IndexedSession, CustomStringConvertible {
    let identity: WorkerIdentity
    let offer: WorkerOffer
    let standing: SessionStanding

    init(
        _ client: String, of provider: UInt64 = 1, models: [String] = ["m"],
        _ standing: SessionStanding = .ready(cost: 1)
    ) {
        identity = WorkerIdentity(
            provider: Worker.key(provider), providerID: "p\(provider)", scope: .global, clientID: client)
        offer = WorkerOffer(models: ModelList(models.map { WorkerModel(id: $0) }))
        self.standing = standing
    }

    func meets(_ need: WorkerNeed) -> Bool { offer.meets(need, mark: identity.clientID) }
    func standing(now: Instant) -> SessionStanding { standing }

    var description: String { identity.clientID }
    var models: [String] { offer.models.map(\.id) }

    static func key(_ number: UInt64) -> RecordKey { RecordKey(Bytes16(high: 0, low: number)) }
    static func owner(_ number: UInt8) -> PublicKey {
        PublicKey(Bytes32(high: .zero, low: Bytes16(high: 0, low: UInt64(number))))
    }
}

/// The machine with what a test does to it in words.
private final class Table {
    var machine = SessionTable.StateMachine<Worker>()

    @discardableResult
    func register(_ worker: Worker, owner: PublicKey? = nil) -> String {
        _ = machine.opened(worker.identity.provider)
        switch machine.registered(worker, owner: owner, models: worker.models) {
        case .refused(let reason): return "refused: \(reason.rawValue)"
        case .attached(let old): return old == nil ? "attached" : "replaced"
        }
    }

    @discardableResult
    func end(_ worker: Worker, samples: Int = 0) -> Bool {
        var window = PerformanceWindow()
        for _ in 0..<samples {
            window.add(
                RequestSample(
                    latencyMs: 10, firstContentMs: nil, totalTokens: nil, tokensPerSecond: nil, isSuccess: true))
        }
        return machine.ended(worker, window: window)
    }

    /// Everything that waits, told.
    func tell() -> [String] {
        var told: [String] = []
        var next = machine.beginTelling()
        while let event = next {
            told.append(Self.text(event))
            next = machine.nextToTell()
        }
        return told
    }

    static func text(_ event: SessionEvent<Worker>) -> String {
        switch event {
        case .registered(let worker): "+\(worker)"
        case .changed(let worker): "~\(worker)"
        case .ended(let worker): "-\(worker)"
        }
    }

    func best(_ need: WorkerNeed = WorkerNeed(model: "m")) -> [String] {
        let (sessions, turn) = machine.candidates(Worker.key(1), need)
        return SessionTable.StateMachine.order(sessions, turn: turn, need, now: Instant(nanoseconds: 0))
            .map(\.description)
    }
}

@Suite struct SessionTableMachineTests {
    // MARK: Coming and going

    @Test func theLastOfAClientCounts() {
        let table = Table()
        let (first, second) = (Worker("a"), Worker("a", models: ["n"]))
        #expect(table.register(first) == "attached" && table.register(second) == "replaced")
        #expect(table.machine.count == 1 && table.machine.sessions(of: Worker.key(1)).first === second)
        #expect(table.best() == [] && table.best(WorkerNeed(model: "n")) == ["a"])
        #expect(!table.end(first), "the late end of a replaced session")
        #expect(table.machine.count == 1)
        #expect(table.end(second) && table.machine.count == 0 && table.machine.providers.isEmpty)
    }

    @Test func clientsOfTheSameNameAreTwoAtTwoProviders() {
        let table = Table()
        #expect(table.register(Worker("a")) == "attached" && table.register(Worker("a", of: 2)) == "attached")
        // Two texts that look the same are two ids.
        #expect(table.register(Worker("\u{E9}")) == "attached" && table.register(Worker("e\u{301}")) == "attached")
        #expect(table.machine.count == 4 && table.machine.providers == [Worker.key(1), Worker.key(2)])
    }

    @Test func barredProvidersAdmitNobodyUntilOthersAreNamed() {
        let table = Table()
        let (barred, other) = (Worker("a"), Worker("a", of: 2))
        table.register(barred)
        table.register(other)
        #expect(table.machine.bar([Worker.key(1), Worker.key(9)], .accountDisabled).map(\.description) == ["a"])
        #expect(table.register(Worker("b")) == "refused: \(CloseReason.accountDisabled.rawValue)")
        #expect(table.register(Worker("b", of: 2)) == "attached")
        #expect(table.machine.bar([], .accountDisabled).isEmpty && table.register(Worker("b")) == "attached")
    }

    @Test func anOwnerHasSoManyPlaces() {
        let table = Table()
        let mine = (0..<Limits.workerSessionsPerOwner).map { Worker("w\($0)") }
        for worker in mine { table.register(worker, owner: Worker.owner(1)) }
        let refused = "refused: \(CloseReason.tooManySessions.rawValue)"
        #expect(table.register(Worker("more"), owner: Worker.owner(1)) == refused)
        #expect(table.register(Worker("other"), owner: Worker.owner(2)) == "attached", "somebody else's")
        #expect(table.register(Worker("w0"), owner: Worker.owner(1)) == "replaced", "its place is its own")
        #expect(!table.end(mine[0]) && table.register(Worker("more"), owner: Worker.owner(1)) == refused)
        #expect(table.end(mine[1]) && table.register(Worker("more"), owner: Worker.owner(1)) == "attached")
    }

    @Test func aNodeHasSoManyPlaces() {
        let table = Table()
        for number in 0..<Limits.workerSessions { table.register(Worker("w\(number)")) }
        #expect(table.register(Worker("more")) == "refused: \(CloseReason.tooManySessions.rawValue)")
        #expect(table.register(Worker("w7")) == "replaced")
    }

    @Test func whatWasMeasuredWaitsForTheClient() {
        let table = Table()
        let worker = Worker("a")
        func inheritance(_ worker: Worker) -> String {
            switch table.machine.inheritance(of: worker) {
            case .nothing: "nothing"
            case .from(let old): "from \(old === worker ? "itself" : "another")"
            case .measured(let window): "\(window.count) samples"
            }
        }
        #expect(inheritance(worker) == "nothing")
        table.register(worker)
        #expect(inheritance(Worker("a")) == "from another")
        table.end(worker, samples: 3)
        #expect(inheritance(Worker("a")) == "3 samples" && inheritance(Worker("b")) == "nothing")
        table.register(Worker("a"))
        #expect(inheritance(Worker("a")) == "from another")
    }

    // MARK: The requests of a provider

    @Test func loadsLiveAsLongAsSessionsAreOpen() {
        var machine = SessionTable.StateMachine<Worker>()
        let workers = (0..<3).map { Worker("w\($0)") }
        let loads = workers.map { machine.opened($0.identity.provider) }
        #expect(loads[0] === loads[1] && loads[1] === loads[2], "counted in one place")
        // One that never registered counts as well.
        _ = machine.registered(workers[0], owner: nil, models: [])
        _ = machine.opened(Worker.key(2))
        #expect(machine.providersOpen == 2)
        for worker in workers.reversed() { _ = machine.ended(worker, window: PerformanceWindow()) }
        #expect(machine.providersOpen == 1)
        let next = machine.opened(Worker.key(1))
        #expect(next !== loads[0])
        let isStranger = machine.ended(Worker("x", of: 7), window: PerformanceWindow())
        #expect(!isStranger && machine.providersOpen == 2)
    }

    // MARK: Who is asked

    @Test(
        arguments: [
            // The cheapest first, among equals the one whose turn it is.
            ([.ready(cost: 9), .ready(cost: 1), .ready(cost: 5)], ["b", "c", "a"]),
            ([.ready(cost: 1), .ready(cost: 1), .ready(cost: 1)], ["b", "c", "a"]),
            ([.ready(cost: 2), .ready(cost: 2), .ready(cost: 1)], ["c", "b", "a"]),
            // Those that rest come last, and the full ones not at all.
            ([.ready(cost: 9), .resting, .ready(cost: 1)], ["c", "a", "b"]),
            ([.full, .resting, .ready(cost: 1)], ["c", "b"]), ([.full, .resting, .full], ["b"]),
            // One that is full where there is no other: it says that it is busy.
            ([.full, .full, .full], ["b"]),
        ] as [([SessionStanding], [String])])
    func order(standings: [SessionStanding], expected: [String]) {
        let table = Table()
        for (name, standing) in zip(["a", "b", "c"], standings) { table.register(Worker(name, standing)) }
        #expect(table.best() == expected)
    }

    @Test func oneAloneIsAskedWhateverItsStanding() {
        for standing in [SessionStanding.full, .resting, .ready(cost: 7)] {
            let table = Table()
            table.register(Worker("a", standing))
            #expect(table.best() == ["a"] && table.best(WorkerNeed(model: "other")) == [])
            #expect(table.best(WorkerNeed(model: nil, worker: "b")) == [])
        }
    }

    @Test func equalsTakeTurns() {
        let table = Table()
        for name in ["a", "b", "c", "d"] { table.register(Worker(name)) }
        let firsts = (0..<8).map { _ in table.best().first ?? "" }
        #expect(firsts == ["b", "c", "d", "a", "b", "c", "d", "a"])
        #expect(table.best().count == Limits.workersCompared)
    }

    /// One of a thousand that has what nobody else has is found at once.
    @Test func onlyThoseThatListTheModelAreLookedAt() {
        let table = Table()
        for number in 0..<2_000 { table.register(Worker("w\(number)", models: ["m", "own-\(number)"])) }
        #expect(table.best(WorkerNeed(model: "own-1999")) == ["w1999"])
        let changed = Worker("x", models: ["m"])
        table.register(changed)
        table.machine.changed(changed, models: ["new"])
        let (sessions, _) = table.machine.candidates(Worker.key(1), WorkerNeed(model: "new"))
        #expect(sessions.map(\.description) == ["x"])
    }

    @Test func equalListsCountOnce() {
        let table = Table()
        let models = (0..<1_000).map { "m\($0)" }
        for number in 0..<5 { table.register(Worker("w\(number)", models: models)) }
        let room = table.machine.lists(of: Worker.key(1), like: models)
        #expect(room.sibling != nil && room.room == Limits.workerModelsTogether - 1_000)
        #expect(table.machine.lists(of: Worker.key(1), like: ["m0"]).sibling == nil)
    }

    // MARK: What is told

    @Test func eventsAreToldInTheirOrder() {
        let table = Table()
        let (old, new, other) = (Worker("a"), Worker("a"), Worker("b"))
        table.register(old)
        table.register(other)
        table.machine.changed(old, models: ["n"])
        #expect(table.tell() == ["+a", "+b"], "it is told as it is by then")
        table.machine.changed(old, models: ["o"])
        table.machine.changed(old, models: ["p"])
        table.machine.changed(other, models: ["p"])
        #expect(table.tell() == ["~a", "~b"], "what waits is told once")
        table.register(new)
        table.machine.changed(old, models: ["q"])
        #expect(table.tell() == ["+a", "-a"], "the successor first")
        table.end(old)
        #expect(table.tell() == [])
        table.machine.changed(new, models: ["q"])
        table.end(new)
        table.machine.changed(new, models: ["r"])
        #expect(table.tell() == ["-a"])
        #expect(table.tell() == [])
    }

    @Test func whoCameAndWentIsNoNews() {
        let table = Table()
        let worker = Worker("a")
        table.register(worker)
        #expect(table.tell() == ["+a"])
        let brief = Worker("a")
        table.register(brief)
        table.end(brief)
        #expect(table.tell() == ["-a"], "what it displaced is gone all the same")
        for _ in 0..<1_000 {
            let worker = Worker("b")
            table.register(worker)
            table.end(worker)
        }
        #expect(table.tell() == [])
    }

    /// Whoever changes something while another tells leaves it to that one; nothing is told twice or never.
    @Test func oneTellsAtATime() {
        let table = Table()
        let (first, second) = (Worker("a"), Worker("b"))
        table.register(first)
        table.register(second)
        let event = table.machine.beginTelling()
        #expect(event.map { Table.text($0) } == "+a")
        // Meanwhile, by other threads.
        table.machine.changed(first, models: ["n"])
        table.end(second)
        #expect(table.machine.beginTelling().map { Table.text($0) } == nil)
        #expect(table.machine.nextToTell().map { Table.text($0) } == "~a")
        #expect(table.machine.nextToTell().map { Table.text($0) } == nil)
        table.machine.changed(first, models: ["o"])
        #expect(table.tell() == ["~a"])
    }
}
