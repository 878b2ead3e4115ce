import MeshModel
import MeshSessions
import MeshWire
import NIOCore

/// What a forwarded body asks for. It is validated again here, because it goes into a worker's envelope.
struct ForwardBody: Sendable {
    var form: AnswerExchange.Form
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
        guard let model = fields.string("model", in: raw), fields.count("model", in: raw) == 1,
            fields.count("stream", in: raw) <= 1
        else { return nil }
        let streams = fields.boolean("stream", in: raw) ?? false
        return ForwardBody(form: streams ? .events : .document, need: WorkerNeed(model: model))
    }

    private static let proxyFields = [
        "endpoint_path", "method", "headers", "query_params", "stream", "model", "worker", "content_type", "body",
        "multipart", "body_base64", "upload",
    ]

    /// The payload of `proxy`, as an entry node makes it and no wider: a path that a buyer may reach, no field twice
    /// (a worker might read the other one), no header but `accept`, and one body.
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
            isFlat(fields.value("headers", in: raw), raw, names: ["accept"]),
            isFlat(fields.value("query_params", in: raw), raw, names: nil)
        else { return nil }
        let model = fields.string("model", in: raw)
        if let body = fields.value("body", in: raw), !named(body, raw, is: model) { return nil }
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

    /// An object of texts, each once.
    private static func isFlat(_ slice: JSONSlice?, _ raw: UnsafeRawBufferPointer, names: [String]?) -> Bool {
        guard let slice else { return true }
        guard slice.kind == .object, let members = try? JSONScanner.fields(of: raw, in: slice.range) else {
            return false
        }
        var seen: [String] = []
        for member in members {
            let name = String(decoding: JSONText.unescaped(member.name, in: raw), as: UTF8.self)
            guard member.value.kind == .string, !seen.contains(name), names?.contains(name) ?? true else {
                return false
            }
            seen.append(name)
        }
        return seen.count <= 64
    }

    /// The model in the body is the one the request is judged by.
    private static func named(_ body: JSONSlice, _ raw: UnsafeRawBufferPointer, is model: String?) -> Bool {
        guard body.kind == .object else { return false }
        guard let fields = try? JSONScanner.fields(of: raw, in: body.range) else { return false }
        guard fields.count("model", in: raw) <= 1 else { return false }
        guard fields.value("model", in: raw) != nil else { return true }
        return fields.string("model", in: raw) == model
    }
}
