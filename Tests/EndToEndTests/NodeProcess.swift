import Foundation

/// One node as a real process with its own data directory.
struct NodeProcess {
    let directory: TemporaryDirectory
    let configuration: String
    let port: Int

    /// Writes a configuration; nothing runs yet.
    init(_ extra: [String: Any] = [:], dataDirectory: String? = nil) throws {
        directory = try TemporaryDirectory()
        port = try Self.freePort()
        let linkPort = try Self.freePort()
        var document: [String: Any] = [
            "data_dir": dataDirectory ?? "\(directory.path)/d",
            "node": ["name": "solo"],
            "api": ["listen": "127.0.0.1:\(port)", "url": "http://127.0.0.1:\(port)"],
            "link": ["listen": "127.0.0.1:\(linkPort)", "advertise": ["127.0.0.1:\(linkPort)"]],
        ]
        for (key, value) in extra { document[key] = value }
        let data = try JSONSerialization.data(withJSONObject: document)
        configuration = try directory.write(String(decoding: data, as: UTF8.self), to: "node.json")
    }

    var dataDirectory: String { "\(directory.path)/d" }
    var url: String { "http://127.0.0.1:\(port)" }

    func start(environment: [String: String] = [:], wrapper: [String] = []) throws -> ChildProcess {
        let command = wrapper + [Products.aisbf, "node", "run", "--config", configuration]
        if wrapper.isEmpty { return try ChildProcess(command[0], Array(command.dropFirst()), environment: environment) }
        return try ChildProcess("/usr/bin/env", command, environment: environment)
    }

    func isUp(within seconds: Double = 10) async -> Bool {
        await eventually(within: seconds) { (try? await Curl.run(["\(url)/health"]).status) == 200 }
    }

    /// Runs a command of the CLI against this node.
    func cli(_ arguments: [String], within seconds: Double = 20) async throws -> (code: Int32?, output: String) {
        let child = try ChildProcess(Products.aisbf, arguments + ["--data-dir", dataDirectory])
        let code = await child.exitCode(within: seconds)
        return (code, child.output)
    }

    func json(_ arguments: [String]) async throws -> [String: Any] {
        let result = try await cli(arguments + ["--json"])
        return (try? JSONSerialization.jsonObject(with: Data(result.output.utf8))) as? [String: Any] ?? [
            "raw": result.output
        ]
    }

    /// A port that was free a moment ago, below those that the system gives to others' connections.
    static func freePort() throws -> Int {
        for _ in 0..<200 {
            let port = UInt16.random(in: 20_000..<32_000)
            if canBind(port) { return Int(port) }
        }
        throw LocalMesh.Failure(description: "no free port")
    }

    private static func canBind(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(descriptor, raw, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
