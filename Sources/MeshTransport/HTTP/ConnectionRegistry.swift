package import NIOCore
import Synchronization

/// The open connections of one listener: bounds their number, and lets a stopping node tell each of them.
package final class ConnectionRegistry: Sendable {
    private let limit: Int
    private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    package init(limit: Int) { self.limit = limit }

    package var count: Int { channels.withLock { $0.count } }

    /// False when the listener is full; the caller closes the channel.
    package func admit(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let admitted = channels.withLock { channels in
            guard channels.count < limit else { return false }
            channels[id] = channel
            return true
        }
        if admitted { channel.closeFuture.whenComplete { [self] _ in forget(id) } }
        return admitted
    }

    private func forget(_ id: ObjectIdentifier) { channels.withLock { _ = $0.removeValue(forKey: id) } }

    /// Asks every connection to finish what it does and close.
    package func quiesce() {
        for channel in channels.withLock({ Array($0.values) }) {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
    }

    package func closeAll() {
        for channel in channels.withLock({ Array($0.values) }) { channel.close(promise: nil) }
    }
}
