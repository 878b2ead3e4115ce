import Logging
import MeshGossip
import MeshModel
import Synchronization
import Testing

@testable import MeshRuntime

/// Which of what gossip did an operator is told.
@Suite struct GossipLogTests {
    private final class Levels: LogHandler {
        let heard = Mutex<[Logger.Level]>([])
        var metadata: Logger.Metadata {
            get { [:] }
            set {}
        }
        var logLevel: Logger.Level {
            get { .trace }
            set {}
        }
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { nil }
            set {}
        }

        func log(event: LogEvent) { heard.withLock { $0.append(event.level) } }
    }

    /// What is banned is offered again every few seconds.
    @Test(arguments: [(RecordRejection.banned, Logger.Level.debug), (.quota, .warning)])
    func aRejectedRecord(reason: RecordRejection, level: Logger.Level) {
        let levels = Levels()
        let peer = PublicKey(Bytes32(high: .zero, low: Bytes16(high: 0, low: 1)))
        Logger(label: "t") { _ in levels }.tell(.rejected(reason, from: peer, blamed: false))
        #expect(levels.heard.withLock { $0 } == [level])
    }
}
