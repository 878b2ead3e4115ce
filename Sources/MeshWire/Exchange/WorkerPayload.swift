package import MeshModel

/// The operations of the worker protocol that carry buyers' requests.
package enum WorkerOperation: String, Hashable, Sendable, CaseIterable {
    case chatCompletions = "chat.completions"
    case proxy
}

/// What of a `proxy` request is not its body, as its document tells it (Docs/Protocol/worker-session.md).
package struct ProxyHead: Hashable, Sendable {
    package struct Item: Hashable, Sendable {
        package var name: String
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package var endpoint: EndpointPath
    package var method: String
    package var accept: String?
    /// `range` and `if-range` of a GET; of Messages the fields of that API.
    package var passed: [Item]
    /// In the buyer's order; a name may stand in it several times.
    package var query: [Item]
    package var wantsStream: Bool
    /// The mark of the worker that an earlier answer came from.
    package var worker: String?
    /// Nil where there is no body.
    package var contentType: String?
    /// Whether the body names the model, so that its name is exchanged there and not in the query.
    package var isModelInside: Bool

    package init(
        endpoint: EndpointPath, method: String, accept: String? = nil, passed: [Item] = [], query: [Item] = [],
        wantsStream: Bool = false, worker: String? = nil, contentType: String? = nil, isModelInside: Bool = false
    ) {
        self.endpoint = endpoint
        self.method = method
        self.accept = accept
        self.passed = passed
        self.query = query
        self.wantsStream = wantsStream
        self.worker = worker
        self.contentType = contentType
        self.isModelInside = isModelInside
    }

    /// The document up to where its body stands, or to its end brace where it has none; without that brace.
    /// - Parameter model: the id that the worker knows.
    package func opening(model: String?) -> [UInt8] {
        let headers = (accept.map { [JSONValue.Member("accept", .string($0))] } ?? []) + passed.map(Self.member)
        var members: [JSONValue.Member] = [
            .init("endpoint_path", .string(endpoint.text)), .init("method", .string(method)),
            .init("headers", .object(headers)), .init("query_params", .object(parameters(model: model))),
            .init("stream", .boolean(wantsStream)),
        ]
        if let model { members.append(.init("model", .string(model))) }
        if let worker { members.append(.init("worker", .string(worker))) }
        if let contentType { members.append(.init("content_type", .string(contentType))) }
        var text = JSONValue.object(members).bytes
        text.removeLast()
        return text
    }

    /// The buyer's query, a name that stands in it several times with the list of its values, and the workers' id of
    /// the model where the body does not name it.
    private func parameters(model: String?) -> [JSONValue.Member] {
        var members: [JSONValue.Member] = []
        for item in query where !members.contains(where: { $0.name == item.name }) {
            let values = query.filter { $0.name == item.name }.map(\.value)
            members.append(.init(item.name, values.count == 1 ? .string(item.value) : .strings(values)))
        }
        if !isModelInside, let model { members.append(.init("model", .string(model))) }
        return members
    }

    private static func member(_ item: Item) -> JSONValue.Member { .init(item.name, .string(item.value)) }
}

/// What a forwarded document asks for. It is read here again, because it goes into a worker's envelope, and no wider
/// than an entry node makes it.
package struct WorkerPayload: Hashable, Sendable {
    package var form: AnswerForm
    package var model: String?
    /// Nil for a chat.
    package var endpoint: EndpointPath?
    package var worker: String?
    /// What is known of the upload that follows the document.
    package var upload: Upload?

    package struct Upload: Hashable, Sendable {
        package var contentType: String
        package var length: Int64?

        package init(contentType: String, length: Int64? = nil) {
            self.contentType = contentType
            self.length = length
        }
    }

    /// - Parameter hasUpload: whether an upload follows; the document has to say the same.
    package static func read(
        _ raw: UnsafeRawBufferPointer, _ operation: WorkerOperation, hasUpload: Bool = false
    ) throws(MeshError) -> WorkerPayload {
        let fields = try? JSONScanner.fields(of: raw)
        let read = fields.flatMap { fields in
            switch operation {
            case .chatCompletions: chat(fields, raw)
            case .proxy: proxy(fields, raw)
            }
        }
        guard let read, (read.upload != nil) == hasUpload else {
            throw MeshError(.invalidJSON, "the forwarded body is not a valid request")
        }
        return read
    }

    private static func chat(_ fields: [JSONField], _ raw: UnsafeRawBufferPointer) -> WorkerPayload? {
        guard let model = fields.string("model", in: raw), fields.countIgnoringCase("model", in: raw) == 1,
            fields.count("stream", in: raw) <= 1
        else { return nil }
        let streams = fields.boolean("stream", in: raw) ?? false
        return WorkerPayload(form: AnswerForm(of: nil, streams: streams), model: model)
    }

    private static let proxyFields = [
        "endpoint_path", "method", "headers", "query_params", "stream", "model", "worker", "content_type", "body",
        "multipart", "body_base64", "upload",
    ]

    /// The headers of a buyer's that go on to a worker.
    private static let headerNames = ["accept", "range", "if-range"]

    /// The payload of `proxy`, as an entry node makes it and no wider: a path that a buyer may reach, no field twice
    /// (a worker might read the other one), no header but those, and one body.
    private static func proxy(_ fields: [JSONField], _ raw: UnsafeRawBufferPointer) -> WorkerPayload? {
        var seen: [String] = []
        for field in fields {
            let name = JSONText.string(field.name, in: raw)
            guard proxyFields.contains(name), !seen.contains(name) else { return nil }
            seen.append(name)
        }
        guard let path = fields.string("endpoint_path", in: raw), let endpoint = EndpointPath(path),
            endpoint.text == path, ["GET", "POST", "DELETE"].contains(fields.string("method", in: raw) ?? ""),
            ["body", "multipart", "body_base64", "upload"].filter(seen.contains).count <= 1,
            areHeaders(fields.value("headers", in: raw), raw, of: endpoint),
            [nil, .string].contains(fields.value("model", in: raw)?.kind)
        else { return nil }
        let model = fields.string("model", in: raw)
        guard isQuery(fields.value("query_params", in: raw), raw, model: model),
            ProxyBody.isUsable(fields, raw, model: model)
        else { return nil }
        var upload: Upload?
        if let slice = fields.value("upload", in: raw) {
            guard let announced = Self.upload(slice, fields, raw) else { return nil }
            upload = announced
        }
        let streams = fields.boolean("stream", in: raw) ?? false
        return WorkerPayload(
            form: AnswerForm(of: endpoint, streams: streams), model: model, endpoint: endpoint,
            worker: fields.string("worker", in: raw), upload: upload)
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
    private static func areHeaders(
        _ slice: JSONSlice?, _ raw: UnsafeRawBufferPointer, of endpoint: EndpointPath
    ) -> Bool {
        guard let slice else { return true }
        guard slice.kind == .object, let members = try? JSONScanner.fields(of: raw, in: slice.range) else {
            return false
        }
        var seen: [String] = []
        return members.allSatisfy { member in
            let name = JSONText.string(member.name, in: raw)
            let passes = headerNames.contains(name) || endpoint.family == .messages && MessagesField.passes(name)
            guard passes, !seen.contains(name), seen.count < Limits.passedHeaders, member.value.kind == .string else {
                return false
            }
            seen.append(name)
            return HeaderRule.isValue(JSONText.string(member.value, in: raw))
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
            let name = JSONText.string(member.name, in: raw)
            guard !seen.contains(name), let values = texts(member.value, raw) else { return false }
            if name.lowercased() == "model", name != "model" || values != [model] { return false }
            seen.append(name)
            count += values.count
        }
        return count <= 64
    }

    private static func texts(_ slice: JSONSlice, _ raw: UnsafeRawBufferPointer) -> [String]? {
        if slice.kind == .string { return [JSONText.string(slice, in: raw)] }
        guard slice.kind == .array, let elements = try? JSONScanner.elements(of: raw, in: slice.range, limit: 64),
            elements.allSatisfy({ $0.kind == .string })
        else { return nil }
        return elements.map { JSONText.string($0, in: raw) }
    }
}
