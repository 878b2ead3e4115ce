package import MeshModel

/// A binary heap of things to look at later. Equal deadlines come out in the order they went in.
package struct DeadlineQueue<Element: Sendable>: Sendable {
    private struct Item: Sendable {
        var deadline: Instant
        var order: UInt64
        var element: Element

        func precedes(_ other: Item) -> Bool { (deadline, order) < (other.deadline, other.order) }
    }

    private var items: [Item] = []
    private var nextOrder: UInt64 = 0

    package init() {}

    package var count: Int { items.count }
    package var nextDeadline: Instant? { items.first?.deadline }

    package mutating func insert(_ element: Element, at deadline: Instant) {
        items.append(Item(deadline: deadline, order: nextOrder, element: element))
        nextOrder &+= 1
        var child = items.count - 1
        while child > 0, items[child].precedes(items[(child - 1) / 2]) {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// The earliest element whose deadline is not after `now`.
    package mutating func popDue(_ now: Instant) -> (element: Element, deadline: Instant)? {
        guard let first = items.first, first.deadline <= now else { return nil }
        let last = items.removeLast()
        if !items.isEmpty {
            items[0] = last
            sink()
        }
        return (first.element, first.deadline)
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < items.count && items[child].precedes(items[smallest]) {
                smallest = child
            }
            guard smallest != parent else { return }
            items.swapAt(parent, smallest)
            parent = smallest
        }
    }

    package mutating func removeAll() { items.removeAll() }
}
