import MeshModel

/// What the unfinished answers of one worker hold together: half an event each, or a document that is collected. Each
/// may be large, and a worker has many requests.
package struct HeldAnswers: Sendable {
    /// Only answers that hold something are in it.
    private var bytes: [UInt64: Int] = [:]
    private var total = 0
    private let limit: Int

    package init(limit: Int = Limits.workerHeldBytes) { self.limit = limit }

    /// Notes what the answer to a request holds now.
    /// - Returns: whether all of them are within the bound; where they are not, this one should end.
    package mutating func takes(_ held: Int, of request: UInt64) -> Bool {
        let before = bytes[request] ?? 0
        guard held != before else { return true }
        bytes[request] = held > 0 ? held : nil
        total += held - before
        return held < before || total <= limit
    }

    package mutating func ended(_ request: UInt64) { total -= bytes.removeValue(forKey: request) ?? 0 }
}
