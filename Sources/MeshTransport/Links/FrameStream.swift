internal import DequeModule
internal import MeshModel
internal import MeshWire
internal import NIOCore

/// One stream on a connection that speaks `aisbf-link/2`: what waits for the peer's credit, and what waits for its reader.
final class FrameStream: StreamPort {
    private enum Piece {
        case fields(StreamFields, isLast: Bool)
        case bytes(ByteBuffer, isLast: Bool)
    }

    private struct Outgoing {
        var bytes: ByteBuffer
        var isLast: Bool
        var sent: (@Sendable () -> Void)?
    }

    /// Asked for the rest, and at work.
    private static let signs = [100, 102]

    let number: UInt64
    private(set) var ledger: StreamLedger
    private unowned let carrier: FrameCarrier
    private var reader: (any StreamReader)?
    private var isReading: Bool
    /// What arrived while nobody read: not more than one window.
    private var inbox: Deque<Piece> = []
    private var isDelivering = false
    private var outbox: Deque<Outgoing> = []
    private var outboxBytes = 0
    /// Fields behind a body that has not left yet.
    private var trailers: StreamFields?
    /// The peer knows of it.
    private var isAnnounced: Bool
    /// In the carrier's line of those that have something to send.
    var isInLine = false
    private(set) var isClosed = false
    private(set) var isWritable = true

    init(_ number: UInt64, _ ledger: StreamLedger, carrier: FrameCarrier, isReading: Bool = true) {
        self.number = number
        self.ledger = ledger
        self.carrier = carrier
        self.isReading = isReading
        isAnnounced = ledger.role != .opener
    }

    func begin(_ reader: any StreamReader) {
        self.reader = reader
        reader.opened(self)
    }

    // MARK: What comes

    func arrived(_ fields: StreamFields, isLast: Bool) throws(StreamFault) {
        try ledger.read(fieldsOf: fields.status, isLast: isLast)
        guard (100..<200).contains(fields.status), !isReading || !inbox.isEmpty else {
            return arrived(.fields(fields, isLast: isLast))
        }
        // Signs cost no credit: of those that wait there is one of each kind that means something.
        let isKnown = inbox.contains { piece in
            if case .fields(let waiting, _) = piece { waiting.status == fields.status } else { false }
        }
        guard Self.signs.contains(fields.status), !isKnown else { return }
        inbox.append(.fields(StreamFields(status: fields.status), isLast: false))
    }

    func arrived(_ bytes: ByteBuffer, isLast: Bool) throws(StreamFault) {
        try ledger.read(bytes: bytes.readableBytes, isLast: isLast)
        arrived(.bytes(bytes, isLast: isLast))
    }

    func arrived(credit: Int) throws(StreamFault) {
        try ledger.read(credit: credit)
        if hasToSend { carrier.line(self) }
    }

    private func arrived(_ piece: Piece) {
        guard isReading, inbox.isEmpty else { return inbox.append(piece) }
        deliver(piece)
        closeIfOver()
    }

    private func deliver(_ piece: Piece) {
        switch piece {
        case .fields(let fields, let isLast): reader?.read(fields, isLast: isLast)
        case .bytes(let bytes, let isLast):
            if let credit = ledger.dealt(with: bytes.readableBytes) { carrier.grant(credit, on: self) }
            reader?.read(bytes, isLast: isLast)
        }
    }

    func setReading(_ isReading: Bool) {
        self.isReading = isReading
        // Its reader may stop and start while it is given something.
        guard isReading, !isDelivering, !isClosed else { return }
        isDelivering = true
        while self.isReading, !isClosed, let piece = inbox.popFirst() { deliver(piece) }
        isDelivering = false
        closeIfOver()
    }

    // MARK: What goes

    func write(_ fields: StreamFields, isLast: Bool) {
        guard !isClosed else { return }
        guard outbox.isEmpty else {
            // Only what stands behind a body can have to wait for it.
            if isLast { trailers = fields } else { fail() }
            return
        }
        send(fields, isLast: isLast)
    }

    private func send(_ fields: StreamFields, isLast: Bool) {
        guard ledger.write(fieldsOf: fields.status, isLast: isLast) else { return fail() }
        guard carrier.send(fields, isLast: isLast, on: self) else { return fail(.headTooLarge) }
        isAnnounced = true
        closeIfOver()
    }

    func write(_ bytes: ByteBuffer, isLast: Bool, sent: (@Sendable () -> Void)?) {
        guard !isClosed, trailers == nil, bytes.readableBytes > 0 || isLast else { return }
        outbox.append(Outgoing(bytes: bytes, isLast: isLast, sent: sent))
        outboxBytes += bytes.readableBytes
        if outboxBytes >= Limits.linkStreamWriteBytes { setWritable(false) }
        carrier.line(self)
    }

    private var hasToSend: Bool {
        guard let first = outbox.first else { return false }
        return ledger.credit > 0 || first.bytes.readableBytes == 0
    }

    /// Puts the next frame of data out; false when there is none, or no credit for one.
    func sendNext() -> Bool {
        guard !isClosed, hasToSend, var next = outbox.popFirst() else { return false }
        let count = min(next.bytes.readableBytes, Limits.linkFramePayloadBytes, ledger.credit)
        guard let part = next.bytes.readSlice(length: count) else { return false }
        let isWhole = next.bytes.readableBytes == 0
        outboxBytes -= count
        guard ledger.write(bytes: count, isLast: isWhole && next.isLast) else {
            fail()
            return false
        }
        carrier.send(part, isLast: isWhole && next.isLast, on: self)
        if isWhole { next.sent?() } else { outbox.prepend(next) }
        if outboxBytes <= Limits.linkStreamWriteBytes / 4 { setWritable(true) }
        if !isClosed, outbox.isEmpty, let trailers {
            self.trailers = nil
            send(trailers, isLast: true)
        }
        closeIfOver()
        return !isClosed && hasToSend
    }

    private func setWritable(_ isWritable: Bool) {
        guard self.isWritable != isWritable else { return }
        self.isWritable = isWritable
        reader?.writabilityChanged(isWritable)
    }

    // MARK: The end

    func close() { end(failure: .linkLost, code: .cancel) }

    /// The peer ended it.
    func cancelled(_ code: UInt32) {
        end(failure: code == StreamCode.refused.rawValue ? .refusedStream : .reset(code), code: nil)
    }

    /// The connection is gone.
    func lost() { end(failure: .linkLost, code: nil) }

    private func fail(_ failure: ForwardFailure = .malformed) { end(failure: failure, code: .internalError) }

    private func closeIfOver() {
        // What has come of an answer is still to be read; of a request that is answered nobody wants the rest.
        guard !isClosed, ledger.isOver, inbox.isEmpty || ledger.role == .answerer else { return }
        end(failure: nil, code: nil)
    }

    private func end(failure: ForwardFailure?, code: StreamCode?) {
        guard !isClosed else { return }
        isClosed = true
        if let code, isAnnounced { carrier.cancel(self, code) }
        carrier.forget(self)
        inbox = []
        outbox = []
        let reader = reader
        self.reader = nil
        reader?.closed(failure)
    }
}

/// Why a stream is cancelled: HTTP/2's numbers, so that both ways of a link mean the same (RFC 9113 section 7).
enum StreamCode: UInt32 {
    case internalError = 2
    case refused = 7
    case cancel = 8
}
