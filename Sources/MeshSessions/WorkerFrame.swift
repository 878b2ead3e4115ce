import MeshModel
package import MeshWire

/// One text frame of a worker, cut but not decoded: where its fields lie, and what kind of frame they make it.
/// Valid only together with the bytes it was scanned from.
package struct WorkerFrame: Sendable {
    package enum Kind: Hashable, Sendable {
        /// An operation the worker starts: `register` or `heartbeat`; others are unknown.
        case operation(String)
        /// A reply to one of our requests.
        case reply(ReplyEvent)
    }

    /// What a reply says about its request's progress.
    package enum ReplyEvent: Hashable, Sendable {
        /// A whole answer in one frame.
        case answer
        case pending
        /// Status and type of an answer whose bytes follow in chunks or binary frames.
        case start
        /// Room for more of the request's upload.
        case credit
        case chunk
        /// How far the work is, or what it says meanwhile: content of a stream of events, a keep-alive elsewhere.
        case progress
        case done
        case error
        case heartbeat
        /// An event this node has no use for, such as a second `registered`.
        case ignored
    }

    package var kind: Kind
    package var requestID: String
    package var payload: JSONSlice?
    package var fields: [JSONField]
    /// Those of the payload, where it is an object.
    private var payloadFields: [JSONField]?

    package init(
        kind: Kind, requestID: String, payload: JSONSlice?, fields: [JSONField], payloadFields: [JSONField]? = nil
    ) {
        self.kind = kind
        self.requestID = requestID
        self.payload = payload
        self.fields = fields
        self.payloadFields = payloadFields
    }

    /// The fields of an object in the frame; nil where it is none. The payload's are known.
    func fields(of slice: JSONSlice, in bytes: UnsafeRawBufferPointer) -> [JSONField]? {
        guard slice.kind == .object else { return nil }
        if let payloadFields, slice == payload { return payloadFields }
        return try? JSONScanner.fields(of: bytes, in: slice.range)
    }

    package static func scan(_ bytes: UnsafeRawBufferPointer) throws(JSONScanError) -> WorkerFrame {
        let (fields, inner) = try JSONScanner.fields(of: bytes, opening: "payload")
        let requestID = fields.string("request_id", in: bytes) ?? ""
        let payload = fields.value("payload", in: bytes)
        let payloadFields = payload?.kind == .object ? inner : nil
        if let operation = fields.string("op", in: bytes), !isReply(fields, to: operation, bytes) {
            return WorkerFrame(
                kind: .operation(operation), requestID: requestID, payload: payload, fields: fields,
                payloadFields: payloadFields)
        }
        return WorkerFrame(
            kind: .reply(replyEvent(fields, bytes)), requestID: requestID, payload: payload, fields: fields,
            payloadFields: payloadFields)
    }

    /// Some workers repeat the operation in their reply. `register` is never asked of them, so an event beside it, such
    /// as its own name, makes it no reply.
    private static func isReply(
        _ fields: [JSONField], to operation: String, _ bytes: UnsafeRawBufferPointer
    ) -> Bool {
        if fields.value("status", in: bytes) != nil || fields.boolean("ok", in: bytes) != nil { return true }
        return operation != "register" && fields.string("event", in: bytes) != nil
    }

    private static func replyEvent(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> ReplyEvent {
        let status = fields.string("status", in: bytes)
        if status == "error" || fields.boolean("ok", in: bytes) == false { return .error }
        switch fields.string("event", in: bytes) {
        case nil, "response", "result": return status == "pending" ? .pending : .answer
        case "pending": return .pending
        case "start": return .start
        case "credit": return .credit
        case "chunk", "output", "data", "stream": return .chunk
        case "progress", "log": return .progress
        case "done", "completed", "stream_end": return .done
        case "error": return .error
        case "heartbeat": return .heartbeat
        default: return .ignored
        }
    }
}
