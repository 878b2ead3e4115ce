import Glibc
import MeshWire
import NIOCore

/// A node of the built binary with its own data directory under the run's folder.
struct BenchNode: Sendable {
    var binary: String
    var name: String
    var folder: String
    var apiPort: Int
    var linkPort: Int
    /// What is loaded in front of it and counts.
    var counters: String?
    var id = ""
    var pid: Int32 = 0

    var dataFolder: String { "\(folder)/\(name)" }
    var countersFile: String { dataFolder + ".counters" }
    private var configuration: String { "\(folder)/\(name).json" }

    /// Creates the data directory and the node's keys.
    static func initialised(
        _ name: String, binary: String, folder: String, counters: String? = nil
    ) async throws -> BenchNode {
        var node = BenchNode(
            binary: binary, name: name, folder: folder, apiPort: try Loopback.freePort(),
            linkPort: try Loopback.freePort(), counters: counters)
        try node.configure(peers: [], allow: [])
        let text = try await Children.shared.output(
            of: [binary, "node", "init", "--config", node.configuration, "--json"], in: folder)
        guard let id = try JSONValue.parse(Array(text.utf8))["node_id"]?.text else {
            throw BenchError("aisbf node init printed no node_id: \(text)")
        }
        node.id = id
        return node
    }

    func configure(peers: [String], allow: [String]) throws {
        let document: JSONValue = [
            "data_dir": .string(dataFolder),
            "node": ["name": .string(name)],
            "api": ["listen": .string("127.0.0.1:\(apiPort)"), "url": .string("http://127.0.0.1:\(apiPort)")],
            "link": ["listen": .string("127.0.0.1:\(linkPort)"), "advertise": [.string("127.0.0.1:\(linkPort)")]],
            "mesh": ["network": "mesh-bench", "peers": .strings(peers), "allow": .strings(allow)],
            "log": ["level": "error"],
        ]
        try ProcessFigures.write(document.bytes, to: configuration)
    }

    /// Starts the node and waits for the first 200 on /health; gives the seconds that took.
    mutating func start() async throws -> Double {
        let begin = Clock.now()
        pid = try Children.shared.start(
            [binary, "node", "run", "--config", configuration], output: dataFolder + ".log",
            environment: counters.map { ["LD_PRELOAD": $0, "MESH_COUNTERS": countersFile] } ?? [:])
        let port = apiPort
        _ = try await waiting(for: "node \(name) to answer", every: 2) {
            Loopback.get("/health", port: port)?.status == 200 ? true : nil
        }
        return Double(Clock.now() - begin) / 1e9
    }

    private func command(_ arguments: [String]) async throws -> JSONValue {
        let text = try await Children.shared.output(
            of: [binary] + arguments + ["--json", "--data-dir", dataFolder], in: folder)
        return try JSONValue.parse(Array(text.utf8))
    }

    /// Creates a provider open to everybody; gives where its workers attach.
    func createProvider() async throws -> MockWorker.Address {
        let made = try await command(["provider", "create", "bench", "--access", "public", "--max-concurrency", "1024"])
        guard let token = made["registration_token"]?.text else {
            throw BenchError("no registration token was printed")
        }
        return MockWorker.Address(port: apiPort, provider: "bench", token: token)
    }

    /// Exchanges the registration token; the old one ends at once.
    func rotateToken() async throws -> MockWorker.Address {
        let made = try await command(["provider", "rotate-token", "global/bench"])
        guard let token = made["registration_token"]?.text else {
            throw BenchError("no registration token was printed")
        }
        return MockWorker.Address(port: apiPort, provider: "bench", token: token)
    }

    /// What the node says of itself.
    func status() async throws -> JSONValue { try await command(["node", "status"]) }

    /// Creates a buyer; gives the API key.
    func createKey() async throws -> String {
        _ = try await command(["user", "create", "u"])
        guard let key = try await command(["key", "create", "u"])["key"]?.text else {
            throw BenchError("no key was printed")
        }
        return key
    }

    /// Waits until the node offers the mock's model; gives its id.
    func model(key: String) async throws -> String {
        let port = apiPort
        return try await waiting(for: "node \(name) to list the mock's model", seconds: 30) {
            guard let answer = Loopback.get("/v1/models", port: port, key: key), answer.status == 200 else {
                return nil
            }
            let ids = Self.unchunked(answer.body)["data"]?.elements?.compactMap { $0["id"]?.text } ?? []
            return ids.first { $0.hasSuffix("/m") } ?? ids.first
        }
    }

    private static func unchunked(_ body: [UInt8]) -> JSONValue {
        guard let start = body.firstIndex(of: UInt8(ascii: "{")), let end = body.lastIndex(of: UInt8(ascii: "}")) else {
            return .null
        }
        return (try? JSONValue.parse(Array(body[start...end]))) ?? .null
    }
}

/// nginx with one worker process in front of the mock backend: the peer the ratios are taken against.
struct Nginx: Sendable {
    var port: Int
    /// The worker process, which does the work.
    var pid: Int32

    static func start(folder: String, backend: Int) async throws -> Nginx {
        let port = try Loopback.freePort()
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map {
            "\($0)_temp_path \(folder)/nginx-\($0);"
        }
        let text = """
            \(geteuid() == 0 ? "user root;" : "")
            worker_processes 1;
            worker_rlimit_nofile 8192;
            daemon off;
            pid \(folder)/nginx.pid;
            error_log \(folder)/nginx-error.log crit;
            events { worker_connections 4096; }
            http {
                access_log off;
                keepalive_requests 1000000000;
                \(paths.joined(separator: "\n    "))
                upstream mock { server 127.0.0.1:\(backend); keepalive 64; keepalive_requests 1000000000; }
                server {
                    listen 127.0.0.1:\(port) backlog=2048;
                    location / {
                        proxy_pass http://mock;
                        proxy_http_version 1.1;
                        proxy_set_header Connection "";
                        proxy_buffering off;
                    }
                }
            }
            """
        try ProcessFigures.write(Array(text.utf8), to: folder + "/nginx.conf")
        let parent = try Children.shared.start(
            ["nginx", "-p", folder, "-e", folder + "/nginx-error.log", "-c", folder + "/nginx.conf"],
            output: folder + "/nginx.log")
        let pid = try await waiting(for: "nginx to start (\(folder)/nginx-error.log)") {
            ProcessFigures.firstChild(of: parent)
        }
        _ = try await waiting(for: "nginx to answer") { Loopback.get("/", port: port) }
        return Nginx(port: port, pid: pid)
    }
}
