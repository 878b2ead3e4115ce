/// Why a candidate is not taken for a request: a closed list, which pools and policies share, `explain` shows and sellers
/// are counted by (Docs/Reference/policies.md).
///
/// The order is that of the tests: a candidate that fails several has the first of them as its one reason. What lasts
/// stands before what passes by itself, so that nobody is told to wait for what can never take the request.
package enum Exclusion: String, CaseIterable, Hashable, Sendable {
    // What the owner, the seller or the operator decided.
    /// Its provider is not for this caller, or the caller's key is not for it.
    case unauthorised
    /// Switched off, or with the weight 0.
    case disabled
    /// The pool stands inside itself.
    case loop

    // What the candidate cannot do.
    /// It does not offer the endpoint.
    case endpoint
    /// It does not take a field of the request that must not be left out.
    case parameters
    /// It does not take what the prompt holds beside text.
    case modality
    /// The prompt and the asked length cannot fit its window.
    case context

    // What the request or the policy rules out.
    /// Left out by name: `only`, `ignore`, or `order` without fallbacks.
    case provider
    /// Run by an operator that was not asked for.
    case `operator`
    /// In a region that was not asked for, or in one that is not known.
    case region
    /// Of the wrong kind: elsewhere where only this node's own will do, or a hosted API where only workers will.
    case location
    /// In another number format than was asked for.
    case quantization
    /// It costs more than the request allows, or nobody knows what.
    case priceCeiling = "price_ceiling"
    /// It keeps, or may keep, what it is sent.
    case retention
    /// No money or tokens are left for what it would cost.
    case budget

    // What passes.
    /// No worker of it is connected anywhere that can be reached.
    case absent
    /// Its node or worker takes nothing new.
    case draining
    /// It failed or refused a moment ago.
    case cooling
    /// It is being tried again with one request, which is under way.
    case halfOpenBusy = "half_open_busy"
    /// As many requests are under way as it takes.
    case atCapacity = "at_capacity"

    /// Whether the candidate may take the same request later, with nothing changed by anybody.
    package var passes: Bool {
        switch self {
        case .unauthorised, .disabled, .loop, .endpoint, .parameters, .modality, .context, .provider, .operator,
            .region, .location, .quantization, .priceCeiling, .retention, .budget:
            false
        case .absent, .draining, .cooling, .halfOpenBusy, .atCapacity: true
        }
    }
}

extension Exclusion: Comparable {
    /// Whether `left` is told where both hold.
    package static func < (left: Self, right: Self) -> Bool { left.rank < right.rank }

    /// Its place in the list.
    private var rank: Int { Self.allCases.firstIndex(of: self) ?? Self.allCases.count }
}
