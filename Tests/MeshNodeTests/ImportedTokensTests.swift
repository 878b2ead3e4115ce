import Glibc
import MeshCrypto
import MeshModel
import MeshRuntime
import Synchronization
import Testing

/// A derivation that waits until it is let go, and counts.
private final class HeldDerivation: Sendable {
    private struct State {
        var calls = 0
        var running = 0
        var mostAtOnce = 0
        var isOpen = false
    }

    private let state = Mutex(State())

    var calls: Int { state.withLock { $0.calls } }
    var mostAtOnce: Int { state.withLock { $0.mostAtOnce } }

    func open() { state.withLock { $0.isOpen = true } }

    func derive(_ token: String) -> SigningKey? {
        state.withLock {
            $0.calls += 1
            $0.running += 1
            $0.mostAtOnce = max($0.mostAtOnce, $0.running)
        }
        while !state.withLock({ $0.isOpen }) { usleep(1_000) }
        state.withLock { $0.running -= 1 }
        return SigningKey(seed: Sodium.shared.digest(Array(token.utf8), key: [], count: 32))
    }
}

private final class Answers: Sendable {
    private let all = Mutex<[ImportedTokens.Answer]>([])
    func add(_ answer: ImportedTokens.Answer) { all.withLock { $0.append(answer) } }
    var total: Int { all.withLock { $0.count } }
    func count(_ answer: ImportedTokens.Answer) -> Int { all.withLock { $0.count { $0 == answer } } }
}

@Suite(.serialized, .nodeLog) struct ImportedTokensTests {
    private static let provider = RecordKey(.zero)

    private static func key(of token: String) -> PublicKey {
        SigningKey(seed: Sodium.shared.digest(Array(token.utf8), key: [], count: 32))?.publicKey ?? PublicKey(.zero)
    }

    private static func make(_ held: HeldDerivation) -> ImportedTokens {
        ImportedTokens(metrics: WorkerMetrics()) { token, _ in held.derive(token) }
    }

    @Test func twoAtOnceAQueueThenRefusal() async throws {
        let (held, answers) = (HeldDerivation(), Answers())
        let tokens = Self.make(held)
        let room = Limits.tokenDerivationsAtOnce + Limits.tokenDerivationsQueued
        for number in 0..<(room + 10) {
            tokens.find("guess \(number)", among: [.init(provider: Self.provider, keys: [])]) { answers.add($0) }
        }
        #expect(answers.count(.full) == 10)
        held.open()
        try await eventually("all answers") { answers.count(.wrong) == room }
        #expect(held.calls == room)
        #expect(held.mostAtOnce <= Limits.tokenDerivationsAtOnce)
        // There is room again.
        tokens.find("guess", among: [.init(provider: Self.provider, keys: [])]) { answers.add($0) }
        try await eventually("the answer") { answers.count(.wrong) == room + 1 }
    }

    @Test func aThousandWorkersWithOneTokenCostOneDerivationAndTheNextNone() async throws {
        let (held, answers) = (HeldDerivation(), Answers())
        let tokens = Self.make(held)
        let key = Self.key(of: "right")
        let candidates = [ImportedTokens.Candidate(provider: Self.provider, keys: [key])]
        #expect(tokens.known("right", provider: Self.provider) == nil)
        #expect(!tokens.isUnderWay("right", among: candidates))
        for _ in 0..<1_000 { tokens.find("right", among: candidates) { answers.add($0) } }
        #expect(tokens.isUnderWay("right", among: candidates))
        #expect(!tokens.isUnderWay("other", among: candidates))
        held.open()
        try await eventually("all answers") { answers.count(.found(key)) == 1_000 }
        #expect(held.calls == 1)
        #expect(!tokens.isUnderWay("right", among: candidates))
        #expect(tokens.known("right", provider: Self.provider)?.publicKey == key)
        tokens.find("right", among: candidates) { answers.add($0) }
        try await eventually("one more") { answers.count(.found(key)) == 1_001 }
        #expect(held.calls == 1)
    }

    @Test func onlyRightAnswersAreKept() async throws {
        let (held, answers) = (HeldDerivation(), Answers())
        held.open()
        let tokens = Self.make(held)
        let candidates = [ImportedTokens.Candidate(provider: Self.provider, keys: [Self.key(of: "right")])]
        for turn in 1...3 {
            tokens.find("wrong", among: candidates) { answers.add($0) }
            try await eventually("refusal \(turn)") { answers.count(.wrong) == turn }
        }
        #expect(held.calls == 3)
        #expect(tokens.known("wrong", provider: Self.provider) == nil)
    }

    @Test func whatIsKeptIsBounded() async throws {
        let (held, answers) = (HeldDerivation(), Answers())
        held.open()
        let tokens = Self.make(held)
        var (next, wanted) = (0, 0)
        while next <= Limits.tokenDerivationsKept {
            for number in next..<min(next + Limits.tokenDerivationsQueued, Limits.tokenDerivationsKept + 1) {
                let token = "token \(number)"
                tokens.find(token, among: [.init(provider: Self.provider, keys: [Self.key(of: token)])]) {
                    answers.add($0)
                }
                wanted += 1
            }
            next = wanted
            try await eventually("the answers") { answers.total == wanted }
        }
        #expect(answers.count(.full) == 0 && answers.count(.wrong) == 0)
        #expect(tokens.known("token 0", provider: Self.provider) == nil)
        #expect(tokens.known("token \(Limits.tokenDerivationsKept)", provider: Self.provider) != nil)
    }
}
