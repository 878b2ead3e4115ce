import MeshModel
import Testing

@testable import MeshRuntime

/// What a stopping node waits for, told by events.
@Suite struct DrainEventsTests {
    /// Requests of buyers and of other nodes are counted apart and waited for together.
    @Test func theLastRequestOfAllWakesWhoeverWaits() async {
        let idle = ChangeBell()
        let (buyers, forwards) = (RequestCount(idle: idle), RequestCount(idle: idle))
        for count in [buyers, buyers, forwards] { count.began() }
        async let isIdle = idle.wait(atMost: 60_000) { buyers.current + forwards.current == 0 }
        for count in [buyers, forwards, buyers] {
            await Task.yield()
            count.ended()
        }
        #expect(await isIdle)
        #expect(await !idle.wait(atMost: 1) { buyers.current > 0 })
    }

    @Test func theMeshIsToldOfTheLastWorkerBeforeLinksClose() async {
        let board = MeshBoard()
        // Nothing ever happened: there is nothing to wait for.
        await board.waitForQuiet(atMost: 60_000) { true }
        board.becomes(isQuiet: false)
        async let quiet: Void = board.waitForQuiet(atMost: 60_000) { true }
        board.becomes(isQuiet: false)
        await Task.yield()
        board.becomes(isQuiet: true)
        await quiet
        // A store that takes nothing does not keep the node from stopping.
        board.becomes(isQuiet: false)
        await board.waitForQuiet(atMost: 1) { true }
    }
}
