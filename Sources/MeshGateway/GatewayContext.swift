package import MeshModel
package import MeshRouting
package import MeshRuntime
import MeshSessions
import Metrics
import Synchronization

/// What every request handler of the listener shares.
package final class GatewayContext: Sendable {
    package let identity: NodeFacts
    package let authenticator: Authenticator
    package let catalog: CatalogHolder
    package let dispatcher: Dispatcher
    package let market: Market
    package let quotas: Quotas
    package let usage: UsageBook
    package let deadlines: AnswerDeadlines
    package let coldRoutes: any ColdRoutes
    package let metrics: GatewayMetrics
    package let journal: Journal
    /// What buyers of this node asked with idempotency keys.
    let idempotent = IdempotencyBook()
    /// Which model a conversation used last, for programs that name it once.
    let lastModels = LastModels()
    package let crossOrigin: CrossOrigin
    /// The inference requests under way.
    let requests: RequestCount
    private let draining = Atomic<Bool>(false)
    let coldInFlight = Atomic<Int>(0)
    /// Counts wrong API keys per address.
    let wrongKeys = RefusalGate()
    /// Bytes of large request bodies that are held now.
    let heldBodyBytes = Atomic<Int>(0)

    package init(
        identity: NodeFacts, authenticator: Authenticator, catalog: CatalogHolder, dispatcher: Dispatcher,
        market: Market, quotas: Quotas = Quotas(), usage: UsageBook = UsageBook(),
        deadlines: AnswerDeadlines, coldRoutes: any ColdRoutes, metrics: GatewayMetrics,
        journal: Journal = .silent, crossOrigin: CrossOrigin = CrossOrigin(["*"]),
        requests: RequestCount = RequestCount()
    ) {
        self.identity = identity
        self.authenticator = authenticator
        self.catalog = catalog
        self.dispatcher = dispatcher
        self.market = market
        self.quotas = quotas
        self.usage = usage
        self.deadlines = deadlines
        self.coldRoutes = coldRoutes
        self.metrics = metrics
        self.journal = journal
        self.crossOrigin = crossOrigin
        self.requests = requests
    }

    package var requestsInFlight: Int { requests.current }
    package var isDraining: Bool { draining.load(ordering: .relaxed) }

    /// No new requests from now on; the running ones go on.
    package func drain() { draining.store(true, ordering: .relaxed) }

    package func principal(_ caller: Caller) -> Principal { principal(caller.owner, caller.username) }

    func principal(_ owner: PublicKey, _ username: String) -> Principal {
        Principal(owner: owner, username: username, node: identity.key, nodeOperator: identity.operatorKey)
    }
}

/// What the gateway needs to know of its own node.
package struct NodeFacts: Sendable {
    package var key: PublicKey
    package var operatorKey: PublicKey
    package var name: String

    package init(key: PublicKey, operatorKey: PublicKey, name: String) {
        self.key = key
        self.operatorKey = operatorKey
        self.name = name
    }
}

/// Routes that are answered by a function instead of a stream.
package protocol ColdRoutes: Sendable {
    func respond(_ request: Request, context: GatewayContext) async -> Response
}

package struct GatewayMetrics: Sendable {
    private let byStatus: [Counter]
    private let errors: [ErrorCode: Counter]
    private let bodyBytes: Counter
    let requests = RequestMetrics()

    package init() {
        byStatus = (0..<6).map { Counter(label: "aisbf_http_responses_total", dimensions: [("class", "\($0)xx")]) }
        errors = Dictionary(
            uniqueKeysWithValues: ErrorCode.allCases.map {
                ($0, Counter(label: "aisbf_errors_total", dimensions: [("code", $0.rawValue)]))
            })
        bodyBytes = Counter(label: "aisbf_answer_bytes_total")
    }

    func answered(_ status: Int) { byStatus[min(max(status / 100, 0), 5)].increment() }
    func failed(_ code: ErrorCode) { errors[code]?.increment() }
    func delivered(_ bytes: Int) { bodyBytes.increment(by: bytes) }
}
