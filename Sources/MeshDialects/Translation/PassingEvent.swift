/// An event that is too long to come in one piece: its pieces go on unread, up to the blank line that ends it.
struct PassingEvent: Sendable {
    /// The last byte of it that has come; nil where none is on its way.
    private var last: UInt8?

    /// - Parameter event: its first piece.
    mutating func begin(_ event: UnsafeRawBufferPointer) { last = event.last }

    /// Passes over the next piece of it.
    /// - Returns: where it ends, or the piece does; `start` where none is on its way.
    mutating func pass(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        guard var last else { return start }
        var position = start
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == 0x0A, last == 0x0A {
                self.last = nil
                return position
            }
            last = byte
        }
        self.last = last
        return position
    }
}
