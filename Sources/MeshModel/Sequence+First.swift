extension Sequence {
    /// What `transform` makes of the first element of which it makes anything. Each element is asked once: `first` of a lazy
    /// collection asks twice, and traps where the second answer is none.
    package func firstResult<Value>(_ transform: (Element) throws -> Value?) rethrows -> Value? {
        for element in self {
            if let value = try transform(element) { return value }
        }
        return nil
    }
}
