import Foundation
import Synchronization
import Testing

/// A real process of the `aisbf` executable (or another program), whose output is kept and which never outlives its
/// test.
final class ChildProcess: Sendable {
    private struct State {
        var process: Process
    }

    private final class Heard: Sendable {
        let text = Mutex("")
        let isWhole = Atomic<Bool>(false)
    }

    private let state: Mutex<State>
    private let heard = Heard()

    init(_ executable: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        var variables = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("AISBF_") }
        // Tests that have somebody leave want to hear of it, and not to wait until he is back.
        variables["AISBF_MARKET_HOLD_SECONDS"] = "0"
        for (name, value) in environment { variables[name] = value }
        process.environment = variables
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        state = Mutex(State(process: process))
        try process.run()
        // Read by hand: a handle with a handler is never closed, and with a thousand open files Foundation starts no more
        // processes.
        let reading = pipe.fileHandleForReading
        Thread.detachNewThread { [heard] in
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = read(reading.fileDescriptor, &buffer, buffer.count)
                if count > 0 {
                    heard.text.withLock { $0 += String(decoding: buffer[..<count], as: UTF8.self) }
                } else if count == 0 || errno != EINTR {
                    break
                }
            }
            try? reading.close()
            heard.isWhole.store(true, ordering: .releasing)
        }
    }

    deinit { kill(SIGKILL) }

    var pid: Int32 { state.withLock { $0.process.processIdentifier } }
    var isRunning: Bool { state.withLock { $0.process.isRunning } }
    var output: String { heard.text.withLock { $0 } }

    func kill(_ signal: Int32) {
        let running = state.withLock { $0.process.isRunning ? $0.process.processIdentifier : 0 }
        if running > 0 { _ = Foundation.kill(running, signal) }
    }

    /// The exit code, nil when the process still runs after `seconds` (it is killed then).
    func exitCode(within seconds: Double) async -> Int32? {
        let ended = await eventually(within: seconds) { !self.isRunning }
        guard ended else {
            kill(SIGKILL)
            return nil
        }
        // The reader may lag behind the exit by a moment; what it left running may keep the output open.
        _ = await eventually(within: 0.1) { self.heard.isWhole.load(ordering: .acquiring) }
        return state.withLock { $0.process.terminationStatus }
    }
}

/// Runs `body` for all rows of a table, a few at the same time: what takes its time by waiting takes it once, and the
/// machine is small.
func atOnce<Row: Sendable>(
    _ rows: [Row], most: Int = 3, _ body: @escaping @Sendable (Row) async throws -> Void
) async {
    await withTaskGroup(of: Void.self) { group in
        for (number, row) in rows.enumerated() {
            if number >= most { await group.next() }
            group.addTask { do { try await body(row) } catch { Issue.record(error, "\(row)") } }
        }
    }
}

/// Polls until `condition` holds; false when it does not within `seconds`.
func eventually(within seconds: Double, _ condition: () async throws -> Bool) async rethrows -> Bool {
    let deadline = ContinuousClock.now.advanced(by: .milliseconds(Int(seconds * 1_000)))
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(20))
    }
    return try await condition()
}

enum Products {
    /// The `aisbf` executable that was built with these tests, or the one of the configuration that is asked for
    /// (`make test-release`): what the optimiser makes of the sources is another program.
    static let aisbf: String = {
        if let configuration = ProcessInfo.processInfo.environment["AISBF_TEST_CONFIGURATION"] {
            return "\(root)/.build/\(configuration)/aisbf"
        }
        let bundle = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        var candidates = [bundle.appendingPathComponent("aisbf").path]
        // Inside a .xctest bundle the products lie beside it; under `swift test` the helper runs from the toolchain.
        for argument in CommandLine.arguments where argument.contains(".xctest") {
            candidates.append(
                URL(fileURLWithPath: argument).deletingLastPathComponent().appendingPathComponent("aisbf").path)
        }
        candidates.append(root + "/.build/debug/aisbf")
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? "aisbf is not built"
    }()

    /// The repository.
    static let root: String = {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
    }()

    static let python = root + "/.build/venv/bin/python"
}

/// A directory that goes away with its test. Short, because Unix sockets have short paths.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = "/tmp/aisbf-e2e-\(UInt32.random(in: 0...UInt32.max))"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ text: String, to name: String) throws -> String {
        let file = "\(path)/\(name)"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        return file
    }
}
