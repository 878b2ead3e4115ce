import MeshModel

/// How many tokens models count for what is estimated as one, learnt from the usage that they report. Estimates err by the
/// kind of text and by the model's vocabulary; the second is the same from request to request.
///
/// A ratio moves by a sixteenth of what a new request shows, more in the beginning, and stays between a half and two: a
/// provider that lies about usage can shift this node's expectation of one model so far and no further.
package struct TokenRatios: Sendable {
    private struct Ratio: Sendable {
        /// In 1,024ths.
        var value: Int64 = 1_024
        var seen: Int64 = 0
        /// Requests that taught nothing since the last one that did.
        var passed = 0
    }

    /// What a new request shows counts for one in so many.
    private static let memory: Int64 = 16
    /// Of the requests for a model that is known, one in so many teaches.
    private static let sampling = 64

    private let limit: Int
    private var ratios = DenseTable<String, Ratio>()

    package init(limit: Int = Limits.tokenRatios) { self.limit = limit }

    package var count: Int { ratios.count }

    /// Whether the next request for the model is worth counting. To read a prompt costs more than all else that is done with
    /// it, and one in a while says as much of a model that is known.
    package mutating func wants(_ model: String) -> Bool {
        ratios.update(model) { ratio in
            guard ratio.seen >= Self.memory else { return true }
            ratio.passed = (ratio.passed + 1) % Self.sampling
            return ratio.passed == 0
        } ?? true
    }

    /// A request whose input was estimated at `estimate` tokens had `counted`.
    package mutating func learn(model: String, estimate: Int64, counted: Int64) {
        // Short prompts are mostly the template around them.
        guard estimate >= 64, counted > 0, counted < 1 << 40, estimate < 1 << 40 else { return }
        if !ratios.contains(model), ratios.count >= limit {
            // Nothing is lost that a few requests do not bring back.
            ratios = DenseTable()
        }
        let sample = min(max(counted * 1_024 / estimate, 512), 2_048)
        ratios.update(model, from: Ratio()) { ratio in
            ratio.seen = min(ratio.seen + 1, Self.memory)
            let step = sample - ratio.value
            // Rounded away from zero, so that a small lasting difference is learnt too.
            ratio.value += (step + (step < 0 ? 1 - ratio.seen : ratio.seen - 1)) / ratio.seen
        }
    }

    /// The ratio in 1,024ths.
    package func ratio(of model: String) -> Int64 { ratios[model]?.value ?? 1_024 }

    package func tokens(_ estimate: Int64, of model: String) -> Int64 {
        let bounded = min(max(estimate, 0), 1 << 40)
        return (bounded * ratio(of: model) + 1_023) / 1_024
    }

    /// The least that a prompt may come to: what is larger than a window with it cannot fit, and nobody is left out by an
    /// estimate alone. And the most: what fits with it will.
    func fit(tokens estimate: Int64, of model: String) -> (least: UInt64, most: UInt64) {
        let tokens = UInt64(clamping: tokens(estimate, of: model))
        return (tokens * 3 / 4, tokens + (tokens * 3 + 19) / 20)
    }
}
