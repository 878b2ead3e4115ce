/// Puts texts one behind the other into memory that has room for them. An array that is appended to looks at its room, its
/// owner and its length for every one of them. How much room there has to be is the caller's to know: what has none is a
/// fault of this program, which ends it before half a text is signed or sent.
package struct TextWriter {
    private let room: UnsafeMutableRawBufferPointer
    package private(set) var count = 0

    package init(_ room: UnsafeMutableRawBufferPointer) { self.room = room }

    package mutating func put(_ text: String) {
        let isInPlace: Void? = text.utf8.withContiguousStorageIfAvailable { put(UnsafeRawBufferPointer($0)) }
        if isInPlace == nil { Array(text.utf8).withUnsafeBytes { put($0) } }
    }

    package mutating func put(_ bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count <= room.count - count, "more than there is room for")
        UnsafeMutableRawBufferPointer(rebasing: room[count...]).copyMemory(from: bytes)
        count += bytes.count
    }

    package mutating func put(_ byte: UInt8) {
        precondition(count < room.count, "more than there is room for")
        room[count] = byte
        count += 1
    }

    package mutating func put(_ first: UInt8, _ second: UInt8) {
        put(first)
        put(second)
    }
}

extension [UInt8] {
    /// What `write` puts together, in one piece of memory.
    /// - Parameter size: that it takes at most.
    package init(size: Int, _ write: (inout TextWriter) -> Void) {
        self.init(unsafeUninitializedCapacity: size) { room, count in
            var writer = TextWriter(UnsafeMutableRawBufferPointer(room))
            write(&writer)
            count = writer.count
        }
    }
}
