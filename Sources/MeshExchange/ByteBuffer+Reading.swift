package import NIOCore

extension ByteBuffer {
    /// What `body` makes of the readable bytes. `withUnsafeReadableBytes` forgets which errors it throws.
    package func reading<Value, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try withUnsafeReadableBytes { bytes in
            Result { () throws(Failure) in try body(bytes) }
        }.get()
    }
}
