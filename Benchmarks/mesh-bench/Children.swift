import Foundation
import Glibc
import Synchronization

/// Every process this run started; none outlives it.
final class Children: Sendable {
    static let shared = Children()
    private let pids = Mutex<[Int32]>([])

    /// Starts a program whose output goes to `output`.
    /// - Parameter environment: what it has beside this process's own.
    func start(_ arguments: [String], output: String, environment added: [String: String] = [:]) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, output + ".err", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        let environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("AISBF_") }
            .merging(added) { $1 }
        var argv = arguments.map { strdup($0) } + [nil]
        var envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            for pointer in argv + envp { free(pointer) }
        }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, arguments[0], &actions, nil, &argv, &envp)
        guard code == 0 else { throw BenchError("cannot start \(arguments[0]): \(String(cString: strerror(code)))") }
        let started = pid
        pids.withLock { $0.append(started) }
        return started
    }

    /// Runs a program to its end (at most 20 s) and gives what it printed.
    func output(of arguments: [String], in folder: String) async throws -> String {
        let path = folder + "/command-\(Clock.now()).out"
        let pid = try start(arguments, output: path)
        let status = try await waiting(for: arguments.joined(separator: " "), every: 2) {
            var status: Int32 = 0
            return waitpid(pid, &status, WNOHANG) == pid ? status : nil
        }
        pids.withLock { $0.removeAll { $0 == pid } }
        guard status == 0 else {
            let reason = ProcessFigures.contents(path + ".err") ?? ""
            // The first words only: keys stand among the others.
            throw BenchError("\(arguments.prefix(3).joined(separator: " ")) … failed: \(reason.trimmed)")
        }
        return ProcessFigures.contents(path) ?? ""
    }

    /// Whether a process has ended by itself.
    func hasEnded(_ pid: Int32) -> Bool {
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return false }
        pids.withLock { $0.removeAll { $0 == pid } }
        return true
    }

    /// SIGKILL, and the process is gone when this returns.
    func killed(_ pid: Int32) {
        kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        pids.withLock { $0.removeAll { $0 == pid } }
    }

    func stop(_ pid: Int32) {
        kill(pid, SIGTERM)
        for round in 0..<300 {
            var status: Int32 = 0
            if waitpid(pid, &status, WNOHANG) != 0 { break }
            if round == 150 { kill(pid, SIGKILL) }
            usleep(10_000)
        }
        pids.withLock { $0.removeAll { $0 == pid } }
    }

    func killAll() {
        for pid in pids.withLock({ $0 }) { kill(pid, SIGTERM) }
        for pid in pids.withLock({ $0 }).reversed() { stop(pid) }
    }
}
