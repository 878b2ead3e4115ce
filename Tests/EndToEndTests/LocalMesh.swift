import Foundation

/// A mesh that `aisbf local up` started, and buyers of its nodes.
struct LocalMesh {
    struct Node: Sendable {
        var name: String
        var url: String
        var key: String
    }

    /// What a buyer got: the status, OpenAI's error code if there is one, and the body.
    struct Answer: Sendable {
        var status: Int
        var code: String?
        var body: String
        var headers: [String: String]
    }

    let directory: TemporaryDirectory
    let topology: String
    let nodes: [Node]

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    /// - Parameter wrapper: what the command is given to.
    static func up(
        _ topology: String = "Topology/triangle.yaml", workerSpeed: Int = 200, wrapper: [String] = []
    ) async throws -> LocalMesh {
        let directory = try TemporaryDirectory()
        let file = topology.hasPrefix("/") ? topology : "\(Products.root)/\(topology)"
        let child = try ChildProcess(
            "/usr/bin/env",
            wrapper + [
                Products.aisbf, "local", "up", file, "--state-dir", "\(directory.path)/s", "--worker-speed",
                "\(workerSpeed)",
                // What is gone is to be said at once here.
                "--hold-seconds", "0",
            ])
        let code = await child.exitCode(within: 90)
        let output = child.output
        guard code == 0 else {
            let logs = try? LocalMesh.logs(directory)
            throw Failure(description: "local up failed (\(String(describing: code))):\n\(output)\n\(logs ?? "")")
        }
        let mesh = LocalMesh(directory: directory, topology: file, nodes: parse(output))
        return mesh
    }

    static func logs(_ directory: TemporaryDirectory) throws -> String {
        let folder = "\(directory.path)/s/logs"
        return try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { name in
            "== \(name)\n" + ((try? String(contentsOfFile: "\(folder)/\(name)", encoding: .utf8)) ?? "")
        }.joined(separator: "\n")
    }

    /// What every process of this mesh wrote.
    var logs: String { (try? Self.logs(directory)) ?? "" }

    func log(_ name: String) -> String {
        (try? String(contentsOfFile: "\(directory.path)/s/logs/\(name).log", encoding: .utf8)) ?? ""
    }

    private static func parse(_ output: String) -> [Node] {
        var nodes: [Node] = []
        for line in output.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            if words.count >= 5, words[0] == "node", words[2] == "base" {
                nodes.append(Node(name: words[1], url: words[4], key: ""))
            } else if words.count == 2, words[0] == "key", !nodes.isEmpty {
                nodes[nodes.count - 1].key = words[1]
            }
        }
        return nodes
    }

    @discardableResult
    func down() async throws -> Int32? {
        try await run(["local", "down", topology, "--state-dir", "\(directory.path)/s"]).code
    }

    func run(_ arguments: [String], within seconds: Double = 60) async throws -> (code: Int32?, output: String) {
        let child = try ChildProcess(Products.aisbf, arguments)
        let code = await child.exitCode(within: seconds)
        return (code, child.output)
    }

    func dataDirectory(_ node: String) -> String { "\(directory.path)/s/nodes/\(node)" }
    func configuration(_ node: String) -> String { "\(directory.path)/s/config/\(node).json" }

    /// The process that runs `aisbf` with this configuration file.
    func pid(of file: String) -> Int32? {
        let found = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        for entry in found {
            guard let pid = Int32(entry), let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")
            else { continue }
            let words = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            if words.first == Products.aisbf || words.first?.hasSuffix("/aisbf") == true, words.last == file {
                return pid
            }
        }
        return nil
    }

    func node(_ name: String) -> Node { nodes.first { $0.name == name } ?? Node(name: name, url: "", key: "") }

    /// One chat completion at `name`.
    func ask(
        _ name: String, model: String = "demo/demo-chat", stream: Bool = false, tokens: Int? = 3, key: String? = nil,
        within seconds: Double = 20
    ) async throws -> Answer {
        var body = "{\"model\":\"\(model)\",\"stream\":\(stream),\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
        if let tokens { body += ",\"max_tokens\":\(tokens)" }
        return try await post(name, body + "}", key: key, within: seconds)
    }

    func post(_ name: String, _ body: String, key: String? = nil, within seconds: Double = 20) async throws -> Answer {
        let node = node(name)
        return try await Curl.run(
            [
                "-H", "authorization: Bearer \(key ?? node.key)", "-H", "content-type: application/json", "-d", body,
                "\(node.url)/chat/completions",
            ], within: seconds)
    }

    func status(_ name: String) async throws -> [String: Any] {
        let answer = try await Curl.run(
            ["--unix-socket", "\(dataDirectory(name))/admin.sock", "http://node/api/admin/v1/status"])
        return (try JSONSerialization.jsonObject(with: Data(answer.body.utf8))) as? [String: Any] ?? [:]
    }

    func metric(_ node: String, _ line: String) async throws -> Int {
        let answer = try await Curl.run(["--unix-socket", "\(dataDirectory(node))/admin.sock", "http://node/metrics"])
        for entry in answer.body.split(separator: "\n") where entry.hasPrefix(line) {
            return entry.split(separator: " ").last.flatMap { Double($0) }.map { Int($0) } ?? -1
        }
        return -1
    }
}

/// The real curl: what users have.
enum Curl {
    static func run(_ arguments: [String], within seconds: Double = 20) async throws -> LocalMesh.Answer {
        let child = try ChildProcess(
            "/usr/bin/env", ["curl", "-sS", "-N", "-i", "--max-time", "\(Int(seconds))"] + arguments)
        _ = await child.exitCode(within: seconds + 5)
        return parse(child.output)
    }

    private static func parse(_ output: String) -> LocalMesh.Answer {
        var text = output.replacingOccurrences(of: "\r\n", with: "\n")
        var status = 0
        var headers: [String: String] = [:]
        while text.hasPrefix("HTTP/") {
            let parts = text.components(separatedBy: "\n\n")
            let lines = parts[0].split(separator: "\n")
            status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
            headers = [:]
            for line in lines.dropFirst() {
                let field = line.split(separator: ":", maxSplits: 1)
                if field.count == 2 {
                    headers[field[0].lowercased()] = field[1].trimmingCharacters(in: .whitespaces)
                }
            }
            text = parts.dropFirst().joined(separator: "\n\n")
        }
        let document = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        let error = document?["error"] as? [String: Any]
        return LocalMesh.Answer(status: status, code: error?["code"] as? String, body: text, headers: headers)
    }
}
