import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshSessions
import MeshWire
import NIOHTTP1

/// What one request was and what became of it, gathered on its way for the log and the metrics.
struct RequestTrace {
    private var isOpen = false
    private let started: Instant
    private let method: HTTPMethod
    private let uri: String
    private var kind = RequestMetrics.Kind.other
    private let clientRequestID: String?
    private var requestID: String?
    private var status = 0
    private var firstByte: Instant?
    private var buyer: String?
    private var provider: String?
    private var model: String?
    private var node: String?
    private var nodeKey: PublicKey?
    private var attempts = 0
    /// Why it failed, once it has.
    var code: ErrorCode?

    init() {
        started = Instant(nanoseconds: 0)
        method = .GET
        uri = ""
        clientRequestID = nil
    }

    init(_ head: HTTPRequestHead, at instant: Instant) {
        isOpen = true
        started = instant
        method = head.method
        uri = head.uri
        clientRequestID = Self.usable(
            head.headers.first(name: "x-client-request-id") ?? head.headers.first(name: "x-request-id"))
    }

    /// A name that a client gave its request, when it can stand in a log as it is.
    private static func usable(_ text: String?) -> String? {
        guard let text, (1...Limits.clientRequestIDBytes).contains(text.utf8.count) else { return nil }
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x3A, 0x5F: true
            default: false
            }
        }
        return isPlain ? text : nil
    }

    mutating func begins(_ requestID: String, _ request: WorkRequest, buyer: String?, model: String) {
        self.requestID = requestID
        self.buyer = buyer
        kind = request.content.operation == .proxy ? .proxy : .chat
        if !model.isEmpty { self.model = model }
    }

    /// - Parameter known: the code of an answer whose route has counted it already.
    mutating func answers(_ requestID: String, _ code: ErrorCode?, _ known: ErrorCode?, _ metrics: GatewayMetrics) {
        self.requestID = requestID
        if let code { metrics.failed(code) }
        if let code = code ?? known { self.code = code }
    }

    mutating func attempts(_ place: any Place, at node: String, number: Int) {
        attempts = number
        provider = place.provider.fullName
        self.node = node
        nodeKey = place.node
    }

    mutating func wrote(status: Int) {
        self.status = status
        if firstByte == nil { firstByte = SystemClock.instant }
    }

    /// The request is over, whichever way; only the first call counts.
    /// - Parameter hasLeft: whether the buyer went away in the middle of it.
    mutating func end(_ shared: GatewayContext, hasLeft: Bool = false) {
        guard isOpen else { return }
        isOpen = false
        if hasLeft {
            code = .clientClosed
            shared.metrics.failed(.clientClosed)
        }
        // Whoever left before it had asked for anything is nobody's failure.
        guard let requestID else { return }
        let now = SystemClock.instant
        shared.metrics.requests.ended(
            kind, provider: provider, model: model, failed: code != nil,
            nanoseconds: now.nanoseconds &- started.nanoseconds,
            firstByte: firstByte.map { $0.nanoseconds &- started.nanoseconds })
        guard shared.journal.tells(code) else { return }
        var report = RequestReport(.entry, requestID: requestID)
        report.clientRequestID = clientRequestID
        report.status = code == .clientClosed ? ErrorCode.clientClosed.status : status
        report.code = code
        report.buyer = buyer
        report.isAdmitted = buyer != nil
        report.provider = provider
        report.model = model
        report.node = node
        report.nodeKey = nodeKey
        report.attempts = attempts
        report.milliseconds = now.milliseconds(since: started)
        report.target = target
        shared.journal.ended(report)
    }

    /// Without the query, which may hold anything.
    private var target: String {
        let isPlain = uri.utf8.count <= 128 && !uri.utf8.contains { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        // As nearly all are, and then nothing is taken to pieces.
        if isPlain, method.rawValue.utf8.count <= 16 { return method.rawValue + " " + uri }
        let path = uri.prefix { $0 != "?" && $0 != "#" }
        return "\(method.rawValue.prefix(16)) \(path.utf8.count <= 128 ? path : path.prefix(128))"
    }
}
