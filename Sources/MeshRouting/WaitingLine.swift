package import MeshModel

/// Requests that wait until somebody is there whom they may go to: each looks again now and then, who came first before the
/// others. Bounded, in all and for each name that is waited for.
package struct WaitingLine: Sendable {
    package struct Ticket: Hashable, Sendable { fileprivate var number: UInt64 }

    private struct Entry: Sendable {
        var ticket: Ticket
        var name: String
    }

    private let limit: Int
    private let perName: Int
    /// In the order of their coming.
    private var entries: [Entry] = []
    private var tickets: UInt64 = 0
    private var looked: Instant?

    package init(limit: Int = Limits.heldRequests, perName: Int = Limits.heldPerName) {
        self.limit = limit
        self.perName = perName
    }

    package var count: Int { entries.count }

    /// - Returns: nil where as many wait as may.
    package mutating func join(_ name: String) -> Ticket? {
        guard entries.count < limit, waiting(for: name) < perName else { return nil }
        tickets += 1
        let ticket = Ticket(number: tickets)
        entries.append(Entry(ticket: ticket, name: name))
        return ticket
    }

    /// It is served, refused or gone.
    package mutating func leave(_ ticket: Ticket) { entries.removeAll { $0.ticket == ticket } }

    package func waiting(for name: String) -> Int { entries.count { $0.name == name } }

    /// Its place among those that wait for the same name, from 1; nil where it does not wait.
    package func position(_ ticket: Ticket) -> Int? {
        guard let own = entries.first(where: { $0.ticket == ticket }) else { return nil }
        return entries.count { $0.name == own.name && $0.ticket.number <= ticket.number }
    }

    /// All of them in their order, when they are to look again; nobody before that.
    package mutating func round(now: Instant) -> [Ticket] {
        if let looked, now.milliseconds(since: looked) < Limits.poolLookMs { return [] }
        looked = now
        return entries.map(\.ticket)
    }
}
