import Foundation
import Glibc
import MeshWire
import NIOCore
import Synchronization

/// R1, R2, R3: what buyers see of workers and nodes that go away, on three nodes with a seller at two of them and buyers of a
/// rotation at the third.
enum Failing {
    /// A rotation for each time that something fails: what rests in one has done nothing in the next.
    private static func topology(rotations: Int) -> String {
        let names = (0..<rotations).map {
            "{name: p\($0), settings: {sticky: 'off'}, members: [ann@a/lab/demo-chat, ben@b/den/demo-chat]}"
        }
        return mesh + "\n  - {nodes: [c], rotations: [\(names.joined(separator: ", "))]}\n"
    }

    private static let mesh = """
        name: failing
        nodes: [{name: a, peers: [c]}, {name: b, peers: [a]}, {name: c, peers: [b]}]
        users: [{name: ann, home: a}, {name: ben, home: b}]
        providers:
          - {id: lab, owner: ann, home: a, access: public}
          - {id: den, owner: ben, home: b, access: public}
        workers:
          - {name: w-lab, provider: ann@a/lab, attach: a, backend: {kind: demo, tokens_per_second: 0}}
          - {name: w-den, provider: ben@b/den, attach: b, backend: {kind: demo, tokens_per_second: 0}}
        buyers: [{name: u, node: c}]
        market:
        """
    private static let buyers = 16

    /// A mesh with real processes, which `aisbf local` starts and stops.
    private struct Mesh {
        let binary: String
        let folder: String
        let rotations: Int
        private var file: String { folder + "/failing.yaml" }
        private var state: String { folder + "/failing" }

        /// Also brings back what was killed.
        func up() async throws -> JSONValue {
            try ProcessFigures.write(Array(topology(rotations: rotations).utf8), to: file)
            let text = try await Children.shared.output(
                of: [binary, "local", "up", file, "--state-dir", state, "--json"], in: folder)
            return try JSONValue.parse(Array(text.utf8))
        }

        /// Until both members of a rotation can take a request: a worker whose node was gone comes back in its own time.
        func wait(for rotation: String) async throws {
            let arguments = [
                binary, "route", "explain", rotation, "--data-dir", "\(state)/nodes/c", "--json",
            ]
            for _ in 0..<120 {
                let told = try JSONValue.parse(
                    Array(try await Children.shared.output(of: arguments, in: folder).utf8))
                let members = told["candidates"]?.elements ?? []
                if members.count == 2, members.allSatisfy({ $0["reason"] == .null }) { return }
                try await Task.sleep(for: .milliseconds(250))
            }
            throw BenchError("waited 30 s for both members of \(rotation)")
        }

        func down() async {
            _ = try? await Children.shared.output(
                of: [binary, "local", "down", file, "--state-dir", state], in: folder)
        }

        static func pid(_ kind: String, _ name: String, _ mesh: JSONValue) throws -> Int32 {
            let found = mesh[kind]?.elements?.first { $0["name"]?.text == name }
            guard let pid = found?["pid"]?.integer else { throw BenchError("'local up' printed no pid of \(name)") }
            return Int32(pid)
        }
    }

    static func measure(_ phases: inout Phases, fixture: Fixture, wanted: Set<String>) async throws {
        let mesh = Mesh(binary: fixture.binary, folder: fixture.folder, rotations: phases.runs * 4)
        var plays = 0
        do {
            for _ in 0..<phases.runs {
                if wanted.contains("R1") {
                    let killed = try await played(mesh, &plays, "workers", "w-lab", SIGKILL, seconds: 3)
                    phases.add("worker_killed", killed.values)
                    let silent = try await played(mesh, &plays, "workers", "w-den", SIGSTOP, seconds: 14)
                    phases.add("worker_silent", silent.values)
                }
                if wanted.contains("R2") {
                    phases.add("node_killed", try await played(mesh, &plays, "nodes", "a", SIGKILL, seconds: 4).values)
                }
                if wanted.contains("R3") {
                    phases.add("node_drained", try await played(mesh, &plays, "nodes", "b", SIGTERM, seconds: 6).values)
                }
            }
        } catch {
            await mesh.down()
            throw error
        }
        await mesh.down()
    }

