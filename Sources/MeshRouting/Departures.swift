package import MeshModel
internal import OrderedCollections

/// Providers whose last worker has left a short time ago. Small workers come and go, so a request for which nobody else is
/// left waits a moment for them.
package struct Departures: Sendable {
    private struct Gone {
        /// As it was, with its workers.
        var provider: CatalogProvider
        var since: Instant
    }

    private let limit: Int
    /// The earliest first.
    private var gone: OrderedDictionary<RecordKey, Gone> = [:]
    /// Another set of them has another number.
    package private(set) var serial: UInt64 = 0

    package init(limit: Int = Limits.departures) { self.limit = limit }

    package var count: Int { gone.count }

    /// One catalog follows another.
    package mutating func note(_ old: Catalog, _ new: Catalog, now: Instant) {
        let before = gone.count
        gone.removeAll { key, gone in !Self.isGone(key, new) || !Self.isRecent(gone.since, now) }
        var isChanged = gone.count != before
        for provider in old.providers where !provider.hosts.isEmpty && Self.isGone(provider.key, new) {
            if gone.count >= limit { gone.removeFirst() }
            gone[provider.key] = Gone(provider: provider, since: now)
            isChanged = true
        }
        if isChanged { serial &+= 1 }
    }

    /// Whether a worker of it may be back in a moment.
    package func mayReturn(_ provider: RecordKey, now: Instant) -> Bool {
        gone[provider].map { Self.isRecent($0.since, now) } ?? false
    }

    /// All of them, as they were.
    package func providers(now: Instant) -> [CatalogProvider] {
        gone.values.filter { Self.isRecent($0.since, now) }.map(\.provider)
    }

    /// One whose advert is gone as well does not come back in a moment.
    private static func isGone(_ provider: RecordKey, _ catalog: Catalog) -> Bool {
        catalog.provider(provider).map(\.hosts.isEmpty) ?? false
    }

    private static func isRecent(_ since: Instant, _ now: Instant) -> Bool {
        now.milliseconds(since: since) < Limits.departureMs
    }
}
