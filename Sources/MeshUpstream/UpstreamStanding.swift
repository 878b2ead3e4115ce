/// How an upstream is, for its operator.
package struct UpstreamStanding: Hashable, Sendable {
    package enum State: String, Sendable {
        /// It answers.
        case serving
        /// Requests wait for it to wake.
        case asleep
        /// Its last request, or the last look at its models, was in vain.
        case failing
        /// It refuses all keys.
        case refused
    }

    package struct Key: Hashable, Sendable {
        package var state: String
        /// How long it rests; nil for one that does not.
        package var restsForMs: Int64?
    }

    package var state: State
    /// In the operator's words; nothing of a key is in them.
    package var problem: String?
    package var keys: [Key]
}
