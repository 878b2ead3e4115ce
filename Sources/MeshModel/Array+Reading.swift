extension [UInt8] {
    /// What `body` makes of the bytes. `withUnsafeBytes` forgets which errors it throws.
    package func reading<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try withUnsafeBytes { bytes in
            Result { () throws(Failure) in try body(bytes) }
        }.get()
    }
}
