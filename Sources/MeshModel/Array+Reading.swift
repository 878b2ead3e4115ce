extension [UInt8] {
    /// What `body` makes of the bytes. `withUnsafeBytes` forgets which errors it throws.
    package func reading<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try withUnsafeBytes { bytes in
            Result { () throws(Failure) in try body(bytes) }
        }.get()
    }

    /// Appends the UTF-8 of `text`, in one piece: byte by byte it takes several times as long.
    package mutating func append(text: String) {
        if text.utf8.withContiguousStorageIfAvailable({ append(contentsOf: $0) }) == nil { append(contentsOf: text.utf8) }
    }
}
