/// Secrets that two sides hold as texts.
package enum SecretText {
    /// Whether both are the same bytes, in time that depends on their lengths only: whoever may try again and again
    /// must not learn how far a guess was right. Unlike `==` it does not take canonically equivalent texts for one.
    package static func isSame(_ left: String, _ right: String) -> Bool {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for index in left.indices { difference |= left[index] ^ right[index] }
        return difference == 0
    }
}
