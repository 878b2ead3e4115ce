import Logging
import MeshModel
import MeshTelemetry
import Synchronization

/// The log of a node under test.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    func with(_ text: String) -> [String] { all.filter { $0.contains(text) } }

    var logger: Logger {
        Logger(label: "t") { label in
            LineLogHandler(
                label: label, level: LogLevel(.info), format: .text, clock: { Timestamp(milliseconds: 0) },
                write: { [self] line in lines.withLock { $0.append(line) } })
        }
    }

    /// The first line that holds all of `texts`.
    func line(_ texts: String...) async throws -> String {
        try await eventually("a line with \(texts)") {
            all.first { line in texts.allSatisfy { line.contains($0) } }
        }
    }
}
