import Foundation
import Synchronization

/// A real process of the `aisbf` executable (or another program), whose output is kept and which never outlives its
/// test.
final class ChildProcess: Sendable {
    private struct State {
        var process: Process
        var output = ""
    }

    private let state: Mutex<State>

    init(_ executable: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        var variables = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("AISBF_") }
        for (name, value) in environment { variables[name] = value }
        process.environment = variables
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        state = Mutex(State(process: process))
        pipe.fileHandleForReading.readabilityHandler = { [weak self] handle in
            let data = handle.availableData
            if data.isEmpty {
                handle.readabilityHandler = nil
                return
            }
            self?.state.withLock { $0.output += String(decoding: data, as: UTF8.self) }
        }
        try process.run()
    }

    deinit { kill(SIGKILL) }

    var pid: Int32 { state.withLock { $0.process.processIdentifier } }
    var isRunning: Bool { state.withLock { $0.process.isRunning } }
    var output: String { state.withLock { $0.output } }

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
        // The reader may lag behind the exit by a moment.
        try? await Task.sleep(for: .milliseconds(50))
        return state.withLock { $0.process.terminationStatus }
    }
}

/// Polls until `condition` holds; false when it does not within `seconds`.
func eventually(within seconds: Double, _ condition: () async throws -> Bool) async rethrows -> Bool {
    let deadline = ContinuousClock.now.advanced(by: .milliseconds(Int(seconds * 1_000)))
    while ContinuousClock.now < deadline {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(50))
    }
    return try await condition()
}

enum Products {
    /// The `aisbf` executable that was built with these tests.
    static let aisbf: String = {
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
