import Logging
import MeshModel
import MeshTelemetry
import Synchronization

/// The log of a node under test.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])
    private let limit: Int
    private let clock: @Sendable () -> Timestamp

    /// - Parameter limit: how many lines are kept, the latest.
    init(keeping limit: Int = .max, clock: @escaping @Sendable () -> Timestamp = { Timestamp(milliseconds: 0) }) {
        self.limit = limit
        self.clock = clock
    }

    var all: [String] { lines.withLock { $0 } }

    func with(_ text: String) -> [String] { all.filter { $0.contains(text) } }

    var logger: Logger {
        Logger(label: "t") { label in
            LineLogHandler(
                label: label, level: LogLevel(.info), format: .text, clock: clock,
                write: { [self] line in
                    lines.withLock {
                        $0.append(line)
                        if $0.count > limit { $0.removeFirst() }
                    }
                })
        }
    }

    /// The first line that holds all of `texts`.
    func line(_ texts: String...) async throws -> String {
        try await eventually("a line with \(texts)") {
            all.first { line in texts.allSatisfy { line.contains($0) } }
        }
    }
}
