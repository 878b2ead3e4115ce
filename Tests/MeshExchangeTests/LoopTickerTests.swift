import MeshExchange
import NIOCore
import NIOEmbedded
import Testing

@Suite struct LoopTickerTests {
    private final class Member: Ticking {
        var ticks = 0
        func tick() { ticks += 1 }
    }

    private let loop = EmbeddedEventLoop()

    @Test func eachMemberIsLookedAfterTwiceASecond() {
        let ticker = LoopTickers<Member>().ticker(of: loop)
        let members = (0..<25).map { _ in Member() }
        let places = members.map { ticker.add($0) }
        loop.advanceTime(by: .seconds(1))
        #expect(members.allSatisfy { $0.ticks == 2 })
        for place in places[..<10] { ticker.remove(place) }
        loop.advanceTime(by: .seconds(1))
        #expect(members[..<10].allSatisfy { $0.ticks == 2 })
        #expect(members[10...].allSatisfy { $0.ticks == 4 })
    }

    @Test func aPlaceIsGivenAgain() {
        let ticker = LoopTickers<Member>().ticker(of: loop)
        let (first, second, third) = (Member(), Member(), Member())
        let place = ticker.add(first)
        _ = ticker.add(second)
        ticker.remove(place)
        #expect(ticker.add(third) == place)
        loop.advanceTime(by: .seconds(2))
        #expect((first.ticks, second.ticks, third.ticks) == (0, 4, 4))
    }

    @Test func whoComesWhenAllHaveGoneIsLookedAfterAsOften() {
        let ticker = LoopTickers<Member>().ticker(of: loop)
        let member = Member()
        for _ in 0..<50 {
            ticker.remove(ticker.add(Member()))
            ticker.remove(ticker.add(member))
        }
        // One that came and went in the meantime set no second clock going.
        let place = ticker.add(member)
        loop.advanceTime(by: .seconds(5))
        #expect(member.ticks == 10)
        ticker.remove(place)
        loop.advanceTime(by: .seconds(5))
        #expect(member.ticks == 10)
    }
}
