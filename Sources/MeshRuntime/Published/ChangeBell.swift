import MeshModel
import Synchronization

/// Wakes those who wait for something to become so, whenever it may have.
package final class ChangeBell: Sendable {
    private struct State {
        var waiting: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var next: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// Something has changed.
    package func ring() {
        for bell in state.withLock({ Array($0.waiting.values) }) { bell.yield() }
    }

    /// Waits until `isSo`, which is asked at once and after every change, at most for so long.
    /// - Returns: whether it is so.
    package func wait(atMost milliseconds: Int64, until isSo: @escaping @Sendable () -> Bool) async -> Bool {
        // One ring that nobody has heard is enough to look again. It hangs there before the first look, or a change
        // in between would be missed.
        let (bells, bell) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.next += 1
            state.waiting[state.next] = bell
            return state.next
        }
        defer { state.withLock { _ = $0.waiting.removeValue(forKey: number) } }
        if isSo() { return true }
        return await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await _ in bells where isSo() { return true }
                return false
            }
            group.addTask {
                try? await Task.sleep(for: .milliseconds(milliseconds))
                return isSo()
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }
}
