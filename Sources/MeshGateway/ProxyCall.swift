import MeshModel
import MeshRuntime
import MeshSessions
import MeshWire
import NIOCore
import NIOHTTP1

/// A buyer's call of an endpoint other than chat, cut into what the node reads and what it passes on: becomes the
/// payload of the worker protocol's `proxy` operation.
///
/// The buyer's authorization, cookies, addresses and hop-by-hop fields stay here: of its headers only `accept` and
/// the content type go on.
struct ProxyCall: Sendable {
    private enum Content: Sendable {
        case none
        case json(BuyerBody)
        case form(ByteBuffer, [MultipartForm.Part])
        case bytes(ByteBuffer)
        /// What follows in pieces: its first bytes, where its model stands in them, and how much it is in all.
        case upload(ByteBuffer, model: Range<Int>?, length: Int64?)
    }

    /// The buyer's name for the model; nil when it names none.
    let model: String?
    /// `provider` or `seller@node/provider`, from the query or `aisbf-provider`.
    let provider: String?
    /// The mark of the worker that an earlier answer came from, from the query or `aisbf-worker`.
    let worker: String?
    let wantsStream: Bool
    private let endpoint: EndpointPath
    private let method: String
    private let accept: String?
    /// `range` and `if-range` of a GET.
    private let ranges: [JSONValue.Member]
    private let contentType: String?
    private let query: [(name: String, value: String)]
    private let content: Content
    /// Whether the body names the model, so that its name is exchanged there.
    private let isModelInside: Bool

    /// - Throws: `MeshError` that names what is wrong with the body.
    static func read(
        _ head: HTTPRequestHead, _ endpoint: EndpointPath, _ bytes: ByteBuffer
    ) throws(MeshError) -> ProxyCall {
        try ProxyCall(head, endpoint, try content(head, bytes))
    }

    /// The same of a call whose body is passed on while it arrives.
    /// - Parameter beginning: the first bytes of the body.
    /// - Returns: nil where the body has to be whole before anybody can be asked: JSON, and a form that has not named
    ///   its model before its first file.
    /// - Throws: `MeshError` that names what is wrong with the body.
    static func readUpload(
        _ head: HTTPRequestHead, _ endpoint: EndpointPath, beginning: ByteBuffer
    ) throws(MeshError) -> ProxyCall? {
        guard mayStream(head), let type = try contentType(head) else { return nil }
        let kind = BodyKind(contentType: type, beginning: beginning.readableBytesView)
        guard kind == .form || kind == .bytes else { return nil }
        var fields = UploadFields()
        if kind == .form {
            guard let found = try UploadFields(contentType: type, beginning: beginning) else { return nil }
            fields = found
        }
        let length = head.headers.first(name: "content-length").flatMap { Int64($0) }
        guard length ?? 0 <= Limits.uploadStreamBytes else {
            throw MeshError(.bodyTooLarge, "the upload is larger than \(Limits.uploadStreamBytes >> 30) GiB")
        }
        let call = try ProxyCall(
            head, endpoint, .upload(beginning, model: fields.modelRange, length: length), inside: fields.model,
            streams: fields.streams)
        return call.model == nil && call.provider == nil ? nil : call
    }

    /// Whether the type of a body allows to pass it on before it is whole.
    static func mayStream(_ head: HTTPRequestHead) -> Bool {
        guard head.method == .POST, let type = head.headers.first(name: "content-type") else { return false }
        let kind = BodyKind(contentType: type)
        return type.first != " " && (kind == .form || kind == .bytes)
    }

    private init(
        _ head: HTTPRequestHead, _ endpoint: EndpointPath, _ content: Content, inside known: String? = nil,
        streams wanted: Bool = false
    ) throws(MeshError) {
        let text = head.uri.split(separator: "?", maxSplits: 1).dropFirst().first ?? ""
        let query = PercentEncoding.query(String(text))
        self.endpoint = endpoint
        self.content = content
        method = head.method.rawValue
        accept = head.headers.first(name: "accept").flatMap {
            $0.utf8.count <= 256 && HeaderRule.isValue($0) ? $0 : nil
        }
        let type = try Self.contentType(head)
        // A backend that went by the type would look for the fields of a form in it.
        if case .json = content, BodyKind(contentType: type) != .json || type == nil {
            contentType = "application/json"
        } else {
            contentType = type
        }
        ranges = Self.ranges(head)
        var inside = known
        var streams = wanted || (accept?.lowercased().contains("text/event-stream") ?? false)
        switch content {
        case .none, .bytes, .upload: break
        case .json(let body):
            inside = body.model.isEmpty ? nil : body.model
            streams = streams || body.wantsStream
        case .form(let bytes, let parts):
            inside = try Self.model(parts, bytes)
            streams = streams || Self.field("stream", parts, bytes) == "true"
        }
        let asked = try Self.named("model", query)
        model = inside ?? asked ?? head.headers.first(name: "aisbf-model")
        provider = try Self.named("provider", query) ?? head.headers.first(name: "aisbf-provider")
        worker = try Self.named("worker", query) ?? head.headers.first(name: "aisbf-worker")
        wantsStream = streams
        isModelInside = inside != nil
        self.query = query.filter { item in
            !Self.ownNames.contains(item.name.lowercased()) && !item.value.hasPrefix(KeyText.apiKey.rawValue)
        }
    }

