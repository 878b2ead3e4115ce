import Logging
import MeshModel
import MeshUpstream
import MeshWire
import NIOCore
import Synchronization

/// What the seller sees of the requests: a line for each that failed, and a summary a minute.
final class WorkerReport: Sendable {
    private struct State {
        var requests = 0
        var errors = 0
        var promptTokens: Int64 = 0
        var completionTokens: Int64 = 0
        var lines = 0
    }
    private let state = Mutex(State())
    private let logger: Logger
    private let intervalMs: Int64

    init(logger: Logger, intervalMs: Int64) {
        self.logger = logger
        self.intervalMs = intervalMs
    }

    /// Until its task is cancelled; what is left is told at the end.
    func run() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(intervalMs))
            summarise()
        }
    }

    private func summarise() {
        let past = state.withLock { state in
            defer { state = State() }
            return state
        }
        guard past.requests > 0 || past.errors > 0 else { return }
        logger.info(
            "requests since the last summary",
            metadata: [
                "requests.answered": .stringConvertible(past.requests),
                "requests.failed": .stringConvertible(past.errors),
                "tokens.prompt": .stringConvertible(past.promptTokens),
                "tokens.completion": .stringConvertible(past.completionTokens),
            ])
    }

    func answered(_ usage: TokenUsage) {
        state.withLock { state in
            state.requests += 1
            state.promptTokens += usage.prompt
            state.completionTokens += usage.completion
        }
    }

    /// - Parameter reason: everything that helps the seller; the buyer's words are others.
    func failed(_ requestID: String, path: String, status: Int? = nil, code: String, reason: String) {
        let hasLine = state.withLock { state in
            state.errors += 1
            state.lines += 1
            return state.lines <= Limits.workerFailureLinesPerMinute
        }
        guard hasLine else { return }
        var metadata: Logger.Metadata = [
            "request.id": .string(requestID), "request.path": .string(path), "error.code": .string(code),
            "reason": .string(reason),
        ]
        if let status { metadata["response.status"] = .stringConvertible(status) }
        logger.warning("request failed", metadata: metadata)
    }
}

/// Tokens an answer says it cost.
struct TokenUsage: Hashable, Sendable {
    var prompt: Int64 = 0
    var completion: Int64 = 0

    /// From the end of an answer or a stream, wherever `usage` stands in it. Nothing where it does not.
    init(tail: [UInt8]) {
        let mark = Array("\"usage\"".utf8)
        guard tail.count > mark.count,
            let start = (0...(tail.count - mark.count)).last(where: { tail[$0...].starts(with: mark) })
        else { return }
        prompt = Self.number("\"prompt_tokens\"", in: tail[start...])
        completion = Self.number("\"completion_tokens\"", in: tail[start...])
    }

    init() {}

    private static func number(_ name: String, in bytes: ArraySlice<UInt8>) -> Int64 {
        let name = Array(name.utf8)
        guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: name) }) else { return 0 }
        let digits = bytes[(start + name.count)...].drop { " :\t\r\n".utf8.contains($0) }.prefix(12)
            .prefix { (0x30...0x39).contains($0) }
        return Int64(String(decoding: digits, as: UTF8.self)) ?? 0
    }
}

/// What is noted of one answer while it passes.
final class AnswerNotes: Sendable {
    private struct State {
        var status = 0
        var words: String?
        var isText = false
        var tail: [UInt8] = []
        /// Nil where anything may be an answer.
        var verdict: AnswerVerdict?
    }
    private static let tailBytes = 2_048
    private let state: Mutex<State>

    init(_ request: BackendRequest, streams: Bool) {
        state = Mutex(State(verdict: AnswerVerdict.judges(request.path) ? AnswerVerdict(streams: streams) : nil))
    }

    func take(_ part: BackendPart) {
        state.withLock { state in
            state.verdict?.take(part)
            switch part {
            case .words(let words): state.words = words
            case .head(let status, _, let contentType, _):
                state.status = status
                let type = contentType.lowercased()
                state.isText = type.contains("json") || type.hasPrefix("text/")
            case .body(let bytes):
                guard state.isText else { return }
                state.tail += bytes.readableBytesView.suffix(Self.tailBytes)
                if state.tail.count > Self.tailBytes { state.tail.removeFirst(state.tail.count - Self.tailBytes) }
            }
        }
    }

    /// What the seller is told of an error status.
    var failure: (status: Int, words: String)? {
        state.withLock { state in
            guard state.status >= 400 else { return nil }
            return (state.status, state.words ?? BackendErrorBody.words(of: state.tail))
        }
    }

    /// What is wrong with an answer whose status says that all is well.
    var flaw: (status: Int, words: String)? {
        state.withLock { state in state.verdict?.finish().map { (state.status, $0) } }
    }

    var usage: TokenUsage { TokenUsage(tail: state.withLock { $0.tail }) }
}
