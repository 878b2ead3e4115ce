import MeshModel
import MeshRuntime
import Synchronization
import Testing

@Suite struct ChangeBellTests {
    private final class Counter: Sendable {
        let value = Atomic<Int>(0)
    }

    @Test func whatIsSoNeedsNoRing() async {
        #expect(await ChangeBell().wait(atMost: 60_000) { true })
    }

    @Test func whatNeverBecomesSoIsGivenUp() async {
        #expect(await !ChangeBell().wait(atMost: 1) { false })
    }

    /// Rings come from other threads, before and after the first look, and most of them for nothing.
    @Test func everyWaiterHearsOfWhatItWaitsFor() async {
        let bell = ChangeBell()
        let counter = Counter()
        await withTaskGroup(of: Bool.self) { group in
            for wanted in 1...50 {
                group.addTask { await bell.wait(atMost: 60_000) { counter.value.load(ordering: .relaxed) >= wanted } }
            }
            group.addTask {
                for _ in 0..<50 {
                    counter.value.add(1, ordering: .relaxed)
                    bell.ring()
                    await Task.yield()
                }
                return true
            }
            for await isSo in group { #expect(isSo) }
        }
    }

    @Test func whoIsCancelledWaitsNoLonger() async {
        let bell = ChangeBell()
        let waiting = Task { await bell.wait(atMost: 600_000) { false } }
        waiting.cancel()
        #expect(await !waiting.value)
    }
}
