import MeshDialects
package import MeshModel
package import MeshWire
package import NIOCore

/// What a request carries, as it came. Each place gets it rendered for itself, when it is asked: with its own name for
/// the model, in the form that it takes.
package struct Content: Sendable {
    package enum Body: Sendable {
        case none
        case json(BuyerBody)
        case form(ByteBuffer, [MultipartForm.Part])
        case bytes(ByteBuffer)
        /// What follows in pieces: its first bytes, where its model stands in them, and how much it is in all.
        case upload(ByteBuffer, model: Range<Int>?, length: Int64?)
    }

    private enum Kind: Sendable {
        case chat(BuyerBody)
        case proxy(ProxyHead, Body)
        /// A document that another node has rendered already, with the one model that its workers are asked for.
        case document(ByteBuffer)
    }

    /// What of a request is counted and paid for, before anybody has answered it: read in one pass, and only where
    /// somebody asks.
    package var facts: PromptFacts {
        guard let body = json else {
            // Another node's buyer: it was read there, and here it is as many bytes.
            if case .document(let bytes) = kind, operation == .chatCompletions {
                return PromptFacts(tokens: Int64(bytes.readableBytes / 4))
            }
            return PromptFacts()
        }
        return body.bytes.withUnsafeReadableBytes { PromptReading.facts(body.fields, in: $0) }
    }

    /// A whole number in the body; nil where there is none.
    package func number(_ name: StaticString) -> Int64? {
        guard let body = json else { return nil }
        return body.bytes.withUnsafeReadableBytes { raw in
            body.fields.value(name, in: raw).flatMap { value in
                value.kind == .number ? JSONValue.integer(ofNumberText: raw[value.range]) : nil
            }
        }
    }

    /// How many prompts the body lists; 0 where it lists none. A list of numbers is one prompt.
    package var prompts: Int {
        guard let body = json else { return 0 }
        return body.bytes.withUnsafeReadableBytes { raw in
            guard let list = body.fields.value("prompt", in: raw), list.kind == .array else { return 0 }
            let elements = try? JSONScanner.elements(of: raw, in: list.range, limit: Limits.translatedCalls)
            // Text in tokens is longer than a list of prompts, and one.
            return elements?.count { $0.kind != .number } ?? Limits.translatedCalls
        }
    }

    /// Whether the body has a member of that name, whatever it is.
    package func has(_ name: StaticString) -> Bool {
        guard let body = json else { return false }
        return body.bytes.withUnsafeReadableBytes { body.fields.value(name, in: $0) != nil }
    }

    /// Whether the body wants the stream to tell what was used.
    package var wantsUsage: Bool {
        guard let body = json else { return false }
        return body.bytes.withUnsafeReadableBytes { raw in
            guard let options = body.fields.value("stream_options", in: raw), options.kind == .object,
                let members = try? JSONScanner.fields(of: raw, in: options.range)
            else { return false }
            return members.boolean("include_usage", in: raw) ?? false
        }
    }

    private var json: BuyerBody? {
        switch kind {
        case .chat(let body), .proxy(_, .json(let body)): body
        case .proxy, .document: nil
        }
    }

    package let operation: WorkerOperation
    private let kind: Kind
    /// What was rendered before any place was asked, and for which model.
    private var rendered: (model: String?, document: RenderedContent)?

    package static func chat(_ body: BuyerBody) -> Content {
        Content(operation: .chatCompletions, kind: .chat(body))
    }

    package static func proxy(_ head: ProxyHead, _ body: Body) -> Content {
        Content(operation: .proxy, kind: .proxy(head, body))
    }

    package static func document(_ bytes: ByteBuffer, _ operation: WorkerOperation) -> Content {
        Content(operation: operation, kind: .document(bytes))
    }

    /// The document that a worker gets, in slices of what came and of what is put between them.
    /// - Parameter model: the id that the place has for the model; nil where the request names none.
    package func document(model: String?) -> RenderedContent {
        if let rendered, rendered.model == model { return rendered.document }
        switch kind {
        case .chat(let body): return body.rendered(model: model)
        case .document(let bytes): return RenderedContent(bytes)
        case .proxy(let head, let body):
            var rendered = RenderedContent(ByteBuffer(bytes: head.opening(model: model)))
            switch body {
            case .none: break
            case .json(let json):
                rendered.append(ByteBuffer(staticString: ",\"body\":"))
                rendered.append(json.rendered(model: model))
            case .form(let bytes, let parts):
                rendered.append(ByteBuffer(staticString: ",\"multipart\":"))
                rendered.append(ByteBuffer(bytes: Self.form(bytes, parts, model: model)))
            case .bytes(let bytes):
                rendered.append(ByteBuffer(staticString: ",\"body_base64\":\""))
                rendered.append(ByteBuffer(bytes: Base64.text(Array(bytes.readableBytesView))))
                rendered.append(ByteBuffer(staticString: "\""))
            case .upload:
                rendered.append(ByteBuffer(staticString: ",\"upload\":"))
                let length = upload(model: model)?.length
                let known = length.map { [JSONValue.Member("length", .integer($0))] } ?? []
                rendered.append(ByteBuffer(bytes: JSONValue.object(known).bytes))
            }
            rendered.append(ByteBuffer(staticString: "}"))
            return rendered
        }
    }

    /// Whether the beginning of an answer can be given with it.
    package var takesBeginning: Bool { if case .chat(let body) = kind { body.takesBeginning } else { false } }

    /// The same, to be answered from behind `text`, UTF-8, with which somebody else has begun.
    package func goingOn(behind text: [UInt8]) -> Content {
        guard case .chat(var body) = kind else { return self }
        body.goOn(behind: text)
        return Content(operation: operation, kind: .chat(body))
    }

    /// Renders the document and keeps it, for the places that have the same name for the model: a form is encoded once.
    package mutating func prepare(model: String?) -> RenderedContent {
        let document = document(model: model)
        rendered = (model, document)
        return document
    }

    /// The first bytes of what is passed on in pieces, with the workers' id of the model in them, and the length of
    /// the whole, where it is known; nil for a request whose body is whole.
    package func upload(model: String?) -> (beginning: ByteBuffer, length: Int64?)? {
        guard case .proxy(_, .upload(let bytes, let range, let length)) = kind else { return nil }
        guard let range, let model else { return (bytes, length) }
        var spliced = ByteBufferAllocator().buffer(capacity: bytes.readableBytes + model.utf8.count)
        let view = bytes.readableBytesView
        spliced.writeBytes(view.prefix(range.lowerBound))
        spliced.writeString(model)
        spliced.writeBytes(view.dropFirst(range.upperBound))
        return (spliced, length.map { $0 + Int64(model.utf8.count - range.count) })
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

/// A document in pieces that stand behind each other: slices of the buffer that the buyer's bytes came in are not
/// copied before they go into somebody's frame.
package struct RenderedContent: Sendable {
    package private(set) var pieces: [ByteBuffer] = []
    package private(set) var readableBytes = 0

    package init(_ bytes: ByteBuffer) { append(bytes) }

    package mutating func append(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        pieces.append(bytes)
        readableBytes += bytes.readableBytes
    }

    package mutating func append(_ other: RenderedContent) {
        for piece in other.pieces { append(piece) }
    }

    package func write(into buffer: inout ByteBuffer) {
        for piece in pieces { buffer.writeImmutableBuffer(piece) }
    }

    /// The same as one buffer: without a copy where it is one piece.
    package var joined: ByteBuffer {
        if pieces.count == 1 { return pieces[0] }
        var buffer = ByteBufferAllocator().buffer(capacity: readableBytes)
        write(into: &buffer)
        return buffer
    }
}
