package import Logging
import MeshModel
import MeshWire
import NIOCore
import Synchronization

/// What the backend offers, asked for again every minute, after errors that make it doubtful, and when the node asks.
/// Who serves a session hears when it differs from what the node was told.
package actor ModelWatch {
    /// When it looks, in milliseconds; tests shorten them.
    package struct Timings: Sendable {
        package var intervalMs = Limits.workerModelsIntervalMs
        /// After a look that was in vain.
        package var retryMs = Limits.workerModelsRetryMs
        package var answerMs = Limits.workerModelListMs
        /// What is listed while it is not known yet is taken for there, and one that is not there for asleep: it is not
        /// asked often, which would keep it awake.
        package var isSleeper = false

        /// The longest pause after many looks in vain.
        package var longestRetryMs = Limits.workerModelsRetryMs

        /// Of a server that is somebody else's.
        package static let upstream = {
            var timings = Timings()
            timings.longestRetryMs = Limits.upstreamRetryLongestMs
            return timings
        }()
        package static let sleeper = {
            var timings = upstream
            timings.intervalMs = Limits.upstreamSleeperLookMs
            timings.isSleeper = true
            return timings
        }()

        package init(
            intervalMs: Int64 = Limits.workerModelsIntervalMs, retryMs: Int64 = Limits.workerModelsRetryMs,
            answerMs: Int64 = Limits.workerModelListMs
        ) {
            self.intervalMs = intervalMs
            self.retryMs = retryMs
            self.answerMs = answerMs
        }
    }

    private let backend: any Backend
    private let timings: Timings
    private let names: ModelNames
    private let logger: Logger
    private let heard: @Sendable (_ trouble: String?) -> Void
    private var offer = ModelOffer()
    /// What the node has; nil before it asked.
    private var told: [String]?
    private var looks = 0
    private var latest = 0
    private var lastLook: ContinuousClock.Instant?
    private var lastAsked: ContinuousClock.Instant?
    /// Looks in a row that found nobody.
    private var inVain = 0
    private var trouble: String?
    private var listener: AsyncStream<Void>.Continuation?
    private let doubt = Doubt()

    /// - Parameters:
    ///   - names: what is sold under another name.
    ///   - heard: told of the trouble of each look; nil when there was none.
    package init(
        backend: any Backend, timings: Timings = Timings(), names: ModelNames = ModelNames(), logger: Logger,
        heard: @escaping @Sendable (_ trouble: String?) -> Void = { _ in }
    ) {
        self.backend = backend
        self.timings = timings
        self.names = names
        self.logger = logger
        self.heard = heard
        // Nobody would wake what is not offered.
        if timings.isSleeper { offer = ModelOffer(sold: names.sold) }
    }

    /// Something happened that makes the list doubtful: it is looked at again soon.
    package nonisolated func suspect() { doubt.raise() }

    /// Looks until its task is cancelled.
    package func run() async {
        while !Task.isCancelled {
            await look()
            let pause = pauseMs
            // A doubt is no reason to ask a backend in trouble more often.
            try? await Task.sleep(for: .milliseconds(timings.retryMs))
            await doubt.wait(milliseconds: pause - timings.retryMs)
        }
    }

    /// Until the next look: a little more or less each time, so that not all ask at once, and the longer the more often
    /// there was nobody.
    private var pauseMs: Int64 {
        let isKnown = trouble == nil || (timings.isSleeper && !offer.models.isEmpty)
        let doublings = Int64(min(max(inVain - 1, 0), 8))
        let retry = max(min(timings.retryMs << doublings, timings.longestRetryMs), timings.retryMs)
        let pause = isKnown ? timings.intervalMs : retry
        return pause + Int64.random(in: 0...max(pause / 8, 1))
    }

    /// For one session: yields when the node has to be told of a change. The one before ends.
    package func changes() -> AsyncStream<Void> {
        told = nil
        lastAsked = nil
        listener?.finish()
        let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        listener = continuation
        return stream
    }

    /// What is offered by the last look.
    package func current() -> ModelOffer {
        told = offer.key
        return offer
    }

    /// The answer to `models.list`: what is known, where that is fresh enough for the question.
    package func list(now: ContinuousClock.Instant = .now) async -> [UInt8] {
        if !isFresh(now) { await look(asked: now) }
        lastAsked = now
        told = offer.key
        return offer.document.bytes
    }

    /// The node asks once a minute as this watch does, and the backend need not be asked by both. A question that comes
    /// sooner has a reason: then only a look that is as young as the question will do.
    private func isFresh(_ now: ContinuousClock.Instant) -> Bool {
        guard let lastLook else { return false }
        let age = lastLook.duration(to: now)
        // Right after a look that found something new the node asks because of it.
        if age < .seconds(1) { return true }
        if trouble != nil || doubt.isRaised { return false }
        if let lastAsked, lastAsked.duration(to: now) < .milliseconds(timings.intervalMs / 2) { return false }
        return age < .milliseconds(timings.intervalMs + timings.answerMs)
    }

    private func look(asked: ContinuousClock.Instant = .now) async {
        looks += 1
        let number = looks
        do throws(BackendFailure) {
            let found = try await fetch()
            // A newer look knows better, and a task that ends knows nothing.
            guard number > latest, !Task.isCancelled else { return }
            take(found)
        } catch {
            guard number > latest, !Task.isCancelled else { return }
            failed(error)
        }
        latest = number
        lastLook = max(asked, .now)
        heard(trouble)
        if let told, told != offer.key { listener?.yield() }
    }

    private func take(_ found: ModelOffer) {
        let isNews = found.key != offer.key || lastLook == nil || trouble != nil
        offer = found
        inVain = 0
        guard !found.models.isEmpty else {
            return report("GET /models lists none", "the backend has no models: nothing is offered until it has")
        }
        trouble = nil
        guard isNews else { return }
        let names = found.models.prefix(20).compactMap { $0["id"]?.text }.joined(separator: ", ")
        let metadata: Logger.Metadata = [
            "backend.url": .string(backend.name), "model.count": .stringConvertible(found.models.count),
            "model.names": .string(names + (found.models.count > 20 ? ", …" : "")),
        ]
        logger.notice("offering the models of the backend", metadata: metadata)
        if found.isCut {
            logger.warning(
                "the backend lists more models than can be offered; the rest is left out", metadata: metadata)
        }
    }

    private func failed(_ failure: BackendFailure) {
        inVain = ["backend_unreachable", "backend_forbidden"].contains(failure.code) ? inVain + 1 : 0
        // A backend that is only slow or busy keeps its models; one that is gone loses them to others.
        if inVain >= 2, !offer.models.isEmpty, !timings.isSleeper { offer = ModelOffer() }
        let message: Logger.Message =
            offer.models.isEmpty
            ? "the backend does not list its models: nothing is offered until it does"
            : "the backend does not list its models: those of before are offered"
        report("GET /models: \(failure.detail)", message)
    }

    /// Once for each kind of trouble, not at each look.
    private func report(_ reason: String, _ message: Logger.Message) {
        let said = "\(message) \(reason)"
        guard said != trouble else { return }
        trouble = said
        logger.warning(message, metadata: ["backend.url": .string(backend.name), "reason": .string(reason)])
    }

    // MARK: Asking

    private func fetch() async throws(BackendFailure) -> ModelOffer {
        let reader = ListReader()
        let backend = backend
        let limit = timings.answerMs
        let outcome: Result<Void, BackendFailure> = await withTaskGroup(of: Result<Void, BackendFailure>.self) {
            group in
            group.addTask {
                do {
                    try await backend.perform(BackendRequest(method: "GET", path: "/models")) { part in
                        try await reader.take(part)
                    }
                    return .success(())
                } catch {
                    return .failure(error as? BackendFailure ?? Self.unusable("\(error)"))
                }
            }
            group.addTask {
                try? await Task.sleep(for: .milliseconds(limit))
                return .failure(Self.unusable("no answer within \(limit / 1000) s"))
            }
            defer { group.cancelAll() }
            return await group.next() ?? .failure(Self.unusable("no answer"))
        }
        try outcome.get()
        return try await reader.offer(names)
    }

    static func unusable(_ detail: String) -> BackendFailure {
        BackendFailure(
            code: "backend_bad_answer", message: "its backend does not list its models", detail: detail)
    }
}

