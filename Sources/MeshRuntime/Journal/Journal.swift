package import Logging
import MeshExchange
package import MeshModel
import MeshTelemetry

/// What a node writes down of what happens to it: requests, workers that were not let in, and what its operator
/// changed. Names and ids only; never a prompt, a token or a query.
package final class Journal: Sendable {
    /// Which requests get a line.
    package enum Requests: String, CaseIterable, Sendable {
        case all
        case failed
        case none
    }

    private let requests: Requests
    private let logger: Logger
    private let failures: SampledLog
    private let refusals: SampledLog

    package init(requests: Requests, logger: Logger, now: Instant = SystemClock.instant) {
        self.requests = requests
        self.logger = logger
        failures = SampledLog(
            logger, what: "failed requests", perSecond: Limits.logEventsPerSecond, burst: Limits.logEventsBurst,
            now: now)
        refusals = SampledLog(
            logger, what: "refused workers", perSecond: Limits.logEventsPerSecond, burst: Limits.logEventsBurst,
            now: now)
    }

    /// One that writes nothing.
    package static let silent = Journal(
        requests: .none, logger: Logger(label: "aisbf.silent") { _ in SwiftLogNoOpLogHandler() })

    /// Says what was left out because there was too much of it. Call it about every second.
    package func flush() {
        failures.flush()
        refusals.flush()
    }

    /// Whether a request that ends so is told of at all.
    package func tells(_ code: ErrorCode?) -> Bool { requests != .none && (code != nil || requests == .all) }

    /// A request that is over.
    package func ended(_ request: RequestReport) {
        guard tells(request.code) else { return }
        guard let code = request.code else {
            return logger.info("request", metadata: request.metadata)
        }
        let level: Logger.Level = code.status >= 500 ? .warning : .info
        // All means all of those who may ask at all: whoever knocks without a key cannot fill the disk.
        if requests == .all, request.isAdmitted {
            return logger.log(level: level, "request failed", metadata: request.metadata)
        }
        failures.write(
            level, "request failed", kind: code.rawValue, now: SystemClock.instant, metadata: request.metadata)
    }

    package func workerRefused(_ metadata: @autoclosure () -> Logger.Metadata, reason: String) {
        refusals.write(
            .notice, "worker refused", kind: reason, now: SystemClock.instant,
            metadata: metadata().merging(["reason": "\(reason)"]) { $1 })
    }

    /// - Parameter by: the operator at this machine, or the key that was used.
    package func changed(_ what: String, by: String, requestID: String) {
        logger.notice(
            "administration: \(what)", metadata: ["admin.by": "\(by)", "request.id": "\(requestID)"])
    }
}

/// One request as the log tells of it.
package struct RequestReport: Sendable {
    /// What this node was to the request.
    package enum Side: String, Sendable {
        /// The buyer asked here.
        case entry
        /// Another node asked for its buyer, and the worker is here.
        case hosting
    }

    package var side: Side
    package var requestID: String
    /// What the buyer calls the request, where it is fit for a log.
    package var clientRequestID: String?
    /// Method and path, without the query.
    package var target: String?
    package var status = 0
    /// Nil: it went well.
    package var code: ErrorCode?
    package var buyer: String?
    /// Whether whoever asked may ask here at all.
    package var isAdmitted = false
    package var provider: String?
    package var model: String?
    /// Name of the node that drove the worker, or that asked.
    package var node: String?
    package var nodeKey: PublicKey?
    package var attempts = 0
    package var milliseconds: Int64 = 0

    package init(_ side: Side, requestID: String) {
        self.side = side
        self.requestID = requestID
    }

    package var metadata: Logger.Metadata {
        var fields: Logger.Metadata = [
            "request.id": "\(requestID)", "request.side": "\(side.rawValue)", "request.ms": "\(milliseconds)",
            "http.status": "\(status)",
        ]
        fields["error.code"] = code.map { "\($0.rawValue)" }
        fields["request.client_id"] = clientRequestID.map { "\($0)" }
        fields["http.target"] = target.map { "\($0)" }
        fields["buyer"] = buyer.map { "\($0)" }
        fields["provider"] = provider.map { "\($0)" }
        fields["model"] = model.map { "\($0)" }
        let place = side == .entry ? "node.host" : "node.entry"
        fields[place] = node.map { "\($0)" }
        fields["\(place).id"] = nodeKey.map { "\($0.nodeID)" }
        if attempts > 1 { fields["request.attempts"] = "\(attempts)" }
        return fields
    }
}

extension PublicKey {
    /// As people know a node: `aisbf_node_…`.
    package var nodeID: String { KeyText.node.text(bytes) }
}
