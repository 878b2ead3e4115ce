package import MeshCrypto
package import MeshModel
import NIOPosix
import Synchronization

/// Finds the attach keys of tokens that were minted elsewhere.
///
/// The derivation (Argon2id, about 0.1 s and 64 MiB) is what a stranger could be made to pay for here, so it is
/// bounded in every way: `Limits.tokenDerivationsAtOnce` threads in the whole process, `Limits.tokenDerivationsQueued`
/// questions, and what is asked twice is derived once. Answers are kept only when they were right, under a keyed hash
/// with a key of this process: the memory of a node holds no list of what was tried, and no tokens.
package final class ImportedTokens: Sendable {
    /// A provider the token may belong to, and the keys that would prove it.
    package struct Candidate: Hashable, Sendable {
        package var provider: RecordKey
        package var keys: [PublicKey]

        package init(provider: RecordKey, keys: [PublicKey]) {
            self.provider = provider
            self.keys = keys
        }
    }

    package enum Answer: Hashable, Sendable {
        case found(PublicKey)
        case wrong
        /// Too many questions are waiting.
        case full
    }

    package typealias Derivation = @Sendable (_ token: String, _ provider: RecordKey) -> SigningKey?

    private struct State {
        var known: [Bytes16: SigningKey] = [:]
        var waiting: [Bytes16: [@Sendable (Answer) -> Void]] = [:]
    }

    /// Lives as long as the process: nothing waits for it when a node stops, and no node has threads of its own.
    private static let pool = NIOThreadPool._makePerpetualStartedPool(
        numberOfThreads: Limits.tokenDerivationsAtOnce, threadNamePrefix: "TOKEN-")

    private let hashKey = Sodium.shared.randomBytes(32)
    private let derive: Derivation
    private let state = Mutex(State())
    private let metrics: WorkerMetrics

    package init(
        metrics: WorkerMetrics,
        derive: @escaping Derivation = { RegistrationToken.imported($0, provider: $1)?.key }
    ) {
        self.metrics = metrics
        self.derive = derive
    }

    /// The key of `token` at `provider`, when it was found before.
    package func known(_ token: String, provider: RecordKey) -> SigningKey? {
        let name = name(token, provider)
        return state.withLock { $0.known[name] }
    }

    /// Whether this is being found out already, so that one who asks as well costs nothing.
    package func isUnderWay(_ token: String, among candidates: [Candidate]) -> Bool {
        let question = question(token, candidates)
        return state.withLock { $0.waiting[question] != nil }
    }

    /// Finds the first candidate that `token` belongs to. `then` is called once, on any thread.
    package func find(_ token: String, among candidates: [Candidate], then: @escaping @Sendable (Answer) -> Void) {
        let question = question(token, candidates)
        let isFull = state.withLock { state -> Bool? in
            if state.waiting[question] != nil {
                state.waiting[question]?.append(then)
                return nil
            }
            let limit = Limits.tokenDerivationsAtOnce + Limits.tokenDerivationsQueued
            guard state.waiting.count < limit else { return true }
            state.waiting[question] = [then]
            return false
        }
        switch isFull {
        case nil: break
        case true?:
            metrics.derivation(.full)
            then(.full)
        case false?:
            Self.pool.submit { [self] work in
                let answer = work == .active ? search(token, candidates) : .full
                for then in state.withLock({ $0.waiting.removeValue(forKey: question) }) ?? [] { then(answer) }
            }
        }
    }

    private func search(_ token: String, _ candidates: [Candidate]) -> Answer {
        for candidate in candidates {
            let known = known(token, provider: candidate.provider)
            let key = known ?? derive(token, candidate.provider)
            let isRight = key.map { candidate.keys.contains($0.publicKey) } ?? false
            if known == nil { metrics.derivation(isRight ? .right : .wrong) }
            guard let key, isRight else { continue }
            let name = name(token, candidate.provider)
            state.withLock { state in
                // Forgotten all at once when the table is full: whoever comes again costs one derivation.
                if state.known.count >= Limits.tokenDerivationsKept { state.known = [:] }
                state.known[name] = key
            }
            return .found(key.publicKey)
        }
        return .wrong
    }

    /// The same token for the same providers is one question, however many workers ask it at once.
    private func question(_ token: String, _ candidates: [Candidate]) -> Bytes16 {
        let providers = candidates.flatMap { $0.provider.bytes + $0.keys.flatMap(\.bytes) }
        return Sodium.shared.hash16(providers + [0] + Array(token.utf8), key: hashKey)
    }

    private func name(_ token: String, _ provider: RecordKey) -> Bytes16 {
        Sodium.shared.hash16(provider.bytes + Array(token.utf8), key: hashKey)
    }
}
