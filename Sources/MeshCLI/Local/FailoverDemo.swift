internal import Foundation
internal import MeshTopology

/// Kills the worker that serves a request, before and after its first word, and shows what its buyer saw of it.
struct FailoverDemo {
    let mesh: LocalMesh
    private let node: String
    private let model: String
    private let prompt = "Tell me what happens when a worker dies."

    /// How many words the buyer has read when the worker is killed in the middle.
    private static let words = 5
    /// How long a worker stands still before it is killed without having said a word.
    private static let stillMs = 300
    /// Slow enough that somebody can look on.
    private static let tokensPerSecond = 20

    init(mesh: LocalMesh, node: String?, model: String?) throws {
        guard let model = model ?? mesh.topology.markets.first?.firstRotation else {
            throw CommandFailure(
                "'\(mesh.topology.name)' has no rotation; name what to ask for with --model", exitCode: 64)
        }
        let nodes = mesh.topology.buyers.map(\.node)
        guard let node = node ?? nodes.last, nodes.contains(node) else {
            throw CommandFailure("there is no buyer at that node of '\(mesh.topology.name)'", exitCode: 64)
        }
        var slow = mesh
        slow.workerSpeed = mesh.workerSpeed ?? Self.tokensPerSecond
        self.mesh = slow
        self.node = node
        self.model = model
    }

    func run() async throws {
        let begun = try await mesh.start()
        Console.print("\na buyer at node \(node) asks for \(model)")

        Console.print("\n1. the worker is killed before its first word")
        let first = try await servingWorker(begun)
        try signal(SIGSTOP, first, begun)
        let early = try await ask(begun, resume: false) { _, _ in
        } whileWaiting: {
            try await Task.sleep(for: .milliseconds(Self.stillMs))
            try signal(SIGKILL, first, begun)
            Console.print("   (killed \(first))")
        }
        try early.mustBeWhole()

        for resume in [false, true] {
            Console.print(
                "\n\(resume ? 3 : 2). the worker is killed after its first words"
                    + (resume ? "; the request says \"aisbf\": {\"resume\": true}" : ""))
            let state = try await mesh.start()
            var killed: String?
            let answer = try await ask(state, resume: resume) { words, server in
                guard words == Self.words, killed == nil, let worker = mesh.worker(serving: server) else { return }
                try signal(SIGKILL, worker, state)
                killed = worker
                Console.printRaw(" ✂ ")
            } whileWaiting: {
            }
            if resume { try answer.mustBeWhole() } else { try answer.mustBeCut() }
            Console.print("   (killed \(killed ?? "nobody"))")
        }
        _ = try await mesh.start()
        Console.print("\nall workers are back; stop the mesh with: aisbf local down FILE")
    }

    /// The worker that the next request goes to.
    private func servingWorker(_ state: LocalState) async throws -> String {
        let buyer = try buyer(state)
        let told = try await mesh.admin(node).send(
            "POST", "route/explain?owner=\(AdminClient.segment(buyer.name))", body: .object(request(resume: false)))
        guard let provider = told["winner"]?["provider"]?.text, let worker = mesh.worker(serving: provider) else {
            throw CommandFailure("no worker of this machine would answer: \(told["summary"]?.text ?? "")")
        }
        return worker
    }

    private func buyer(_ state: LocalState) throws -> LocalState.Buyer {
        guard let buyer = state.buyers.first(where: { $0.node == node }) else {
            throw CommandFailure("there is no buyer at node \(node)")
        }
        return buyer
    }

    private func request(resume: Bool) -> [String: JSONValue] {
        var body: [String: JSONValue] = [
            "model": .string(model), "stream": .bool(true),
            "messages": .array([.object(["role": .string("user"), "content": .string(prompt)])]),
        ]
        if resume { body["aisbf"] = .object(["resume": .bool(true)]) }
        return body
    }

    private func signal(_ number: Int32, _ worker: String, _ state: LocalState) throws {
        guard let process = state.workers.first(where: { $0.name == worker })?.process, LocalProcess.isRunning(process)
        else { throw CommandFailure("worker \(worker) does not run") }
        kill(process.pid, number)
    }

    private func ask(
        _ state: LocalState, resume: Bool, onWord: (_ words: Int, _ server: String) throws -> Void,
        whileWaiting: @Sendable @escaping () async throws -> Void
    ) async throws -> Seen {
        let buyer = try buyer(state)
        guard let address = state.node(node)?.baseURL else { throw CommandFailure("node \(node) is not there") }
        let exchange = HTTPExchange(
            method: "POST", url: "\(address)/v1/chat/completions", bearer: buyer.key,
            body: .object(request(resume: resume)),
            seconds: 60)
        async let killing: Void = whileWaiting()
        var seen = Seen()
        var reader = EventReader()
        let started = ContinuousClock.now
        seen.status = try await exchange.stream { field in
            let server = field("aisbf-provider") ?? "nobody"
            seen.server = server
            let passed = started.duration(to: .now) / .milliseconds(1)
            Console.print("   \(server) answers after \(Int(passed)) ms, attempt \(field("aisbf-attempts") ?? "1")")
            Console.printRaw("   ")
        } _: { bytes in
            for data in try reader.read(bytes) {
                guard let word = seen.take(data) else { continue }
                Console.printRaw(Table.printable(word))
                try onWord(seen.words, seen.server)
            }
        }
        try await killing
        Console.print("\n   " + seen.ending)
        return seen
    }

    /// What came to the buyer.
    struct Seen {
        var status = 0
        var server = ""
        private(set) var words = 0
        private var isComplete = false
        private var error: String?

        /// - Returns: what is to be shown of an event.
        mutating func take(_ data: String) -> String? {
            if data == "[DONE]" {
                isComplete = true
                return nil
            }
            let event = JSONValue.parse(Array(data.utf8))
            if let code = event?["error"]?["code"]?.text {
                error = code
                return nil
            }
            if let next = event?["aisbf"]?["resumed"]?["provider"]?.text { return "[\(next) goes on] " }
            guard let text = event?["choices"]?.elements.first?["delta"]?["content"]?.text, !text.isEmpty else {
                return nil
            }
            words += 1
            return text
        }

        var ending: String {
            if let error { return "the stream ends with the error '\(error)'" }
            return isComplete ? "the answer is complete" : "the stream just ends"
        }

        func mustBeWhole() throws {
            guard status == 200, isComplete, error == nil else {
                throw CommandFailure("the buyer noticed: status \(status), \(ending)")
            }
        }

        func mustBeCut() throws {
            guard status == 200, !isComplete, error != nil else {
                throw CommandFailure("expected a stream that says that it broke off: status \(status), \(ending)")
            }
        }
    }
}

extension LocalMesh {
    /// The worker of a provider called `owner@node/id`.
    fileprivate func worker(serving provider: String) -> String? {
        topology.workers.first { $0.provider.description == provider }?.name
    }
}