    /// What part of a file is asked for (RFC 9110, section 14.2). A value that cannot stand in a header is none, and
    /// neither is one in several lines: a server may always answer with the whole.
    private static func ranges(_ head: HTTPRequestHead) -> [JSONValue.Member] {
        guard head.method == .GET, let range = single("range", head) else { return [] }
        let condition = single("if-range", head)
        // Without its condition a range could be cut from another version of the file.
        guard condition != nil || !head.headers.contains(name: "if-range") else { return [] }
        return [.init("range", .string(range))] + (condition.map { [.init("if-range", .string($0))] } ?? [])
    }

    private static func single(_ name: String, _ head: HTTPRequestHead) -> String? {
        let values = head.headers[name]
        guard values.count == 1, (1...256).contains(values[0].utf8.count),
            values[0].utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F })
        else { return nil }
        return values[0]
    }

    /// Query names that are the node's business, and names under which clients put their keys.
    private static let ownNames: Set<String> = [
        "provider", "worker", "model", "api_key", "apikey", "api-key", "x-api-key", "key", "token", "access_token",
        "auth", "authorization", "bearer", "secret", "password",
    ]

    /// Whether the request may go to whoever alone offers its endpoint: it asks for what an earlier one left there, and
    /// carries nothing. Whatever is sent goes only where its sender said.
    var mayBeUnnamed: Bool {
        guard case .none = content, method != HTTPMethod.POST.rawValue else { return false }
        return endpoint.family.keepsState
    }

    /// What the query says under a name that decides where the request goes.
    private static func named(_ name: String, _ query: [(name: String, value: String)]) throws(MeshError) -> String? {
        let values = query.filter { $0.name == name && !$0.value.isEmpty }.map(\.value)
        guard let first = values.first else { return nil }
        guard values.allSatisfy({ $0 == first }) else {
            throw MeshError(.invalidRequest, "the query names '\(name)' twice, and differently", parameter: name)
        }
        return first
    }

    /// The type of the body as it goes on; nil where none was sent.
    private static func contentType(_ head: HTTPRequestHead) throws(MeshError) -> String? {
        guard let type = head.headers.first(name: "content-type"), !type.isEmpty else { return nil }
        guard HeaderRule.isValue(type) else {
            throw MeshError(
                .invalidRequest, "the content-type is too long, or holds characters that no header may hold")
        }
        return type
    }

    private static func content(_ head: HTTPRequestHead, _ bytes: ByteBuffer) throws(MeshError) -> Content {
        guard bytes.readableBytes > 0, head.method != .GET else {
            return .none
        }
        let type = try contentType(head)
        switch BodyKind(contentType: type, beginning: bytes.readableBytesView) {
        case .json: return .json(try BuyerBody.read(bytes, needsModel: false))
        case .form: return try form(bytes, contentType: type ?? "")
        case .bytes: return .bytes(bytes)
        case .urlencoded:
            throw MeshError(
                .invalidRequest,
                "the body is neither JSON nor multipart/form-data; forms of application/x-www-form-urlencoded are not taken"
            )
        }
    }

    private static func form(_ bytes: ByteBuffer, contentType type: String) throws(MeshError) -> Content {
        guard let boundary = MultipartForm.boundary(contentType: type) else {
            throw MeshError(.invalidRequest, "the content-type of the form has no usable boundary")
        }
        let parts: Result<[MultipartForm.Part], MultipartError> = bytes.withUnsafeReadableBytes { raw in
            do throws(MultipartError) { return .success(try MultipartForm.parts(of: raw, boundary: boundary)) } catch {
                return .failure(error)
            }
        }
        switch parts {
        case .success(let parts):
            guard parts.allSatisfy({ $0.filename != nil || $0.range.count <= Limits.formFieldBytes }) else {
                throw MeshError(
                    .bodyTooLarge,
                    "a field of the form is larger than \(Limits.formFieldBytes >> 10) KiB; send it as a file")
            }
            return .form(bytes, parts)
        case .failure(let error):
            throw MeshError(.invalidRequest, "the form in the body cannot be read: \(error.description)")
        }
    }

    /// The form's model. One that a backend could read in another way than this node is refused.
    private static func model(_ parts: [MultipartForm.Part], _ bytes: ByteBuffer) throws(MeshError) -> String? {
        let named = parts.filter { $0.name == "model" }
        guard let part = named.first else { return nil }
        let text = bytes.getBytes(at: bytes.readerIndex + part.range.lowerBound, length: part.range.count)
        guard named.count == 1, part.filename == nil, let name = UploadFields.modelName(text ?? []) else {
            throw UploadFields.unusableModel
        }
        return name
    }

    private static func field(_ name: String, _ parts: [MultipartForm.Part], _ bytes: ByteBuffer) -> String? {
        guard let part = parts.first(where: { $0.name == name && $0.filename == nil }),
            (1...512).contains(part.range.count)
        else { return nil }
        return bytes.getString(at: bytes.readerIndex + part.range.lowerBound, length: part.range.count)
    }

    // MARK: The payload

    /// - Parameter model: the id the workers know, in the place of the buyer's name for it.
    func payload(model: String?) -> ByteBuffer {
        var head: [JSONValue.Member] = [
            .init("endpoint_path", .string(endpoint.text)), .init("method", .string(method)),
            .init("headers", .object((accept.map { [.init("accept", .string($0))] } ?? []) + ranges)),
            .init("query_params", .object(parameters(model: model))),
            .init("stream", .boolean(wantsStream)),
        ]
        if let model { head.append(.init("model", .string(model))) }
        if let worker { head.append(.init("worker", .string(worker))) }
        if case .none = content {} else if let contentType { head.append(.init("content_type", .string(contentType))) }
        var text = JSONValue.object(head).bytes
        text.removeLast()
        var size = text.count + 64
        switch content {
        case .none: break
        case .json(let body): size += body.bytes.readableBytes + (model?.utf8.count ?? 0)
        case .form(let bytes, let parts): size += bytes.readableBytes / 3 * 4 + parts.count * 128
        case .bytes(let bytes): size += bytes.readableBytes / 3 * 4 + 4
        case .upload: break
        }
        var buffer = ByteBufferAllocator().buffer(capacity: size)
        buffer.writeBytes(text)
        switch content {
        case .none: break
        case .json(let body):
            buffer.writeStaticString(",\"body\":")
            buffer.writeImmutableBuffer(model.map { body.withModel($0) } ?? body.bytes)
        case .form(let bytes, let parts):
            buffer.writeStaticString(",\"multipart\":")
            buffer.writeBytes(Self.form(bytes, parts, model: model))
        case .bytes(let bytes):
            buffer.writeStaticString(",\"body_base64\":\"")
            buffer.writeBytes(Base64.text(Array(bytes.readableBytesView)))
            buffer.writeStaticString("\"")
        case .upload:
            buffer.writeStaticString(",\"upload\":")
            let length = upload(model: model)?.length
            buffer.writeBytes(JSONValue.object(length.map { [.init("length", .integer($0))] } ?? []).bytes)
        }
        buffer.writeStaticString("}")
        return buffer
    }

    /// The first bytes of what is passed on in pieces, with the workers' id of the model in them, and the length of
    /// the whole, where it is known; nil for a call whose body is whole.
    func upload(model: String?) -> (beginning: ByteBuffer, length: Int64?)? {
        guard case .upload(let bytes, let range, let length) = content else { return nil }
        guard let range, let model else { return (bytes, length) }
        var spliced = ByteBufferAllocator().buffer(capacity: bytes.readableBytes + model.utf8.count)
        let view = bytes.readableBytesView
        spliced.writeBytes(view.prefix(range.lowerBound))
        spliced.writeString(model)
        spliced.writeBytes(view.dropFirst(range.upperBound))
        return (spliced, length.map { $0 + Int64(model.utf8.count - range.count) })
    }

    /// The buyer's query, a name that stands in it several times with the list of its values, and the workers' id of the model where the body does not name it.
    private func parameters(model: String?) -> [JSONValue.Member] {
        var members: [JSONValue.Member] = []
        for item in query where !members.contains(where: { $0.name == item.name }) {
            let values = query.filter { $0.name == item.name }.map(\.value)
            members.append(.init(item.name, values.count == 1 ? .string(item.value) : .strings(values)))
        }
        if !isModelInside, let model { members.append(.init("model", .string(model))) }
        return members
    }

    private static func form(_ bytes: ByteBuffer, _ parts: [MultipartForm.Part], model: String?) -> [UInt8] {
        var fields: [UInt8] = []
        var files: [UInt8] = []
        bytes.withUnsafeReadableBytes { raw in
            for part in parts {
                let content = raw[part.range]
                if let filename = part.filename {
                    let type = part.contentType ?? "application/octet-stream"
                    let head: JSONValue = [
                        "name": .string(part.name), "filename": .string(filename), "content_type": .string(type),
                    ]
                    if !files.isEmpty { files.append(UInt8(ascii: ",")) }
                    files += head.bytes.dropLast()
                    files += Array(",\"data_base64\":\"".utf8)
                    files += Base64.text(Array(content))
                    files += Array("\"}".utf8)
                } else {
                    let value = part.name == "model" ? model.map { Array($0.utf8) } : nil
                    if !fields.isEmpty { fields.append(UInt8(ascii: ",")) }
                    fields += Array("{\"name\":".utf8)
                    JSONText.appendQuoted(part.name.utf8, to: &fields)
                    fields += Array(",\"value\":".utf8)
                    // Text that is no UTF-8 is mended: JSON has no other way to carry it.
                    JSONText.appendQuoted(String(decoding: value ?? Array(content), as: UTF8.self).utf8, to: &fields)
                    fields.append(UInt8(ascii: "}"))
                }
            }
        }
        return Array("{\"fields\":[".utf8) + fields + Array("],\"files\":[".utf8) + files + Array("]}".utf8)
    }
}
