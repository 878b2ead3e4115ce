import MeshModel
import MeshWire
import NIOCore

/// The `proxy` operation's payload, checked: only the backend's `/v1` data paths can be reached.
package struct ProxyRequest: Sendable {
    package struct Refused: Error, Sendable {
        package var code: String
        package var message: String
    }

    /// An upload that follows in binary frames, by credit.
    package struct Upload: Hashable, Sendable {
        package var length: Int64?
    }

    package let request: BackendRequest
    package let upload: Upload?
    package let streams: Bool

    private static let allowed = [
        "/chat/completions", "/completions", "/embeddings", "/models", "/images", "/audio", "/video", "/files",
        "/responses", "/rerank", "/moderations", "/pipelines", "/messages",
    ]

    /// - Parameter model: what the backend calls the model, where it has another name than the payload says.
    package init(payload: [UInt8], model: String? = nil) throws(Refused) {
        self = try payload.reading { buffer throws(Refused) in
            guard let fields = try? JSONScanner.fields(of: buffer) else {
                throw Refused(code: "invalid_request", message: "proxy needs an object as payload")
            }
            return try Self(fields, buffer, model)
        }
    }

    private init(_ fields: [JSONField], _ buffer: UnsafeRawBufferPointer, _ model: String?) throws(Refused) {
        let path = try Self.path(fields.string("endpoint_path", in: buffer) ?? "")
        let method = (fields.string("method", in: buffer) ?? "POST").uppercased()
        guard ["GET", "POST", "DELETE"].contains(method) else {
            throw Refused(code: "invalid_request", message: "proxy takes GET, POST and DELETE")
        }
        var request = BackendRequest(method: method, path: path)
        if let type = fields.string("content_type", in: buffer), type.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
            request.contentType = type
        }
        request.headers = Self.headers(fields, buffer).filter {
            method == "GET" || $0.name == "accept" || path == "/messages" && MessagesField.passes($0.name)
        }
        if let query = fields.value("query_params", in: buffer), query.kind == .object,
            case .object(let members)? = try? JSONValue.parse(buffer, in: query.range)
        {
            request.query = members.flatMap { member in
                (member.value.elements ?? [member.value]).compactMap(Self.text).map { (member.name, $0) }
            }
        }
        upload = try Self.upload(fields, buffer)
        if model != nil, upload != nil {
            throw Refused(
                code: "endpoint_not_offered",
                message: "this model takes no body that comes in pieces: send a smaller one")
        }
        if let multipart = fields.value("multipart", in: buffer), multipart.kind == .object {
            let form = try ProxyForm(multipart, buffer, model: model)
            request.contentType = form.contentType
            request.body = form.body
        } else if method != "GET" {
            let body = try Self.body(fields, buffer)
            request.body = model.flatMap { model in body.map { ModelNames.body($0, naming: model) } } ?? body
        }
        self.request = request
        streams = fields.boolean("stream", in: buffer) ?? false
    }

    private static func text(_ value: JSONValue) -> String? {
        switch value {
        case .string(let text), .number(let text): text
        case .boolean(let flag): flag ? "true" : "false"
        case .null, .array, .object: nil
        }
    }

    /// Fields of the buyer's that the backend may see. A value with anything but printable ASCII is none.
    private static func headers(
        _ fields: [JSONField], _ buffer: UnsafeRawBufferPointer
    ) -> [(name: String, value: String)] {
        guard let slice = fields.value("headers", in: buffer), slice.kind == .object,
            let members = try? JSONScanner.fields(of: buffer, in: slice.range)
        else { return [] }
        let named = [
            ("accept", members.string("accept", in: buffer)), ("range", members.string("range", in: buffer)),
            ("if-range", members.string("if-range", in: buffer)),
        ]
        let versions = members.compactMap { member -> (String, String?)? in
            let name = JSONText.string(member.name, in: buffer)
            guard MessagesField.passes(name), member.value.kind == .string else { return nil }
            return (name, JSONText.string(member.value, in: buffer))
        }
        return (named + versions.prefix(Limits.passedHeaders)).compactMap { name, value in
            guard let value, (1...1_024).contains(value.utf8.count),
                value.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F })
            else { return nil }
            return (name, value)
        }
    }

    private static func upload(
        _ fields: [JSONField], _ buffer: UnsafeRawBufferPointer
    ) throws(Refused) -> Upload? {
        guard let slice = fields.value("upload", in: buffer), slice.kind != .null else { return nil }
        guard slice.kind == .object, let members = try? JSONScanner.fields(of: buffer, in: slice.range) else {
            throw Refused(code: "invalid_request", message: "the upload object of the proxy request cannot be read")
        }
        guard members.value("length", in: buffer) != nil else { return Upload() }
        guard let length = members.integer("length", in: buffer), length >= 0 else {
            throw Refused(code: "invalid_request", message: "the length of the upload is no number of bytes")
        }
        return Upload(length: length)
    }

    private static func body(_ fields: [JSONField], _ buffer: UnsafeRawBufferPointer) throws(Refused) -> ByteBuffer? {
        if let slice = fields.value("body", in: buffer), slice.kind != .null {
            // Text is the body itself; anything else is JSON and goes on byte for byte.
            guard slice.kind == .string else { return ByteBuffer(bytes: buffer[slice.range]) }
            return ByteBuffer(bytes: JSONText.unescaped(slice, in: buffer))
        }
        guard let slice = fields.value("body_base64", in: buffer), slice.kind == .string else { return nil }
        guard let bytes = Base64.bytes(JSONText.unescaped(slice, in: buffer)) else {
            throw Refused(code: "invalid_request", message: "body_base64 is not base64")
        }
        return ByteBuffer(bytes: bytes)
    }

    /// `/v1/…` without its `/v1`. Anything that another reader might resolve elsewhere is refused, not repaired.
    private static func path(_ text: String) throws(Refused) -> String {
        let path = text.hasPrefix("/") ? text : "/" + text
        let plain = path.utf8.allSatisfy { byte in
            byte > 0x20 && byte < 0x7F && !"%?#\\;".utf8.contains(byte)
        }
        let segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        let below = String(path.dropFirst(3))
        guard plain, path.hasPrefix("/v1/"), !segments.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }),
            allowed.contains(where: { below == $0 || below.hasPrefix($0 + "/") })
        else { throw Refused(code: "endpoint_not_offered", message: "this worker does not offer that path") }
        return below
    }
}