    /// Buyers ask all the while; after a second a process gets a signal.
    private static func played(
        _ mesh: Mesh, _ plays: inout Int, _ kind: String, _ name: String, _ signal: Int32, seconds: Int
    ) async throws -> Outcome {
        let described = try await mesh.up()
        let pid = try Mesh.pid(kind, name, described)
        let node = described["nodes"]?.elements?.first { $0["name"]?.text == "c" }
        guard let url = node?["base_url"]?.text, let key = node?["keys"]?.elements?.first?.text,
            let port = URLComponents(string: url)?.port
        else { throw BenchError("'local up' printed no address of node c") }
        try await mesh.wait(for: "rotation/p\(plays)")
        let crowd = SteadyBuyers(port: port, key: key, model: "rotation/p\(plays)", count: buyers)
        plays += 1
        crowd.start()
        try await Task.sleep(for: .seconds(1))
        let at = Clock.now()
        kill(pid, signal)
        try await Task.sleep(for: .seconds(seconds))
        let asked = await crowd.stop()
        if signal == SIGSTOP {
            kill(pid, SIGKILL)
            kill(pid, SIGCONT)
        }
        return Outcome(asked, at: at)
    }

    /// What the requests tell that were under way at the moment, or came later.
    private struct Outcome {
        let values: [(name: String, value: Double)]

        init(_ asked: [SteadyBuyers.Asked], at: UInt64) {
            let after = asked.filter { $0.ended >= at }
            let served = after.filter { $0.status == 200 }
            let slow = after.filter { $0.status != 200 || $0.ended - $0.began > 1_000_000_000 }
            let last = slow.map(\.ended).max().map { $0 > at ? $0 - at : 0 } ?? 0
            values = [
                ("requests", Double(after.count)), ("failed", Double(after.count - served.count)),
                ("served_percent", after.isEmpty ? 0 : 100 * Double(served.count) / Double(after.count)),
                ("slowest_ms", Double(after.map { $0.ended - $0.began }.max() ?? 0) / 1e6),
                // From when on no request was slow.
                ("out_after_s", Double(last) / 1e9),
            ]
        }
    }
}

/// Buyers who ask again as soon as they have their answer, each on a thread and a connection of its own.
final class SteadyBuyers: Sendable {
    struct Asked: Sendable {
        var began: UInt64
        var ended: UInt64
        /// 0: no answer.
        var status: Int
    }

    private let port: Int
    private let key: String
    private let model: String
    private let count: Int
    private let state = Mutex((asked: [Asked](), isStopped: false, running: 0))

    init(port: Int, key: String, model: String, count: Int) {
        self.port = port
        self.key = key
        self.model = model
        self.count = count
    }

    func start() {
        for _ in 0..<count {
            state.withLock { $0.running += 1 }
            Thread.detachNewThread { [self] in
                let body = #"{"model":"\#(model)","max_tokens":4,"messages":[{"role":"user","content":"Hi"}]}"#
                while !state.withLock({ $0.isStopped }) {
                    let began = Clock.now()
                    let status = Loopback.request("POST", "/v1/chat/completions", port: port, key: key, body: body)?
                        .status
                    let asked = Asked(began: began, ended: Clock.now(), status: status ?? 0)
                    state.withLock { $0.asked.append(asked) }
                }
                state.withLock { $0.running -= 1 }
            }
        }
    }

    /// Waits for the answers under way.
    func stop() async -> [Asked] {
        state.withLock { $0.isStopped = true }
        _ = try? await waiting(for: "the buyers' last answers", seconds: 40) {
            state.withLock { $0.running == 0 ? true : nil }
        }
        return state.withLock { $0.asked }
    }
}

/// R5: how soon the worker hears that a buyer has gone.
enum Leaving {
    private static let streams = 100

    static func measure(_ phases: inout Phases, fixture: Fixture) async throws {
        for path in [Path.node, .linked] {
            guard let target = fixture.streamTargets[path] else { continue }
            for _ in 0..<phases.runs {
                let recorder = Recorder()
                let channels = try await LoadGenerator.open(
                    streams, to: target, recorder: recorder, on: fixture.loadLoop, repeats: false)
                try await Task.sleep(for: .milliseconds(400))
                recorder.stop()
                fixture.workers.forgetCancels()
                var left: [UInt64] = []
                for channel in channels {
                    left.append(Clock.now())
                    try await channel.close().get()
                    // Apart from each other, so that the first to leave is the first that is told.
                    try await Task.sleep(for: .milliseconds(10))
                }
                let heard = try await waiting(for: "the worker to hear of all who left", seconds: 10) {
                    fixture.workers.cancels.count >= channels.count ? fixture.workers.cancels : nil
                }
                let delays = zip(left, heard).map { Double($1 > $0 ? $1 - $0 : 0) / 1e6 }.sorted()
                phases.add(
                    "left_\(path.rawValue)",
                    [("p50_ms", delays[delays.count / 2]), ("p99_ms", delays[delays.count * 99 / 100])])
            }
        }
    }
}
