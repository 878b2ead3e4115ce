import MeshModel

/// What a failed attempt costs its request. Who has no free place, or too small a window for the prompt, has done nothing and
/// says so at once: a few of each are free, so that they do not use up the attempts while somebody else could answer.
package enum AttemptCost: Hashable, Sendable {
    case attempt
    case full
    case overflow

    package init(_ fault: Fault) {
        switch fault {
        case .busy: self = .full
        case .context: self = .overflow
        case .client, .credentials, .billing, .rateLimit, .declined, .server, .timeout, .transport, .buyer, .node:
            self = .attempt
        }
    }

    /// How many attempts they have used up.
    package static func spent(_ costs: some Sequence<AttemptCost>) -> Int {
        var (all, full, overflow) = (0, 0, 0)
        for cost in costs {
            all += 1
            switch cost {
            case .attempt: break
            case .full: full += 1
            case .overflow: overflow += 1
            }
        }
        return all - min(full, Limits.poolFullAttempts) - min(overflow, Limits.poolOverflowAttempts)
    }

    /// How many places a request of so many attempts may be sent to in all. Who wants one attempt has no other.
    package static func places(_ attempts: Int) -> Int {
        attempts > 1 ? attempts + Limits.poolFullAttempts + Limits.poolOverflowAttempts : attempts
    }
}
