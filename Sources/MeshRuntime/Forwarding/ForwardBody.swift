import MeshExchange
import MeshModel
import MeshSessions
import MeshWire
import NIOCore

/// What a forwarded body asks for. It is validated again here, because it goes into a worker's envelope.
struct ForwardBody: Sendable {
    var form: AnswerForm
    var need: WorkerNeed
    /// What is known of the upload that follows the payload.
    var upload: Upload?

    struct Upload: Hashable, Sendable {
        var contentType: String
        var length: Int64?
    }

    /// - Parameter hasUpload: whether an upload follows; the payload has to say the same.
    static func read(
        _ body: ByteBuffer, _ operation: WorkerOperation, hasUpload: Bool = false
    ) throws(MeshError) -> ForwardBody {
        let cut: ForwardBody? = body.withUnsafeReadableBytes { raw in
            guard let fields = try? JSONScanner.fields(of: raw) else { return nil }
            return switch operation {
            case .chatCompletions: chat(fields, raw)
            case .proxy: proxy(fields, raw)
            }
        }
        guard let cut, (cut.upload != nil) == hasUpload else {
            throw MeshError(.invalidJSON, "the forwarded body is not a valid request")
        }
        return cut
    }

    private static func chat(_ fields: [JSONField], _ raw: UnsafeRawBufferPointer) -> ForwardBody? {
        guard let model = fields.string("model", in: raw), fields.countIgnoringCase("model", in: raw) == 1,
            fields.count("stream", in: raw) <= 1
        else { return nil }
        let streams = fields.boolean("stream", in: raw) ?? false
        return ForwardBody(form: streams ? .events : .document, need: WorkerNeed(model: model))
    }

    private static let proxyFields = [
        "endpoint_path", "method", "headers", "query_params", "stream", "model", "worker", "content_type", "body",
        "multipart", "body_base64", "upload",
    ]

    /// The headers of a buyer's that go on to a worker.
    private static let headerNames = ["accept", "range", "if-range"]

    /// The payload of `proxy`, as an entry node makes it and no wider: a path that a buyer may reach, no field twice
    /// (a worker might read the other one), no header but those, and one body.
    private static func proxy(_ fields: [JSONField], _ raw: UnsafeRawBufferPointer) -> ForwardBody? {
        var seen: [String] = []
        for field in fields {
            let name = String(decoding: JSONText.unescaped(field.name, in: raw), as: UTF8.self)
            guard proxyFields.contains(name), !seen.contains(name) else { return nil }
            seen.append(name)
        }
        guard let path = fields.string("endpoint_path", in: raw), let endpoint = EndpointPath(path),
            endpoint.text == path, ["GET", "POST", "DELETE"].contains(fields.string("method", in: raw) ?? ""),
            ["body", "multipart", "body_base64", "upload"].filter(seen.contains).count <= 1,
            areHeaders(fields.value("headers", in: raw), raw),
            [nil, .string].contains(fields.value("model", in: raw)?.kind)
        else { return nil }
        let model = fields.string("model", in: raw)
        guard isQuery(fields.value("query_params", in: raw), raw, model: model),
            ForwardContent.isUsable(fields, raw, model: model)
        else { return nil }
        var upload: Upload?
        if let slice = fields.value("upload", in: raw) {
            guard let announced = Self.upload(slice, fields, raw) else { return nil }
            upload = announced
        }
        let streams = fields.boolean("stream", in: raw) ?? false
        return ForwardBody(
            form: streams ? .events : .bytes,
            need: WorkerNeed(
                model: model, endpoint: endpoint, worker: fields.string("worker", in: raw),
                takesUploads: upload != nil), upload: upload)
    }

    private static func upload(
        _ slice: JSONSlice, _ fields: [JSONField], _ raw: UnsafeRawBufferPointer
    ) -> Upload? {
        guard slice.kind == .object, let members = try? JSONScanner.fields(of: raw, in: slice.range),
            members.count <= 1, let contentType = fields.string("content_type", in: raw),
            HeaderRule.isValue(contentType)
        else { return nil }
        if members.isEmpty { return Upload(contentType: contentType) }
        guard let length = members.integer("length", in: raw), (0...Limits.uploadStreamBytes).contains(length) else {
            return nil
        }
        return Upload(contentType: contentType, length: length)
    }

    /// Nothing but those, each once, and nothing in them that would end a header.
    private static func areHeaders(_ slice: JSONSlice?, _ raw: UnsafeRawBufferPointer) -> Bool {
        guard let slice else { return true }
        guard slice.kind == .object, let members = try? JSONScanner.fields(of: raw, in: slice.range) else {
            return false
        }
        var seen: [String] = []
        return members.allSatisfy { member in
            let name = String(decoding: JSONText.unescaped(member.name, in: raw), as: UTF8.self)
            guard headerNames.contains(name), !seen.contains(name), member.value.kind == .string else { return false }
            seen.append(name)
            return HeaderRule.isValue(String(decoding: JSONText.unescaped(member.value, in: raw), as: UTF8.self))
        }
    }

    /// Names, each once, with a text or several; a model only if it is the one that the request is judged by.
    private static func isQuery(_ slice: JSONSlice?, _ raw: UnsafeRawBufferPointer, model: String?) -> Bool {
        guard let slice else { return true }
        guard slice.kind == .object, let members = try? JSONScanner.fields(of: raw, in: slice.range) else {
            return false
        }
        var seen: [String] = []
        var count = 0
        for member in members {
            let name = String(decoding: JSONText.unescaped(member.name, in: raw), as: UTF8.self)
            guard !seen.contains(name), let values = texts(member.value, raw) else { return false }
            if name.lowercased() == "model", name != "model" || values != [model] { return false }
            seen.append(name)
            count += values.count
        }
        return count <= 64
    }

    private static func texts(_ slice: JSONSlice, _ raw: UnsafeRawBufferPointer) -> [String]? {
        if slice.kind == .string { return [String(decoding: JSONText.unescaped(slice, in: raw), as: UTF8.self)] }
        guard slice.kind == .array, let elements = try? JSONScanner.elements(of: raw, in: slice.range, limit: 64),
            elements.allSatisfy({ $0.kind == .string })
        else { return nil }
        return elements.map { String(decoding: JSONText.unescaped($0, in: raw), as: UTF8.self) }
    }
}
