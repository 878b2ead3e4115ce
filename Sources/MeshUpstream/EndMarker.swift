/// Finds the line `data: [DONE]` in a stream of events that is passed on unread.
package struct EndMarker: Sendable {
    /// The beginning of the line that is not over yet; more than the marker is long says that it is another one.
    private var line: [UInt8] = []

    private static let longest = 32

    package init() {}

    /// Whether the marker stands in the stream once `bytes` have come, with or without its line end.
    package mutating func isFound(in bytes: some Collection<UInt8>) -> Bool {
        for byte in bytes {
            guard byte == 0x0A || byte == 0x0D else {
                if line.count <= Self.longest { line.append(byte) }
                continue
            }
            if isMarker { return true }
            line.removeAll(keepingCapacity: true)
        }
        return isMarker
    }

    private var isMarker: Bool {
        line.count <= Self.longest && line.starts(with: "data:".utf8)
            && line.dropFirst(5).lazy.filter { $0 != 0x20 }.elementsEqual("[DONE]".utf8)
    }
}
