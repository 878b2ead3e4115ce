internal import MeshWire
internal import NIOCore

/// A link's own stream: length-prefixed frames both ways, for as long as the link lives.
final class LinkStream: StreamReader {
    private let connection: LinkConnection
    /// What is asked for to open it, over HTTP/2.
    private let path: String?
    private var decoder = LinkFrameCodec.Decoder()
    private var port: (any StreamPort)?
    private var isOver = false
    private var isPaused = false

    init(connection: LinkConnection, path: String? = nil) {
        self.connection = connection
        self.path = path
    }

    var isWritable: Bool { port?.isWritable ?? false }

    func opened(_ port: any StreamPort) {
        self.port = port
        if let path { port.write(StreamFields(path: path), isLast: false) }
        connection.streamOpened(self)
    }

    func read(_ fields: StreamFields, isLast: Bool) {
        if fields.status != 200 || isLast { over() }
    }

    func read(_ bytes: ByteBuffer, isLast: Bool) {
        decoder.append(bytes.readableBytesView)
        readFrames()
        if isLast { over() }
    }

    /// After a pause: first what came before it.
    func readOn() {
        guard isPaused else { return }
        isPaused = false
        readFrames()
        if !isPaused { port?.setReading(true) }
    }

    private func readFrames() {
        do {
            while !isPaused, let frame = try decoder.next() {
                guard !connection.streamRead(frame) else { continue }
                isPaused = true
                port?.setReading(false)
            }
        } catch {
            connection.streamBroken()
        }
    }

    func writabilityChanged(_ isWritable: Bool) {
        if isWritable { connection.drainOutbox() }
    }

    func closed(_ failure: ForwardFailure?) {
        port = nil
        over()
    }

    private func over() {
        guard !isOver else { return }
        isOver = true
        connection.streamClosed()
    }

    /// A frame of the handshake or the last one, past the outbox.
    func write(_ frame: Aisbf_Mesh_V1_LinkFrame) {
        guard let bytes = LinkFrameCodec.bytes(of: frame) else { return }
        write(bytes)
    }

    func write(_ bytes: [UInt8]) { port?.write(ByteBuffer(bytes: bytes), isLast: false, sent: nil) }
}
