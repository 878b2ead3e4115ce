package import Logging
package import MeshExchange
import MeshModel
package import MeshSessions
import Synchronization

/// An OpenAI-compatible server that this node asks itself, with a key that it holds. Its requests run in tasks of its
/// own, and answer by the same rules as a worker's.
package final class UpstreamPlace: Sendable {
    private struct State {
        var attempts: [ObjectIdentifier: UpstreamAttempt] = [:]
        var closedBy: CloseReason?
    }

    /// What is agreed about an upstream beside how it is asked.
    package struct Terms: Sendable {
        var names: ModelNames
        /// How long it may take to wake; 0 when it does not sleep.
        var coldStartMs: Int64

        package init(names: ModelNames = ModelNames(), coldStartMs: Int64 = 0) {
            self.names = names
            self.coldStartMs = coldStartMs
        }
    }

    let backend: any Backend
    package let models: ModelWatch
    let terms: Terms
    let wake = WakeWatch()
    private let keys: UpstreamKeys
    let report: UpstreamReport
    private let state = Mutex(State())
    private let jobs: (stream: AsyncStream<UpstreamAttempt>, continuation: AsyncStream<UpstreamAttempt>.Continuation)
    private let end: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)

    package init(
        _ backend: any Backend, keys: UpstreamKeys, terms: Terms, report: UpstreamReport, logger: Logger
    ) {
        self.backend = backend
        self.keys = keys
        self.terms = terms
        self.report = report
        models = ModelWatch(
            backend: backend, timings: terms.coldStartMs > 0 ? .sleeper : .upstream, names: terms.names, logger: logger
        ) { problem in report.listed(problem: problem) }
        jobs = AsyncStream.makeStream()
        end = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1))
    }

    /// Why it takes nothing any more; nil while it does.
    package var closedBy: CloseReason? { state.withLock { $0.closedBy } }

    /// Answers requests until it is closed or its task is cancelled.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [models] in await models.run() }
            group.addTask { [jobs] in
                await withDiscardingTaskGroup { group in
                    for await attempt in jobs.stream { group.addTask { await attempt.run() } }
                    group.cancelAll()
                }
            }
            group.addTask { [end] in for await _ in end.stream { return } }
            // Whatever ends first ends all.
            await group.next()
            close(.nodeStopping)
            group.cancelAll()
        }
    }

    // MARK: Requests

    /// - Parameters:
    ///   - model: the upstream's id for the model.
    ///   - ended: called once, with what the request says of the upstream's speed.
    package func begin(
        _ request: WorkRequest, model: String?, receiver: any AnswerReceiver,
        ended: @escaping @Sendable (RequestSample?) -> Void
    ) -> any AttemptHandle {
        let attempt = UpstreamAttempt(
            request, model: model, at: self, receiver: receiver
        ) { [self] attempt, sample in
            state.withLock { $0.attempts[ObjectIdentifier(attempt)] = nil }
            ended(sample)
        }
        let refusal = state.withLock { state -> MeshError? in
            guard state.closedBy == nil else {
                return MeshError(.workerUnavailable, "the provider has just been closed", retryAfterSeconds: 2)
            }
            guard state.attempts.count < Limits.upstreamRequestsAtOnce else {
                return MeshError(.workerBusy, "the provider has its hands full", retryAfterSeconds: 1)
            }
            state.attempts[ObjectIdentifier(attempt)] = attempt
            return nil
        }
        guard let refusal else {
            jobs.continuation.yield(attempt)
            return attempt
        }
        ended(nil)
        receiver.deliver([.fail(refusal)])
        return FinishedAttempt()
    }

    /// How it is.
    package var standing: UpstreamStanding {
        let now = SystemClock.instant
        let standings = keys.standings
        let rested = standings.map { standing -> UpstreamStanding.Key in
            let left = standing.until?.milliseconds(since: now)
            return switch standing.rest {
            case nil: .init(state: "good")
            case .refused?: .init(state: "refused", restsForMs: left)
            case .limited?: .init(state: "limited", restsForMs: left)
            }
        }
        let problem = report.problem
        let isRefused = rested.allSatisfy { $0.state == "refused" }
        let state: UpstreamStanding.State =
            isRefused ? .refused : wake.isAsleep ? .asleep : problem == nil ? .serving : .failing
        return UpstreamStanding(state: state, problem: problem, keys: rested)
    }

    package func close(_ reason: CloseReason) {
        let lost = state.withLock { state -> [UpstreamAttempt] in
            guard state.closedBy == nil else { return [] }
            state.closedBy = reason
            return Array(state.attempts.values)
        }
        for attempt in lost { attempt.lost() }
        jobs.continuation.finish()
        end.continuation.yield()
        end.continuation.finish()
    }
}
