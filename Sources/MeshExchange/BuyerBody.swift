package import MeshModel
import MeshWire
package import NIOCore

/// A buyer's JSON body, checked and cut but not decoded: the node reads `model` and `stream`, and passes every
/// other byte on as it came.
package struct BuyerBody: Sendable {
    package let bytes: ByteBuffer
    /// Empty when the body has none and need not have one.
    package let model: String
    package let wantsStream: Bool
    private let modelRange: Range<Int>

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
                        modelRange: 0..<0)
                }
                throw MeshError(
                    .invalidRequest, "the body needs a string field 'model'; GET /v1/models lists what there is",
                    parameter: "model")
            }
            if let stream = fields.value("stream", in: raw), stream.kind != .boolean, stream.kind != .null {
                throw MeshError(.invalidRequest, "'stream' must be true or false", parameter: "stream")
            }
            let name = String(decoding: JSONText.unescaped(model, in: raw), as: UTF8.self)
            guard !name.isEmpty, name.utf8.count <= 512 else {
                throw MeshError(.invalidRequest, "'model' must have 1 to 512 characters", parameter: "model")
            }
            return BuyerBody(
                bytes: bytes, model: name, wantsStream: fields.boolean("stream", in: raw) ?? false,
                modelRange: model.range)
        }
    }

    /// The body with `model` in the place of the buyer's name for it; all other bytes as they were.
    package func rendered(model: String?) -> RenderedContent {
        guard let model, model != self.model, !self.model.isEmpty else { return RenderedContent(bytes) }
        let start = bytes.readerIndex
        let rest = bytes.readableBytes - modelRange.upperBound
        var rendered = RenderedContent(bytes.getSlice(at: start, length: modelRange.lowerBound) ?? ByteBuffer())
        rendered.append(ByteBuffer(bytes: JSONText.quoted(model)))
        rendered.append(bytes.getSlice(at: start + modelRange.upperBound, length: rest) ?? ByteBuffer())
        return rendered
    }
}
