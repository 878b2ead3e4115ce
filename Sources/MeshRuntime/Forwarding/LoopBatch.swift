package import NIOCore
import Synchronization

/// What comes up in one turn of an event loop, dealt with together when everything that arrived in this turn is read: work
/// that costs the same for one as for many is done once. How much there can be is bounded by whoever adds.
package final class LoopBatch<Item: Sendable>: Sendable {
    private let waiting = Mutex<[ObjectIdentifier: [Item]]>([:])
    private let most: Int

    /// - Parameter most: that are dealt with at a time.
    package init(most: Int) { self.most = most }

    /// On the event loop.
    /// - Parameter deal: called there with those of this turn, in their order; that of the first of them counts.
    package func add(_ item: Item, on eventLoop: any EventLoop, deal: @escaping @Sendable ([Item]) -> Void) {
        let loop = ObjectIdentifier(eventLoop)
        let isFirst = waiting.withLock { waiting in
            waiting[loop, default: []].append(item)
            return waiting[loop]?.count == 1
        }
        guard isFirst else { return }
        eventLoop.execute { [self] in
            let items = waiting.withLock { $0.removeValue(forKey: loop) } ?? []
            for start in stride(from: 0, to: items.count, by: most) {
                deal(Array(items[start..<min(start + most, items.count)]))
            }
        }
    }
}
