import Glibc

/// Another program that does part of what a node does, in front of the same mock backend.
struct Peer: Sendable {
    var port: Int
    /// The process that does the work.
    var pid: Int32
    /// What its buyers have to have.
    var key: String?

    /// Those that are on this machine, beside nginx.
    /// - Parameter litellm: LiteLLM's executable; nil: the one in the path, if there is one.
    static func started(folder: String, backend: Int, litellm: String?) async throws -> [Path: Peer] {
        var peers: [Path: Peer] = [:]
        if let haproxy = executable("haproxy") {
            peers[.haproxy] = try await Self.haproxy(haproxy, folder: folder, backend: backend)
        }
        guard let litellm = litellm ?? executable("litellm") else { return peers }
        // It may be there without what its server needs, or want something that it did not want before.
        do { peers[.litellm] = try await Self.litellm(litellm, folder: folder, backend: backend) } catch {
            print("without LiteLLM: \(error); its last words: \(lastWords(of: folder + "/litellm.log"))")
        }
        return peers
    }

    private static func executable(_ name: String) -> String? {
        let folders = (getenv("PATH").map { String(cString: $0) } ?? "").split(separator: ":") + ["/usr/sbin"]
        return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    /// One thread, as nginx has one process.
    private static func haproxy(_ executable: String, folder: String, backend: Int) async throws -> Peer {
        let port = try Loopback.freePort()
        let text = """
            global
                maxconn 4096
                nbthread 1
            defaults
                mode http
                timeout connect 5s
                timeout client 120s
                timeout server 120s
                http-reuse always
            listen mock
                bind 127.0.0.1:\(port)
                server mock 127.0.0.1:\(backend) pool-max-conn 64

            """
        try ProcessFigures.write(Array(text.utf8), to: folder + "/haproxy.cfg")
        let pid = try Children.shared.start(
            [executable, "-db", "-f", folder + "/haproxy.cfg"], output: folder + "/haproxy.log")
        _ = try await waiting(for: "haproxy to answer (\(folder)/haproxy.log.err)") { Loopback.get("/", port: port) }
        return Peer(port: port, pid: pid)
    }

    private static func lastWords(of log: String) -> String {
        let text = [log, log + ".err"].compactMap(ProcessFigures.contents).joined()
        return text.split(separator: "\n").suffix(6).joined(separator: " | ")
    }

    /// Its proxy server with one worker process, without a database, and with the one key that it does not start without.
    private static func litellm(_ executable: String, folder: String, backend: Int) async throws -> Peer {
        let port = try Loopback.freePort()
        let text = """
            model_list:
              - model_name: m
                litellm_params:
                  model: openai/m
                  api_base: http://127.0.0.1:\(backend)/v1
                  api_key: none

            """
        try ProcessFigures.write(Array(text.utf8), to: folder + "/litellm.yaml")
        let key = "sk-mesh-bench"
        let pid = try Children.shared.start(
            [
                executable, "--config", folder + "/litellm.yaml", "--host", "127.0.0.1", "--port", String(port),
                "--num_workers", "1", "--telemetry", "False",
            ], output: folder + "/litellm.log",
            environment: ["LITELLM_LOG": "ERROR", "DISABLE_ADMIN_UI": "True", "LITELLM_MASTER_KEY": key])
        _ = try await waiting(for: "LiteLLM to answer", seconds: 90, every: 250) {
            if Children.shared.hasEnded(pid) { throw BenchError("its server did not start: \(executable) --port …") }
            return Loopback.get("/health/liveliness", port: port)
        }
        return Peer(port: port, pid: pid, key: key)
    }
}
