internal import MeshWire
internal import NIOCore

/// What comes on one stream of a link, in order, on the link's event loop.
protocol StreamReader: AnyObject {
    /// Once, first: the stream can be written to.
    func opened(_ port: any StreamPort)
    func read(_ fields: StreamFields, isLast: Bool)
    func read(_ bytes: ByteBuffer, isLast: Bool)
    func writabilityChanged(_ isWritable: Bool)
    /// Once, last. Nil: both sides have said everything.
    func closed(_ failure: ForwardFailure?)
}

/// One stream of a link as its user writes to it, on the link's event loop. What is written goes out at the end of the
/// loop's turn. Calls after the end do nothing.
protocol StreamPort: AnyObject {
    /// False: the peer reads slower than this side writes.
    var isWritable: Bool { get }
    func write(_ fields: StreamFields, isLast: Bool)
    /// - Parameter sent: called when the bytes have left; never, when the stream ended before.
    func write(_ bytes: ByteBuffer, isLast: Bool, sent: (@Sendable () -> Void)?)
    /// Stops and starts reading; what is not read waits in the peer's window.
    func setReading(_ isReading: Bool)
    /// Ends the stream at once, for both sides.
    func close()
}

/// The way in which a link's streams share its connection.
protocol LinkCarrier: AnyObject {
    var way: LinkProtocol { get }
    /// - Parameter reader: hears `opened`, or `closed` with what prevented it.
    func open(_ reader: any StreamReader)
    /// The answer comes as `LinkConnection.ponged`.
    func ping(_ number: UInt64)
    /// The peer opens no further stream.
    func refuseStreams()
    func close()
}
