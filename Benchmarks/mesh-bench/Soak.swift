import ArgumentParser
import Foundation
import Glibc
import MeshWire
import NIOCore
import NIOPosix
import Synchronization

/// Two linked nodes, workers that come and go, buyers who read slowly or leave, tokens that are rotated: for minutes.
/// At the end nothing may be left over, and no request may have gone without an answer or an error.
struct SoakCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "soak",
        abstract: "Load two nodes with everything that goes wrong, then look for what is left over.")

    @Option(help: "How long to go on.") var seconds = 600
    @Option(help: "Mock workers attached to the first node.") var workers = 60
    @Option(help: "Buyers that ask without pause, at both nodes.") var buyers = 48
    @Option(help: "The same seed, the same choices.") var seed: UInt64 = 1
    @Option(help: "The node's binary.") var aisbf = ".build/release/aisbf"

    func validate() throws {
        guard (5...86_400).contains(seconds), (2...1_000).contains(workers), (4...500).contains(buyers) else {
            throw ValidationError("--seconds is 5 to 86400, --workers 2 to 1000, --buyers 4 to 500.")
        }
    }

    func run() async throws {
        guard access(aisbf, X_OK) == 0 else {
            throw BenchError("\(aisbf) does not exist: swift build -c release --product aisbf, or give --aisbf PATH")
        }
        let folder = FileManager.default.temporaryDirectory.path + "/mesh-soak-\(getpid())"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let endings = Endings.watch(removing: folder, limit: seconds + 180)
        defer {
            for source in endings { source.cancel() }
            Children.shared.killAll()
            try? FileManager.default.removeItem(atPath: folder)
        }
        Endings.raiseFileLimit()
        let problems = try await Soak(command: self, folder: folder).run()
        for problem in problems { print("LEFT OVER: \(problem)") }
        guard problems.isEmpty else { throw ExitCode(1) }
        print("nothing left over")
    }
}

/// One soak from start to verdict.
struct Soak {
    let command: SoakCommand
    let folder: String

    private struct Stage {
        var near: BenchNode
        var far: BenchNode
        var keys: [String]
    }

    /// - Returns: what should not be there at the end, in words.
    func run() async throws -> [String] {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let mockLoop = group.next()
        let pacer = try await Pacer.start(on: mockLoop)
        let stage = try await start()
        let crew = Crew(stage.near, pacer: pacer, loop: mockLoop, seed: command.seed)
        try await crew.fill(to: command.workers)
        let model = try await stage.near.model(key: stage.keys[0])
        _ = try await stage.far.model(key: stage.keys[1])
        try await Task.sleep(for: .seconds(2))
        let idle = [ProcessFigures.openFiles(stage.near.pid), ProcessFigures.openFiles(stage.far.pid)]
        let tally = Tally()
        let memory = MemoryWatch([stage.near.pid, stage.far.pid])
        print(
            "soaking for \(command.seconds) s: \(command.workers) workers, \(command.buyers) buyers, seed \(command.seed)"
        )
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for index in 0..<command.buyers {
                let node = index % 2 == 0 ? stage.near : stage.far
                let shopper = Shopper(
                    port: node.apiPort, key: stage.keys[index % 2], model: model, tally: tally,
                    loop: group.next(), seed: command.seed &+ UInt64(index))
                tasks.addTask { try await shopper.shop(for: command.seconds) }
            }
            tasks.addTask { try await crew.trouble(for: command.seconds, keeping: command.workers) }
            tasks.addTask { try await report(tally, memory) }
            try await tasks.waitForAll()
        }
        await crew.dismiss()
        return try await verdict(stage, tally, idle: idle) + memory.verdict
    }

    private func start() async throws -> Stage {
        var near = try await BenchNode.initialised("near", binary: command.aisbf, folder: folder)
        var far = try await BenchNode.initialised("far", binary: command.aisbf, folder: folder)
        try near.configure(peers: [], allow: [far.id])
        try far.configure(peers: ["\(near.id)@127.0.0.1:\(near.linkPort)"], allow: [near.id])
        _ = try await near.start()
        _ = try await far.start()
        return Stage(near: near, far: far, keys: [try await near.createKey(), try await far.createKey()])
    }

    private func report(_ tally: Tally, _ memory: MemoryWatch) async throws {
        let step = max(command.seconds / 20, 1)
        for _ in 0..<20 {
            try await Task.sleep(for: .seconds(step))
            print("  \(tally.line), memory \(memory.look())")
            fflush(nil)
        }
    }

    private func verdict(_ stage: Stage, _ tally: Tally, idle: [Int]) async throws -> [String] {
        print("total: \(tally.line)")
        var problems: [String] = []
        if tally.silent > 0 { problems.append("\(tally.silent) requests without an answer or an error") }
        if tally.answered == 0 { problems.append("no request was answered at all") }
        if tally.slowOnes == 0, command.seconds >= 60 { problems.append("no slow buyer was cut") }
        for (index, node) in [stage.near, stage.far].enumerated() {
            // Idle connections of buyers who left are closed by now; leases and links stay.
            let deadline = Clock.now() + 60_000_000_000
            var found = try await leftOver(node, idle: idle[index])
            while found != nil, Clock.now() < deadline {
                try await Task.sleep(for: .milliseconds(500))
                found = try await leftOver(node, idle: idle[index])
            }
            if let found { problems.append(found) }
        }
        return problems
    }

    private func leftOver(_ node: BenchNode, idle: Int) async throws -> String? {
        let status = try await node.status()
        let busy = status["requests_in_flight"]?.integer ?? -1
        let sessions = status["workers"]?.integer ?? -1
        let files = ProcessFigures.openFiles(node.pid)
        guard busy != 0 || sessions != 0 || files > idle else { return nil }
        return "node \(node.name): \(busy) requests, \(sessions) sessions, \(files) open files (\(idle) when idle)"
    }
}

