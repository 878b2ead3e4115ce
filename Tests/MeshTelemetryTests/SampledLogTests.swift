import Logging
import MeshModel
import MeshTelemetry
import Synchronization
import Testing

@Suite struct SampledLogTests {
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        func append(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    private struct Rig {
        let lines = Lines()
        let log: SampledLog

        init(perSecond: Int, burst: Int, level: Logger.Level = .info) {
            let lines = lines
            var logger = Logger(label: "mesh") { label in
                LineLogHandler(
                    label: label, level: LogLevel(level), format: .text, clock: { Timestamp(milliseconds: 0) },
                    write: { lines.append($0) })
            }
            logger.logLevel = level
            log = SampledLog(logger, what: "things", perSecond: perSecond, burst: burst, now: Self.at(0))
        }

        static func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

        func write(_ count: Int, _ kind: String, at milliseconds: Int64) {
            for _ in 0..<count {
                log.write(.info, "it failed", kind: kind, now: Self.at(milliseconds), metadata: ["code": "\(kind)"])
            }
        }
    }

    @Test func aFloodIsCutAndCounted() {
        let rig = Rig(perSecond: 10, burst: 5)
        rig.write(4, "a", at: 0)
        rig.write(3, "b", at: 0)
        #expect(rig.lines.all.count == 5)
        rig.log.flush()
        #expect(rig.lines.all.count == 6)
        #expect(
            rig.lines.all.last?.contains("things: more than the log takes log.kinds=\"b=2\" log.left_out=2") == true)
        rig.log.flush()
        #expect(rig.lines.all.count == 6)
    }

    @Test(arguments: [(99, 0), (100, 1), (199, 1), (200, 2), (1_000, 5), (10_000_000, 5)] as [(Int64, Int)])
    func timeGivesLinesBackAndNoMoreThanTheBurst(passed: Int64, lines: Int) {
        let rig = Rig(perSecond: 10, burst: 5)
        rig.write(5, "a", at: 0)
        rig.write(20, "a", at: passed)
        #expect(rig.lines.all.count == 5 + lines)
    }

    @Test func halfALineIsKeptForLater() {
        let rig = Rig(perSecond: 10, burst: 1)
        rig.write(1, "a", at: 0)
        rig.write(1, "a", at: 50)
        rig.write(1, "a", at: 100)
        #expect(rig.lines.all.count == 2)
        // A clock that went back gives nothing.
        rig.write(1, "a", at: 20)
        #expect(rig.lines.all.count == 2)
    }

    @Test func whatTheLevelHidesIsNeitherWrittenNorCounted() {
        let rig = Rig(perSecond: 1, burst: 1, level: .error)
        rig.write(3, "a", at: 0)
        rig.log.flush()
        #expect(rig.lines.all.isEmpty)
    }
}