/// A doubt that may come while nobody waits for it.
private final class Doubt: Sendable {
    private struct State {
        var isRaised = false
        var waiter: AsyncStream<Void>.Continuation?
    }
    private let state = Mutex(State())

    var isRaised: Bool { state.withLock { $0.isRaised } }

    func raise() {
        state.withLock { state in
            state.isRaised = true
            state.waiter?.yield()
        }
    }

    /// Returns when there is a doubt, or when the time is up.
    func wait(milliseconds: Int64) async {
        guard milliseconds > 0 else { return }
        // A stream for each time: one whose reader was cancelled is over for good.
        let (stream, waiter) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let isRaised = state.withLock { state in
            state.waiter = waiter
            return state.isRaised
        }
        if !isRaised {
            await withTaskGroup(of: Void.self) { group in
                group.addTask { try? await Task.sleep(for: .milliseconds(milliseconds)) }
                group.addTask { for await _ in stream { return } }
                await group.next()
                group.cancelAll()
            }
        }
        state.withLock { $0 = State() }
    }
}

/// Collects one answer to `GET /models`.
private actor ListReader {
    private var status = 0
    private var body: [UInt8] = []

    func take(_ part: BackendPart) throws(BackendFailure) {
        switch part {
        case .head(let status, _, _, _): self.status = status
        case .words: break
        case .body(let bytes):
            guard body.count + bytes.readableBytes <= Limits.workerModelListBytes else {
                throw ModelWatch.unusable("the list is larger than \(Limits.workerModelListBytes >> 20) MiB")
            }
            body += bytes.readableBytesView
        }
    }

    func offer(_ names: ModelNames) throws(BackendFailure) -> ModelOffer {
        guard status == 200 else {
            throw ModelWatch.unusable("status \(status): \(BackendErrorBody.words(of: body))")
        }
        guard let document = try? JSONValue.parse(body), let offer = ModelOffer(document, names) else {
            throw ModelWatch.unusable("the answer is no list of models")
        }
        return offer
    }
}
