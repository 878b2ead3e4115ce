import MeshWire
import NIOCore
import NIOPosix

/// The workers of the soak: mock ones whose sockets are dropped at random, real ones that are killed, and a token that
/// is rotated under all of them.
actor Crew {
    private let node: BenchNode
    private let pacer: NIOLoopBound<Pacer>
    private let loop: any EventLoop
    private var dice: Dice
    private var address: MockWorker.Address?
    private var channels: [(client: String, channel: any Channel)] = []
    private var processes: [Int32] = []
    private let count = WorkerCount()
    private var next = 0

    init(_ node: BenchNode, pacer: NIOLoopBound<Pacer>, loop: any EventLoop, seed: UInt64) {
        self.node = node
        self.pacer = pacer
        self.loop = loop
        dice = Dice(seed: seed)
    }

    func fill(to size: Int) async throws {
        if address == nil { address = try await node.createProvider() }
        channels.removeAll { !$0.channel.isActive }
        while channels.count < size {
            // Names come back, so that takeovers and late closes are part of it.
            next = (next + 1) % (size + size / 4)
            try await attach("soak-\(next)")
        }
        while processes.count < 2 { try startProcess() }
    }

    private func attach(_ client: String) async throws {
        guard let address else { return }
        let channel = try? await MockWorker.connect(
            to: address, client: client, on: loop, pacer: pacer, chunks: 20, count: count)
        if let channel { channels.append((client, channel)) } else { try await Task.sleep(for: .milliseconds(20)) }
    }

    private func startProcess() throws {
        guard let address else { return }
        let name = "soak-process-\(processes.count)-\(dice.next(below: 1_000))"
        let file = "\(node.folder)/\(name).json"
        let document: JSONValue = [
            "broker": [
                "base_url": .string("http://127.0.0.1:\(node.apiPort)"), "scope": "global",
                "provider_id": .string(address.provider), "client_id": .string(name),
                "registration_token": .string(address.token),
            ],
            "backend": ["kind": "demo", "models": ["m"], "tokens_per_second": 100],
        ]
        try ProcessFigures.write(document.bytes, to: file)
        processes.append(
            try Children.shared.start(
                [node.binary, "worker", "run", "--config", file], output: "\(node.folder)/\(name).log"))
    }

    /// Something goes wrong several times a second.
    func trouble(for seconds: Int, keeping size: Int) async throws {
        let end = Clock.now() + UInt64(seconds) * 1_000_000_000
        var rotateAt = Clock.now() + 60_000_000_000
        while Clock.now() < end {
            try await Task.sleep(for: .milliseconds(100 + dice.next(below: 300)))
            switch dice.next(below: 20) {
            case 0..<10: drop()
            case 10..<12: for _ in 0..<min(10, channels.count) { drop() }
            case 12..<14: if let client = channels.first?.client { try await attach(client) }
            case 14: killProcess()
            default: break
            }
            if Clock.now() >= rotateAt {
                rotateAt += 60_000_000_000
                address = try await node.rotateToken()
                for process in processes { Children.shared.killed(process) }
                processes = []
            }
            try await fill(to: size)
        }
    }

    private func drop() {
        guard !channels.isEmpty else { return }
        channels.remove(at: dice.next(below: channels.count)).channel.close(promise: nil)
    }

    private func killProcess() {
        guard !processes.isEmpty else { return }
        Children.shared.killed(processes.removeFirst())
    }

    func dismiss() async {
        for entry in channels { try? await entry.channel.close().get() }
        channels = []
        for process in processes { Children.shared.killed(process) }
        processes = []
    }
}
