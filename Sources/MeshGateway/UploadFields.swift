import MeshExchange
import MeshModel
import MeshWire
import NIOCore

/// What a form says in front of its first file.
struct UploadFields {
    var model: String?
    /// Where the model's name stands.
    var modelRange: Range<Int>?
    var streams = false

    init() {}

    /// - Returns: nil when no file has begun: such a form is not large, or not one to pass on.
    init?(contentType: String, beginning: ByteBuffer) throws(MeshError) {
        guard let boundary = MultipartForm.boundary(contentType: contentType) else {
            throw MeshError(.invalidRequest, "the content-type of the form has no usable boundary")
        }
        let events: [MultipartScanner.Event]
        do throws(MultipartError) {
            var scanner = try MultipartScanner(boundary: boundary, watching: ["model", "stream"])
            events = try beginning.reading { raw throws(MultipartError) in try scanner.feed(raw) }
        } catch { throw MeshError(.invalidRequest, "the form in the body cannot be read: \(error.description)") }
        for event in events {
            switch event {
            case .fileBegan("model", _): throw Self.unusableModel
            case .fileBegan: return
            case .field("model", let value, let range):
                guard model == nil, let name = Self.modelName(value ?? []) else { throw Self.unusableModel }
                model = name
                modelRange = range
            case .field("stream", let value?, _): streams = value.elementsEqual("true".utf8)
            case .field, .fileEnded: break
            }
        }
        return nil
    }

    static func modelName(_ bytes: [UInt8]) -> String? {
        guard (1...512).contains(bytes.count) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    static let unusableModel = MeshError(
        .invalidRequest,
        "the form's field 'model' has to stand in it once, as text of 1 to 512 bytes and not as a file",
        parameter: "model")
}
