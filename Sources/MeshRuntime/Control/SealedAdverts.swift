import DequeModule
import MeshModel
import MeshRouting
import MeshWire
import NIOPosix
import Synchronization

/// Adverts that a key of this node may open, tried off the control loop: each key that is tried costs a scalar
/// multiplication, and strangers choose how often.
final class SealedAdverts: Sendable {
    private let signers: Signers
    private let unopened = Mutex<Deque<VerifiedRecord>>([])
    private let bell = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

    init(_ signers: Signers) { self.signers = signers }

    /// A full queue drops the newest: what is lost is tried again when its advert changes, or this node gets a new key.
    func add(_ record: VerifiedRecord) {
        unopened.withLock { if $0.count < Limits.sealedWaiting { $0.append(record) } }
        bell.continuation.yield()
    }

    func finish() { bell.continuation.finish() }

    /// Until `finish`.
    func open(_ opened: (RecordKey, ProviderDetails?) -> Void) async throws {
        for await _ in bell.stream {
            while let record = unopened.withLock({ $0.popFirst() }) {
                let details = try await NIOThreadPool.singleton.runIfActive { [signers] in signers.opened(record) }
                opened(record.key, details)
            }
        }
    }
}
