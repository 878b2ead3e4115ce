package import MeshModel
package import MeshWire
package import NIOCore

/// A buyer's JSON body, checked and cut but not decoded: the node reads `model` and `stream`, and passes every
/// other byte on as it came.
package struct BuyerBody: Sendable {
    package let bytes: ByteBuffer
    /// Empty when the body has none and need not have one.
    package let model: String
    package let wantsStream: Bool
    private let modelRange: Range<Int>
    /// What is this node's business and no worker's, in order: left out of what goes on.
    private var cuts: [Range<Int>] = []
    /// What somebody has begun to answer, put behind the messages.
    private var begun: [UInt8] = []
    /// The members of the body, as they were scanned.
    package let fields: [JSONField]

    /// - Throws: `MeshError` that names the field at fault.
    package static func read(_ bytes: ByteBuffer, needsModel: Bool = true) throws(MeshError) -> BuyerBody {
        try bytes.reading { raw throws(MeshError) in
            let fields: [JSONField]
            do throws(JSONScanError) { fields = try JSONScanner.fields(of: raw, depth: Limits.jsonDepth) } catch {
                throw MeshError(.invalidJSON, "the request body is not a valid JSON object: \(error.description)")
            }
            for name: StaticString in ["model", "stream"] where fields.countIgnoringCase(name, in: raw) > 1 {
                throw MeshError(.invalidRequest, "the field '\(name)' stands in the body twice", parameter: "\(name)")
            }
            guard let model = fields.value("model", in: raw), model.kind == .string else {
                if !needsModel, fields.countIgnoringCase("model", in: raw) == 0 {
                    return BuyerBody(
                        bytes: bytes, model: "", wantsStream: fields.boolean("stream", in: raw) ?? false,
                        modelRange: 0..<0, fields: fields)
                }
                throw MeshError(
                    .invalidRequest, "the body needs a string field 'model'; GET /v1/models lists what there is",
                    parameter: "model")
            }
            if let stream = fields.value("stream", in: raw), stream.kind != .boolean, stream.kind != .null {
                throw MeshError(.invalidRequest, "'stream' must be true or false", parameter: "stream")
            }
            let name = JSONText.string(model, in: raw)
            guard (1...Limits.modelNameBytes).contains(name.utf8.count) else {
                throw MeshError(
                    .invalidRequest, "'model' must have 1 to \(Limits.modelNameBytes) characters", parameter: "model")
            }
            return BuyerBody(
                bytes: bytes, model: name, wantsStream: fields.boolean("stream", in: raw) ?? false,
                modelRange: model.range, fields: fields)
        }
    }

    /// - Parameter cuts: bytes that are not to go on, in order; what remains has to be an object again, with its `model`.
    package mutating func leaveOut(_ cuts: [Range<Int>]) { self.cuts = cuts }

    /// Whether a beginning of the answer can be put behind its messages.
    package var takesBeginning: Bool { messages != nil }

    /// - Parameter text: the beginning of an answer, UTF-8: whoever gets the body next goes on with it.
    package mutating func goOn(behind text: [UInt8]) { begun = text }

    private var messages: JSONSlice? {
        let found = bytes.withUnsafeReadableBytes { fields.value("messages", in: $0) }
        return found?.kind == .array ? found : nil
    }

    /// Puts the beginning of the answer behind the last message.
    private func beginning() -> (range: Range<Int>, bytes: [UInt8])? {
        guard !begun.isEmpty, let messages else { return nil }
        let end = messages.range.upperBound - 1
        let isFirst = bytes.withUnsafeReadableBytes { raw in
            raw[messages.range].dropFirst().dropLast().allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        }
        var text = Array((isFirst ? "" : ",").utf8) + Array(#"{"role":"assistant","content":"#.utf8)
        JSONText.appendQuoted(begun, to: &text)
        return (end..<end, text + Array("}".utf8))
    }

    /// The body with `model` in the place of the buyer's name for it, and without what is this node's business; all other
    /// bytes as they were.
    package func rendered(model: String?) -> RenderedContent {
        let name = model.flatMap { $0 == self.model || self.model.isEmpty ? nil : $0 }
        if name == nil, cuts.isEmpty, begun.isEmpty { return RenderedContent(bytes) }
        var rendered: RenderedContent?
        func append(_ piece: ByteBuffer) {
            if rendered == nil { rendered = RenderedContent(piece) } else { rendered?.append(piece) }
        }
        var begin = 0
        func keep(upTo end: Int) {
            guard end > begin, let slice = bytes.getSlice(at: bytes.readerIndex + begin, length: end - begin) else {
                return
            }
            append(slice)
        }
        var changes = cuts.map { (range: $0, bytes: [UInt8]()) }
        if let name {
            let place = changes.firstIndex { $0.range.lowerBound > modelRange.lowerBound } ?? changes.endIndex
            changes.insert((modelRange, JSONText.quoted(name)), at: place)
        }
        if let addition = beginning() {
            let place = changes.firstIndex { $0.range.lowerBound > addition.range.lowerBound } ?? changes.endIndex
            changes.insert(addition, at: place)
        }
        for change in changes {
            keep(upTo: change.range.lowerBound)
            if !change.bytes.isEmpty { append(ByteBuffer(bytes: change.bytes)) }
            begin = change.range.upperBound
        }
        keep(upTo: bytes.readableBytes)
        return rendered ?? RenderedContent(bytes)
    }

    /// The bytes of a body that names no model, with one.
    package func naming(_ model: String) -> ByteBuffer {
        var named = ByteBuffer(string: "{\"model\":")
        named.writeBytes(JSONText.quoted(model))
        if !fields.isEmpty { named.writeString(",") }
        let start = bytes.readableBytesView.firstIndex(of: UInt8(ascii: "{")) ?? bytes.readerIndex
        named.writeBytes(bytes.readableBytesView[(start + 1)...])
        return named
    }

    /// What tells the conversation that this is a turn of: one of the fields that name it, or else how it begins, up to
    /// its first words of the user. Nil when there is neither.
    package func conversation(named names: [StaticString], orBeginning: Bool = true) -> [UInt8]? {
        bytes.withUnsafeReadableBytes { raw -> [UInt8]? in
            for name in names {
                if let value = fields.value(name, in: raw), value.kind == .string, !value.range.isEmpty {
                    return Array(raw[value.range].prefix(Self.conversationBytes))
                }
            }
            for name: StaticString in ["messages", "input", "prompt"] where orBeginning {
                guard let value = fields.value(name, in: raw) else { continue }
                return Self.beginning(raw[value.range], isText: value.kind == .string)
            }
            return nil
        }
    }

    private static let conversationBytes = 1_024

    /// The same for every later turn: those add to the end.
    private static func beginning(_ messages: Slice<UnsafeRawBufferPointer>, isText: Bool) -> [UInt8]? {
        if isText { return Array(messages.prefix(conversationBytes)) }
        let text = Array(messages.prefix(conversationBytes))
        let user = Array("\"user\"".utf8)
        let last = max(text.count - user.count, 0)
        guard let start = (0...last).first(where: { text[$0...].starts(with: user) }) else { return nil }
        let end = text[start...].firstIndex(of: UInt8(ascii: "}")) ?? text.endIndex
        return Array(text[..<end])
    }
}
