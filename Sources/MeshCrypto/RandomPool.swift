import Synchronization

/// Random bytes for what has to be new and is no secret: nonces. Asked for by the page, because each question is a call of
/// the kernel, which takes as long as the rest of what a nonce is for.
package final class RandomPool: Sendable {
    private static let page = 4_096
    private let rest = Mutex<ArraySlice<UInt8>>([])

    package init() {}

    /// - Parameter count: at most a page. No byte is given twice.
    package func take(_ count: Int) -> [UInt8] {
        precondition((0...Self.page).contains(count))
        return rest.withLock { rest in
            if rest.count < count { rest = Sodium.shared.randomBytes(Self.page)[...] }
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
    }
}
