internal import Foundation

/// Starting, recognising and ending the processes of a local mesh.
enum LocalProcess {
    /// How often it is looked whether processes have ended. They are no children of this one once it was started anew, so
    /// nothing tells it.
    private static let pollMs = 50
    /// What is read of a log's end: more than `tail` shows of any sane line length.
    private static let tailBytes: UInt64 = 16_384
    /// Behind the command name, the first field is proc(5)'s third, and the time of the start its 22nd.
    private static let startField = 22 - 3

    /// The file of this very program, for children to be the same build.
    static var executable: String { OwnExecutable.path ?? CommandLine.arguments[0] }

    /// Starts this program with `arguments`, its output appended to `log`. It outlives this process, and Ctrl-C in
    /// this terminal does not reach it: it has a process group of its own.
    static func start(_ arguments: [String], log: String) throws -> LocalState.ProcessRecord {
        let descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw CommandFailure("cannot write the log \(log)") }
        defer { close(descriptor) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        // Settings of the caller's own node must not leak into the mesh that a file describes.
        process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("AISBF_") }
        process.standardInput = FileHandle.nullDevice
        let output = FileHandle(fileDescriptor: descriptor, closeOnDealloc: false)
        process.standardOutput = output
        process.standardError = output
        do {
            try process.run()
        } catch {
            throw CommandFailure("cannot start \(executable): \(error.localizedDescription)")
        }
        let pid = process.processIdentifier
        return LocalState.ProcessRecord(pid: pid, startedTicks: startedTicks(pid) ?? 0)
    }

    static func isRunning(_ record: LocalState.ProcessRecord?) -> Bool {
        guard let record, let ticks = startedTicks(record.pid) else { return false }
        return ticks == record.startedTicks
    }

    /// When it started, from proc(5)'s stat; nil for a process that is not there or a zombie.
    private static func startedTicks(_ pid: Int32) -> UInt64? {
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
        let text = String(decoding: data, as: UTF8.self)
        // The command name stands in parentheses and may hold anything: fields are counted after the last one.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > startField, fields[0] != "Z", fields[0] != "X" else { return nil }
        return UInt64(fields[startField])
    }

    /// SIGTERM, then SIGKILL for those still there after `seconds`. Returns how many had to be killed.
    static func stop(_ records: [LocalState.ProcessRecord], seconds: Double) async -> Int {
        for record in records where isRunning(record) { kill(record.pid, SIGTERM) }
        let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
        while records.contains(where: isRunning), ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(pollMs))
        }
        let left = records.filter(isRunning)
        for record in left { kill(record.pid, SIGKILL) }
        return left.count
    }

    /// The last lines of a log, for the message that says why a process ended.
    static func tail(_ log: String, lines: Int = 8) -> String {
        guard let handle = FileHandle(forReadingAtPath: log) else { return "(no log)" }
        defer { try? handle.close() }
        let end = (try? handle.seekToEnd()) ?? 0
        try? handle.seek(toOffset: end > tailBytes ? end - tailBytes : 0)
        let text = String(decoding: (try? handle.readToEnd()) ?? Data(), as: UTF8.self)
        return text.split(separator: "\n").suffix(lines).joined(separator: "\n")
    }
}