/// How the requests of a soak ended.
final class Tally: Sendable {
    private let state = Mutex((answered: 0, refused: 0, interrupted: 0, left: 0, cut: 0, silent: 0))

    /// A whole answer, however good.
    func answered(_ status: Int) {
        state.withLock { if status < 400 { $0.answered += 1 } else { $0.refused += 1 } }
    }
    /// A stream that ended with an error in it.
    func interrupted() { state.withLock { $0.interrupted += 1 } }
    /// The buyer went away.
    func left() { state.withLock { $0.left += 1 } }
    /// The node closed the connection of a buyer who did not read.
    func cut() { state.withLock { $0.cut += 1 } }
    /// Nothing came, or the connection closed without a word.
    func silently() { state.withLock { $0.silent += 1 } }

    var silent: Int { state.withLock { $0.silent } }
    var slowOnes: Int { state.withLock { $0.cut } }
    var answered: Int { state.withLock { $0.answered } }
    var line: String {
        state.withLock {
            "\($0.answered) answered, \($0.refused) refused, \($0.interrupted) interrupted with an error, "
                + "\($0.cut) slow ones cut, \($0.left) left, \($0.silent) without a word"
        }
    }
}

/// Resident memory of the nodes over the time of a soak: it may find its level, and then it has to stay there.
final class MemoryWatch: Sendable {
    private let pids: [Int32]
    private let looks = Mutex<[[Double]]>([])

    init(_ pids: [Int32]) { self.pids = pids }

    /// Looks now; gives the figures in words.
    func look() -> String {
        let now = pids.map { ProcessFigures.residentKiB($0) / 1_024 }
        looks.withLock { $0.append(now) }
        return now.map { "\(Int($0))" }.joined(separator: " + ") + " MiB"
    }

    /// Compares the highest of the second quarter with the highest of the last.
    var verdict: [String] {
        let looks = looks.withLock { $0 }
        guard looks.count >= 8 else { return [] }
        let quarter = looks.count / 4
        return pids.indices.compactMap { index in
            let before = looks[quarter..<(2 * quarter)].map { $0[index] }.max() ?? 0
            let after = looks[(3 * quarter)...].map { $0[index] }.max() ?? 0
            guard after > before * 1.25 + 16 else { return nil }
            return "memory that grew from \(Int(before)) to \(Int(after)) MiB"
        }
    }
}
