package import MeshModel

/// What the members of a pool said to one request that none of them answered, and what its buyer is told of it.
package struct PoolFailures: Sendable {
    private struct Said: Sendable {
        var member: String
        var fault: Fault
        var words: String
        var attempt: Int
    }

    private var said: [Said] = []

    package init() {}

    package enum Verdict: Hashable, Sendable {
        /// What the attempt of this number answered, as it came.
        case relay(attempt: Int)
        case error(MeshError)
    }

    /// - Parameters:
    ///   - member: as the pool's owner wrote it.
    ///   - attempt: its number, from 1.
    package mutating func add(_ member: String, _ fault: Fault, words: String, attempt: Int) {
        guard said.count < Limits.poolAttempts else { return }
        said.append(
            Said(
                member: member, fault: fault, words: words.cut(toUTF8Bytes: Limits.poolWordsBytes), attempt: attempt))
    }

    /// - Parameters:
    ///   - pool: `rotation/NAME`.
    ///   - leaves: as the pool's owner wrote them.
    package func verdict(of pool: String, _ exhaustion: PoolExhaustion, leaves: [String]) -> Verdict {
        // Only the buyer can do something about these, and only with the words of whoever said them. Of several that had
        // too small a window the last one had the largest.
        if let own = said.first(where: { $0.fault == .client }) { return .relay(attempt: own.attempt) }
        if let tooLong = said.last(where: { $0.fault == .context }) { return .relay(attempt: tooLong.attempt) }
        var parts = said.map { "\($0.member): \($0.words)" }
        for (leaf, reason) in zip(leaves, exhaustion.reasons) {
            guard let reason, parts.count < Limits.poolAttempts else { continue }
            parts.append("\(leaf): \(reason.words)")
        }
        let advice =
            switch exhaustion.cause {
            case .members:
                exhaustion.retryAfterSeconds.map { "try again in \($0) s" } ?? "no member can take this request"
            case .attempts: "try again shortly"
            case .retryBudget: "too many requests are failing to ask others for each; try again shortly"
            }
        let told = parts.isEmpty ? "" : " (\(parts.joined(separator: "; ")))"
        return .error(
            MeshError(
                .workerUnavailable, "no member of \(pool) answered\(told); \(advice)",
                retryAfterSeconds: exhaustion.retryAfterSeconds))
    }
}

extension Exclusion {
    /// For whoever asked, who learns nothing of other tenants by it.
    package var words: String {
        switch self {
        case .unauthorised: "not for this key"
        case .disabled: "switched off"
        case .loop: "stands inside itself"
        case .endpoint: "does not offer this endpoint"
        case .parameters: "does not take all parameters"
        case .modality: "does not take this kind of input"
        case .context: "too small a window"
        case .provider, .operator, .region, .location, .quantization: "ruled out by the request"
        case .priceCeiling: "too dear"
        case .retention: "may keep what it is sent"
        case .budget: "no budget left for it"
        case .draining: "is going away"
        case .absent: "no worker is connected"
        case .cooling: "rests after failures"
        case .halfOpenBusy: "is being tried again"
        case .atCapacity: "is fully at work"
        }
    }
}
