import MeshExchange
import MeshModel
import MeshRuntime
import MeshSessions
import MeshWire
import NIOCore
import NIOHTTP1

/// A buyer's call of an endpoint other than chat, cut into what the node reads and what it passes on.
///
/// The buyer's authorization, cookies, addresses and hop-by-hop fields stay here: of its headers only `accept` and
/// the content type go on.
struct ProxyCall: Sendable {
    /// The buyer's name for the model; nil when it names none.
    let model: String?
    /// `provider` or `seller@node/provider`, from the query or `aisbf-provider`.
    let provider: String?
    /// The mark of the worker that an earlier answer came from, from the query or `aisbf-worker`.
    let worker: String?
    let wantsStream: Bool
    let content: Content
    /// Whether the request may go to whoever alone offers its endpoint: it asks for what an earlier one left there, and
    /// carries nothing.
    let mayBeUnnamed: Bool

    /// - Throws: `MeshError` that names what is wrong with the body.
    static func read(
        _ head: HTTPRequestHead, _ endpoint: EndpointPath, _ bytes: ByteBuffer
    ) throws(MeshError) -> ProxyCall {
        try ProxyCall(head, endpoint, try body(head, bytes))
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

    init(
        _ head: HTTPRequestHead, _ endpoint: EndpointPath, _ body: Content.Body, inside known: String? = nil,
        streams wanted: Bool = false
    ) throws(MeshError) {
        let text = head.uri.split(separator: "?", maxSplits: 1).dropFirst().first ?? ""
        let query = PercentEncoding.query(String(text))
        let accept = head.headers.first(name: "accept").flatMap {
            $0.utf8.count <= 256 && HeaderRule.isValue($0) ? $0 : nil
        }
        var inside = known
        var streams = wanted || (accept?.lowercased().contains("text/event-stream") ?? false)
        switch body {
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
        let passed = query.filter { item in
            !Self.ownNames.contains(item.name.lowercased()) && !item.value.hasPrefix(KeyText.apiKey.rawValue)
        }
        let document = ProxyHead(
            endpoint: endpoint, method: head.method.rawValue, accept: accept, passed: Self.passed(head, endpoint),
            query: passed.map { ProxyHead.Item($0.name, $0.value) }, wantsStream: streams, worker: worker,
            contentType: try Self.contentType(head, of: body), isModelInside: inside != nil)
        content = .proxy(document, body)
        // What is sent goes only where its sender said.
        if case .none = body, head.method != .POST {
            mayBeUnnamed = endpoint.family.keepsState
        } else {
            mayBeUnnamed = false
        }
    }

    /// The type under which a body goes on; nil where there is none.
    private static func contentType(
        _ head: HTTPRequestHead, of body: Content.Body
    ) throws(MeshError) -> String? {
        let type = try contentType(head)
        switch body {
        case .none: return nil
        // A backend that went by the type would look for the fields of a form in it.
        case .json: return type.flatMap { BodyKind(contentType: $0) == .json ? $0 : nil } ?? "application/json"
        case .form, .bytes, .upload: return type
        }
    }

    /// What part of a file is asked for (RFC 9110, section 14.2). A value that cannot stand in a header is none, and
    /// neither is one in several lines: a server may always answer with the whole.
    private static func passed(_ head: HTTPRequestHead, _ endpoint: EndpointPath) -> [ProxyHead.Item] {
        if endpoint.family == .messages { return fields(ofMessages: head) }
        guard head.method == .GET, let range = single("range", head) else { return [] }
        let condition = single("if-range", head)
        // Without its condition a range could be cut from another version of the file.
        guard condition != nil || !head.headers.contains(name: "if-range") else { return [] }
        return [.init("range", range)] + (condition.map { [.init("if-range", $0)] } ?? [])
    }

    /// Each once: of those that stand there twice the values are one list (RFC 9110, section 5.3).
    private static func fields(ofMessages head: HTTPRequestHead) -> [ProxyHead.Item] {
        var fields: [ProxyHead.Item] = []
        for (name, value) in head.headers where HeaderRule.isValue(value) {
            let name = name.lowercased()
            guard MessagesField.passes(name) else { continue }
            if let known = fields.firstIndex(where: { $0.name == name }) {
                fields[known].value += ", \(value)"
            } else if fields.count < Limits.passedHeaders - 1 {
                fields.append(.init(name, value))
            }
        }
        return fields.filter { HeaderRule.isValue($0.value) }
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

    private static func body(_ head: HTTPRequestHead, _ bytes: ByteBuffer) throws(MeshError) -> Content.Body {
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

    private static func form(_ bytes: ByteBuffer, contentType type: String) throws(MeshError) -> Content.Body {
        guard let boundary = MultipartForm.boundary(contentType: type) else {
            throw MeshError(.invalidRequest, "the content-type of the form has no usable boundary")
        }
        let parts: [MultipartForm.Part]
        do throws(MultipartError) {
            parts = try bytes.reading { raw throws(MultipartError) in
                try MultipartForm.parts(of: raw, boundary: boundary)
            }
        } catch { throw MeshError(.invalidRequest, "the form in the body cannot be read: \(error.description)") }
        guard parts.allSatisfy({ $0.filename != nil || $0.range.count <= Limits.formFieldBytes }) else {
            throw MeshError(
                .bodyTooLarge,
                "a field of the form is larger than \(Limits.formFieldBytes >> 10) KiB; send it as a file")
        }
        return .form(bytes, parts)
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
}
