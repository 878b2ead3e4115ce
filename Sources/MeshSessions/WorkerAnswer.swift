package import MeshModel
import MeshWire

/// The parts of a worker's reply payload, whichever of the released forms it has.
package enum WorkerAnswer {
    /// What a whole answer amounts to for the buyer.
    package struct Whole: Hashable, Sendable {
        package var head: AnswerHead
        package var body: [UInt8]
    }

    /// Reads a whole answer: the wrapped form (`status_code`, `body` or `body_base64`) or the plain object.
    /// Nil when the payload is missing or is neither.
    package static func whole(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> Whole? {
        guard let payload = frame.payload else { return nil }
        guard payload.kind == .object else { return payload.kind == .array ? plain(payload, bytes) : nil }
        guard let fields = try? JSONScanner.fields(of: bytes, in: payload.range) else { return nil }
        guard let status = fields.integer("status_code", in: bytes) ?? statusOfFile(fields, bytes) else {
            return plain(payload, bytes)
        }
        guard let body = body(fields, bytes) else { return nil }
        // "Done, nothing to say": an empty body of status 200 says the same, and cannot be framed in two ways.
        let isEmpty = body.isEmpty && (status == 204 || status == 205)
        guard var head = head(fields, status: isEmpty ? 200 : status, bytes) else { return nil }
        head.length = body.count
        return Whole(head: head, body: body)
    }

    /// Whether the payload is the wrapped form, and not just any object.
    package static func isWrapped(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> Bool {
        guard let payload = frame.payload, payload.kind == .object,
            let fields = try? JSONScanner.fields(of: bytes, in: payload.range)
        else { return false }
        return fields.value("status_code", in: bytes) != nil || statusOfFile(fields, bytes) != nil
    }

    /// Old clients wrap a file (`body_base64`) and nothing else, and give no status.
    private static func statusOfFile(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> Int64? {
        fields.value("status_code", in: bytes) == nil && fields.value("body_base64", in: bytes)?.kind == .string
            ? 200 : nil
    }

    private static func plain(_ payload: JSONSlice, _ bytes: UnsafeRawBufferPointer) -> Whole {
        let body = Array(bytes[payload.range])
        return Whole(head: AnswerHead(status: 200, contentType: "application/json", length: body.count), body: body)
    }

    /// Reads a `start` event: everything of a wrapped answer but its body, with `length` where it is known.
    package static func start(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> AnswerHead? {
        guard let payload = frame.payload, payload.kind == .object,
            let fields = try? JSONScanner.fields(of: bytes, in: payload.range)
        else { return nil }
        let status = fields.integer("status_code", in: bytes) ?? 200
        guard var head = head(fields, status: status, bytes) else { return nil }
        head.length = fields.integer("length", in: bytes).flatMap {
            (0...Limits.answerBytes).contains($0) ? Int($0) : nil
        }
        return head
    }

    private static func head(
        _ fields: [JSONField], status: Int64, _ bytes: UnsafeRawBufferPointer
    ) -> AnswerHead? {
        guard isAnswerStatus(status) else { return nil }
        let type = contentType(fields, bytes) ?? "application/json"
        var head = AnswerHead(status: Int(status), contentType: type)
        if let headers = fields.value("headers", in: bytes) {
            head.fields = AnswerFieldRule.fields(of: headers, in: bytes)
        }
        if let name = fields.string("filename", in: bytes), let field = AnswerFieldRule.disposition(filename: name),
            !head.fields.contains(where: { $0.name == field.name })
        {
            head.fields.append(field)
        }
        return head
    }

    /// The type a payload gives, in its own field or among its headers.
    private static func contentType(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> String? {
        if let type = fields.string("content_type", in: bytes) { return HeaderRule.isValue(type) ? type : nil }
        guard let headers = fields.value("headers", in: bytes), headers.kind == .object,
            let members = try? JSONScanner.fields(of: bytes, in: headers.range)
        else { return nil }
        let type = members.string("content-type", in: bytes) ?? members.string("Content-Type", in: bytes)
        return type.flatMap { HeaderRule.isValue($0) ? $0 : nil }
    }

    /// The type of a stream of bytes, as its first chunk gives it: in the payload, else guessed from how the bytes
    /// are written.
    package static func chunkType(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> String {
        guard let payload = frame.payload, payload.kind == .object,
            let fields = try? JSONScanner.fields(of: bytes, in: payload.range)
        else { return "application/json" }
        if let type = contentType(fields, bytes) { return type }
        let isBinary =
            fields.value("data_base64", in: bytes) != nil || fields.string("encoding", in: bytes) == "base64"
        return isBinary ? "application/octet-stream" : "application/json"
    }

    /// Statuses that an answer with a body can have. The others would end or split the buyer's HTTP answer:
    /// informational ones are no answer, and 204, 205 and 304 have no body (RFC 9110, section 15).
    package static func isAnswerStatus(_ status: Int64) -> Bool {
        (200..<600).contains(status) && ![204, 205, 304].contains(status)
    }

    private static func body(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        if let encoded = fields.value("body_base64", in: bytes), encoded.kind == .string {
            return Base64.bytes(JSONText.unescaped(encoded, in: bytes))
        }
        guard let body = fields.value("body", in: bytes) else { return [] }
        switch body.kind {
        case .string: return JSONText.unescaped(body, in: bytes)
        case .null: return []
        case .object, .array, .number, .boolean: return Array(bytes[body.range])
        }
    }

    /// The raw bytes a chunk event carries; nil when it is damaged.
    package static func chunk(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        if let payload = frame.payload { return chunk(payload, in: bytes, depth: 0) }
        // Generation A puts the text beside the event, under `data`.
        guard let data = frame.fields.value("data", in: bytes) else { return nil }
        return chunk(data, in: bytes, depth: 0)
    }

    private static func chunk(_ slice: JSONSlice, in bytes: UnsafeRawBufferPointer, depth: Int) -> [UInt8]? {
        guard depth < 4 else { return nil }
        switch slice.kind {
        case .string: return JSONText.unescaped(slice, in: bytes)
        case .null: return []
        case .number, .boolean, .array: return dataEvent(slice, bytes)
        case .object: break
        }
        guard let fields = try? JSONScanner.fields(of: bytes, in: slice.range) else { return nil }
        if let chunks = fields.value("chunks", in: bytes), chunks.kind == .array {
            guard let elements = try? JSONScanner.elements(of: bytes, in: chunks.range, limit: 4_096)
            else { return nil }
            var joined: [UInt8] = []
            for element in elements {
                guard let part = chunk(element, in: bytes, depth: depth + 1) else { return nil }
                joined += part
            }
            return joined
        }
        if let inner = fields.value("chunk", in: bytes) { return chunk(inner, in: bytes, depth: depth + 1) }
        if let encoded = fields.value("data_base64", in: bytes), encoded.kind == .string {
            return Base64.bytes(JSONText.unescaped(encoded, in: bytes))
        }
        if let data = fields.value("data", in: bytes), data.kind == .string {
            let text = JSONText.unescaped(data, in: bytes)
            return fields.string("encoding", in: bytes) == "base64" ? Base64.bytes(text) : text
        }
        return dataEvent(slice, bytes)
    }

    private static func dataEvent(_ slice: JSONSlice, _ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        dataEvent(bytes[slice.range])
    }

    /// One event that carries a JSON document. Line breaks in JSON text can only be space between its tokens, but in
    /// an event they would end the `data` field.
    package static func dataEvent(_ json: some Sequence<UInt8>) -> [UInt8] {
        Array("data: ".utf8) + json.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 } + [0x0A, 0x0A]
    }

    /// The worker's own words about a failure, bounded, for the buyer.
    package static func error(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> MeshError {
        var text = frame.fields.string("error", in: bytes)
        var code = frame.fields.string("code", in: bytes)
        if let slice = frame.fields.value("error", in: bytes), slice.kind == .object,
            let fields = try? JSONScanner.fields(of: bytes, in: slice.range)
        {
            text = fields.string("message", in: bytes)
            code = fields.string("code", in: bytes) ?? code
        }
        let words = (text ?? "the worker reported an error without a message").cut(toUTF8Bytes: 500)
        switch code {
        case "model_not_found": return MeshError(.modelNotFound, "the worker says: \(words)", parameter: "model")
        case "busy", "overloaded":
            return MeshError(.workerBusy, "the worker is busy: \(words)", retryAfterSeconds: 2)
        default: return MeshError(.workerError, "the worker says: \(words)")
        }
    }
}

/// What may stand in an HTTP header value (RFC 9110, section 5.5): no control characters, so nothing can be
/// smuggled in after a line break.
package enum HeaderRule {
    package static func isValue(_ text: String) -> Bool {
        text.utf8.count <= 1_024 && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }
}
