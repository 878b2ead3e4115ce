import Glibc
package import Logging
package import MeshModel
import Synchronization

/// How a log line looks.
package enum LogFormat: String, CaseIterable, Sendable {
    /// For people: `2026-01-31T12:00:00.000Z info label message key=value`.
    case text
    /// For collectors: one JSON object per line.
    case json
}

/// Writes log events as lines, redacted and bounded. Metadata comes in key order, so that the same event gives the
/// same line.
package struct LineLogHandler: LogHandler {
    /// A logger's own, or the process's.
    package var logLevel: Logger.Level {
        get { ownLevel ?? level.current }
        set { ownLevel = newValue }
    }
    private var ownLevel: Logger.Level?
    private let level: LogLevel
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    private let label: String
    private let format: LogFormat
    private let clock: @Sendable () -> Timestamp
    private let write: @Sendable (String) -> Void

    /// - Parameters:
    ///   - clock: when an event happened.
    ///   - write: takes one line with its line feed; called from any thread.
    package init(
        label: String, level: LogLevel, format: LogFormat, clock: @escaping @Sendable () -> Timestamp,
        write: @escaping @Sendable (String) -> Void
    ) {
        self.label = label
        self.level = level
        self.format = format
        self.clock = clock
        self.write = write
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let own = event.metadata { all.merge(own) { $1 } }
        if let error = event.error { all["error"] = "\(error)" }
        let pairs = all.sorted { $0.key < $1.key }.map { (key: $0.key, value: bounded("\($0.value)")) }
        let time = ISOTime.text(clock())
        let message = bounded(event.message.description)
        switch format {
        case .text: write(textLine(time, event.level, message, pairs))
        case .json: write(jsonLine(time, event.level, message, pairs))
        }
    }

    private func textLine(
        _ time: String, _ level: Logger.Level, _ message: String, _ pairs: [(key: String, value: String)]
    ) -> String {
        var line = "\(time) \(level.rawValue) \(label) \(oneLine(message))"
        for (key, value) in pairs {
            let needsQuotes = value.isEmpty || value.utf8.contains { $0 <= 0x20 || $0 == 0x22 || $0 == 0x3D }
            line += " \(key)=\(needsQuotes ? JSONText.quoted(value) : value)"
        }
        return line + "\n"
    }

    private func jsonLine(
        _ time: String, _ level: Logger.Level, _ message: String, _ pairs: [(key: String, value: String)]
    ) -> String {
        var fields = [("time", time), ("level", level.rawValue), ("logger", label), ("message", message)]
        // A dot in every metadata key of this project keeps it apart from the four above; a key that has none moves.
        let taken = fields.map(\.0)
        fields += pairs.map { (taken.contains($0.key) ? "metadata.\($0.key)" : $0.key, $0.value) }
        let text = fields.map { "\(JSONText.quoted($0.0)):\(JSONText.quoted($0.1))" }.joined(separator: ",")
        return "{\(text)}\n"
    }

    private func bounded(_ text: String) -> String {
        let clean = Redaction.redacted(text)
        guard clean.utf8.count > Limits.logMessageBytes else { return clean }
        return String(decoding: Array(clean.utf8.prefix(Limits.logMessageBytes)), as: UTF8.self) + "…"
    }

    /// Control characters could forge lines or move a terminal's cursor.
    private func oneLine(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) else { return text }
        return String(JSONText.quoted(text).dropFirst().dropLast())
    }
}

/// A level that may change while loggers use it.
package final class LogLevel: Sendable {
    private let value: Mutex<Logger.Level>

    package init(_ level: Logger.Level) { value = Mutex(level) }

    package var current: Logger.Level {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}

/// Sends the logs of the whole process to standard error.
package enum LogOutput {
    /// Once per process, before the first logger is made; a second call traps, as swift-log defines it.
    package static func bootstrap(level: Logger.Level, format: LogFormat) {
        self.level.current = level
        LoggingSystem.bootstrap { handler(label: $0, level: self.level, format: format) }
    }

    private static let level = LogLevel(.info)

    /// Counts at once, for every logger that has no level of its own.
    package static func setLevel(_ level: Logger.Level) { self.level.current = level }

    /// A handler that writes to standard error.
    package static func handler(label: String, level: LogLevel, format: LogFormat) -> LineLogHandler {
        LineLogHandler(label: label, level: level, format: format, clock: wallClock) { line in
            StandardError.shared.write(line)
        }
    }

    private static func wallClock() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
    }
}

/// Standard error with whole lines: threads do not mix theirs.
private final class StandardError: Sendable {
    static let shared = StandardError()
    private let lock = Mutex(())

    func write(_ line: String) {
        let bytes = Array(line.utf8)
        lock.withLock { _ in
            var written = 0
            while written < bytes.count {
                let count = bytes[written...].withUnsafeBytes { Glibc.write(2, $0.baseAddress, $0.count) }
                if count < 0 && errno == EINTR { continue }
                // Nobody is left to be told that standard error is gone.
                guard count > 0 else { return }
                written += count
            }
        }
    }
}

/// RFC 3339 times in UTC with milliseconds.
package enum ISOTime {
    package static func text(_ time: Timestamp) -> String {
        let day = Int64(86_400_000)
        let days = (time.milliseconds - (time.milliseconds % day + day) % day) / day
        let inDay = (time.milliseconds % day + day) % day
        let (year, month, dayOfMonth) = date(days: days)
        let clock = [(inDay / 3_600_000, 2), (inDay / 60_000 % 60, 2), (inDay / 1_000 % 60, 2)]
            .map { padded($0.0, $0.1) }.joined(separator: ":")
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(dayOfMonth, 2))T\(clock).\(padded(inDay % 1_000, 3))Z"
    }

    /// The proleptic Gregorian date that lies `days` after 1970-01-01: 400-year cycles of 146,097 days, years counted
    /// from March so that the leap day comes last.
    private static func date(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let cycle = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfCycle = shifted - cycle * 146_097
        let yearOfCycle = (dayOfCycle - dayOfCycle / 1_460 + dayOfCycle / 36_524 - dayOfCycle / 146_096) / 365
        let dayOfYear = dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfCycle + cycle * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}

/// JSON strings (RFC 8259), written by hand because a log line must not need a coder.
enum JSONText {
    static func quoted(_ text: String) -> String {
        var output = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            default:
                if scalar.value < 0x20 || scalar.value == 0x7F {
                    let hex = String(scalar.value, radix: 16)
                    output += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                } else {
                    output.unicodeScalars.append(scalar)
                }
            }
        }
        return output + "\""
    }
}
