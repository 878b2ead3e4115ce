import Logging
import MeshModel
import MeshTelemetry
import Synchronization
import Testing

@Suite struct LogOutputTests {
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        func append(_ line: String) { lines.withLock { $0.append(line) } }
        var all: [String] { lines.withLock { $0 } }
    }

    private func logged(_ format: LogFormat, _ body: (inout Logger) -> Void) -> [String] {
        let lines = Lines()
        var logger = Logger(label: "mesh") { label in
            LineLogHandler(
                label: label, level: LogLevel(.info), format: format,
                clock: { Timestamp(milliseconds: 1_769_860_800_123) },
                write: { lines.append($0) })
        }
        body(&logger)
        return lines.all
    }

    @Test func textLines() {
        let lines = logged(.text) { logger in
            logger[metadataKey: "node.name"] = "a"
            logger.debug("not shown")
            logger.info("Link opened", metadata: ["peer.address": "b c", "link.id": "7"])
        }
        #expect(
            lines == [
                "2026-01-31T12:00:00.123Z info mesh Link opened link.id=7 node.name=a peer.address=\"b c\"\n"
            ])
    }

    @Test func jsonLines() {
        let lines = logged(.json) { $0.warning("Say \"hi\"\n", metadata: ["a.b": "\u{1}ä", "level": "x"]) }
        #expect(
            lines == [
                #"{"time":"2026-01-31T12:00:00.123Z","level":"warning","logger":"mesh","message":"Say \"hi\"\n","#
                    + #""a.b":"\u0001ä","metadata.level":"x"}"# + "\n"
            ])
    }

    @Test(arguments: LogFormat.allCases) func secretsAreTakenOut(format: LogFormat) {
        let lines = logged(format) { logger in
            logger.info(
                "got aisbf_reg_abc234", metadata: ["auth.header": "Bearer abc.def", "auth.list": ["sk-aisbf-xyz"]])
        }
        let text = lines.joined()
        for secret in ["abc234", "abc.def", "xyz"] { #expect(!text.contains(secret)) }
        #expect(text.contains("aisbf_reg_[redacted]"))
    }

    @Test(arguments: LogFormat.allCases) func oneEventIsOneBoundedLine(format: LogFormat) {
        let long = String(repeating: "é\n", count: Limits.logMessageBytes)
        let lines = logged(format) { $0.info("\(long)") }
        #expect(lines.count == 1)
        #expect(lines[0].filter { $0 == "\n" }.count == 1)
        #expect(lines[0].utf8.count < 3 * Limits.logMessageBytes)
    }

    @Test(arguments: [
        ("nothing here", "nothing here"),
        ("aisbf_reg_abcdef rest", "aisbf_reg_[redacted] rest"),
        ("key=sk-aisbf-abc,next", "key=sk-[redacted],next"),
        ("xsk-aisbf-abc", "xsk-[redacted]"),
        ("Authorization: BEARER a+b/c==, x", "Authorization: BEARER [redacted], x"),
        ("task-list is no key", "task-list is no key"),
        ("bearer", "bearer"),
        ("sk-", "sk-"),
        ("v4.public.eyJ", "v4.public.[redacted]"),
        ("ends in sk-proj-123", "ends in sk-[redacted]"),
    ])
    func redaction(text: String, expected: String) {
        #expect(Redaction.redacted(text) == expected)
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"), (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
    ])
    func times(milliseconds: Int64, text: String) {
        #expect(ISOTime.text(Timestamp(milliseconds: milliseconds)) == text)
    }

    @Test func aLevelThatChangesCountsForLoggersThatAreThere() {
        let lines = Lines()
        let level = LogLevel(.info)
        var logger = Logger(label: "mesh") { label in
            LineLogHandler(
                label: label, level: level, format: .text, clock: { Timestamp(milliseconds: 0) },
                write: { lines.append($0) })
        }
        logger.debug("not shown")
        level.current = .debug
        logger.debug("shown")
        logger.logLevel = .error
        logger.debug("a logger's own level wins")
        #expect(lines.all.count == 1)
    }
}
