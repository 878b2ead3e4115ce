package import MeshModel

/// How long somebody else may tell a buyer to wait.
package enum RetryAfter {
    /// The value of a field of an answer, within bounds where it tells a time to wait; nil where it tells one that
    /// cannot be bounded, such as a date.
    package static func bounded(_ field: HeaderField) -> String? {
        switch field.name {
        case "retry-after": bounded(field.value, longest: Int64(Limits.retryAfterSeconds))
        case "retry-after-ms": bounded(field.value, longest: Int64(Limits.retryAfterSeconds) * 1_000)
        default: field.value
        }
    }

    /// Seconds may have a fraction (`0.5`), and SDKs read it.
    private static func bounded(_ value: String, longest: Int64) -> String? {
        let parts = value.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, value.utf8.count <= 24,
            parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } })
        else { return nil }
        // More digits than a number can have are a very long time as well.
        return Int64(parts[0]).map { $0 < longest } ?? false ? value : String(longest)
    }
}
