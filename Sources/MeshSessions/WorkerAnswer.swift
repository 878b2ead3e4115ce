package import MeshDialects
import MeshModel
package import MeshWire

/// The parts of a worker's reply payload, whichever of the released forms it has.
package enum WorkerAnswer {
    /// Where a reply's content stands. Generation A puts it beside the event, under `data`.
    static func content(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> JSONSlice? {
        if let payload = frame.payload, payload.kind != .null { return payload }
        return frame.fields.value("data", in: bytes) ?? frame.payload
    }

    /// Reads a whole answer: the wrapped form (`status_code`, `body` or `body_base64`), the plain object or list, or a
    /// text that is JSON or an event stream. Nil when the payload is missing or is none of these.
    package static func whole(
        _ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer, usage: inout UsageReading
    ) -> WholeAnswer? {
        guard let payload = content(frame, in: bytes) else { return nil }
        switch payload.kind {
        case .array: return plain(payload, bytes)
        case .string: return text(JSONText.unescaped(payload, in: bytes))
        case .number, .boolean, .null: return nil
        case .object: break
        }
        guard let fields = frame.fields(of: payload, in: bytes) else { return nil }
        usage.read(fields, in: bytes)
        usage.readInside(fields, in: bytes)
        guard let status = fields.integer("status_code", in: bytes) ?? statusOfFile(fields, bytes) else {
            return plain(payload, bytes)
        }
        guard let (body, source) = body(fields, bytes) else { return nil }
        // "Done, nothing to say": an empty body of status 200 says the same, and cannot be framed in two ways.
        let isEmpty = body.isEmpty && (status == 204 || status == 205)
        let type = contentType(fields, bytes)
        let guess = type ?? (isEmpty ? "text/plain" : guessedType(of: body, source))
        guard var head = head(fields, status: isEmpty ? 200 : status, type: guess, bytes) else { return nil }
        head.length = body.count
        return WholeAnswer(head: head, body: body, source: source, isTypeGuessed: type == nil)
    }

    /// The same where nobody asks what it cost.
    package static func whole(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> WholeAnswer? {
        var usage = UsageReading()
        return whole(frame, in: bytes, usage: &usage)
    }

    /// Old clients wrap a file (`body_base64`) and nothing else, and give no status.
    private static func statusOfFile(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> Int64? {
        fields.value("status_code", in: bytes) == nil && fields.value("body_base64", in: bytes)?.kind == .string
            ? 200 : nil
    }

    private static func text(_ text: [UInt8]) -> WholeAnswer? {
        let first = text.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        guard
            first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
                || AnswerStart.judge(text, isWhole: true) == .events
        else { return nil }
        let head = AnswerHead(status: 200, contentType: guessedType(of: text, .text), length: text.count)
        return WholeAnswer(head: head, body: text, source: .text, isTypeGuessed: true)
    }

    /// The type of a body that came without one. A text that begins as an object and is none is a damaged answer, and
    /// so is nothing at all.
    private static func guessedType(of body: [UInt8], _ source: WholeAnswer.Source) -> String {
        switch source {
        case .json: return "application/json"
        case .bytes: return "application/octet-stream"
        case .text:
            let first = body.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
            if first == nil || first == UInt8(ascii: "{") { return "application/json" }
            let isJSON = body.withUnsafeBytes { (try? JSONScanner.value(of: $0)) != nil }
            return isJSON ? "application/json" : "text/plain"
        }
    }

    static func plain(_ payload: JSONSlice, _ bytes: UnsafeRawBufferPointer) -> WholeAnswer {
        let body = Array(bytes[payload.range])
        let head = AnswerHead(status: 200, contentType: "application/json", length: body.count)
        return WholeAnswer(head: head, body: body, source: .json)
    }

    /// Reads a `start` event: everything of a wrapped answer but its body, with `length` where it is known.
    package static func start(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> AnswerHead? {
        guard let payload = frame.payload, let fields = frame.fields(of: payload, in: bytes) else { return nil }
        let status = fields.integer("status_code", in: bytes) ?? 200
        let type = contentType(fields, bytes) ?? "application/json"
        guard var head = head(fields, status: status, type: type, bytes) else { return nil }
        head.length = fields.integer("length", in: bytes).flatMap {
            (0...Limits.answerBytes).contains($0) ? Int($0) : nil
        }
        return head
    }

    private static func head(
        _ fields: [JSONField], status: Int64, type: String, _ bytes: UnsafeRawBufferPointer
    ) -> AnswerHead? {
        guard AnswerHead.isAnswerStatus(status) else { return nil }
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

    /// The type a payload gives, in its own field or among its headers; nil where it says none that could be told.
    static func contentType(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> String? {
        let type = fields.string("content_type", in: bytes) ?? headerType(fields, bytes)
        return type.flatMap { !$0.isEmpty && HeaderRule.isValue($0) ? $0 : nil }
    }

    private static func headerType(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> String? {
        guard let headers = fields.value("headers", in: bytes), headers.kind == .object,
            let members = try? JSONScanner.fields(of: bytes, in: headers.range)
        else { return nil }
        // Names of header fields have no case (RFC 9110, section 5.1).
        let member = members.first { member in
            member.value.kind == .string && member.name.range.count < 64
                && JSONText.string(member.name, in: bytes).lowercased()
                    == "content-type"
        }
        return member.map { JSONText.string($0.value, in: bytes) }
    }

    private static func body(
        _ fields: [JSONField], _ bytes: UnsafeRawBufferPointer
    ) -> (body: [UInt8], source: WholeAnswer.Source)? {
        if let encoded = fields.value("body_base64", in: bytes), encoded.kind == .string {
            return Base64.bytes(JSONText.unescaped(encoded, in: bytes)).map { ($0, .bytes) }
        }
        guard let body = fields.value("body", in: bytes) else { return ([], .text) }
        switch body.kind {
        case .string: return (JSONText.unescaped(body, in: bytes), .text)
        case .null: return ([], .text)
        case .object, .array, .number, .boolean: return (Array(bytes[body.range]), .json)
        }
    }
}
