package import MeshModel
import MeshWire
package import NIOCore

/// What an upload is held to while it passes: a form must be whole and well-formed, and may name no other model than
/// the one its request is judged by.
package struct UploadCheck: Sendable {
    private var scanner: MultipartScanner?
    private let model: String?
    private var modelsSeen = 0
    private var passed: Int64 = 0
    /// Whether a byte has come by which JSON is told from other bytes.
    private var hasBegun = false
    /// What was announced; what comes has to be as much.
    private let length: Int64?

    /// - Parameters:
    ///   - model: what the form's field `model` has to be; nil: it may not have one.
    ///   - length: bytes in all, where they were told.
    package init(contentType: String, model: String?, length: Int64?) throws(MeshError) {
        self.model = model
        self.length = length
        // A type that one reader takes for a form and another does not would be looked at by one of them only.
        let kind = BodyKind(contentType: contentType)
        guard contentType.first != " ", kind == .form || kind == .bytes else { throw Self.otherType }
        guard kind == .form else { return }
        guard let boundary = MultipartForm.boundary(contentType: contentType) else {
            throw MeshError(.invalidRequest, "the content-type of the form has no usable boundary")
        }
        do throws(MultipartError) {
            scanner = try MultipartScanner(boundary: boundary, watching: ["model"])
        } catch { throw Self.unreadable(error) }
    }

    /// The next bytes, before they go on.
    package mutating func pass(_ bytes: ByteBuffer) throws(MeshError) {
        passed += Int64(bytes.readableBytes)
        guard passed <= Limits.uploadStreamBytes else {
            throw MeshError(.bodyTooLarge, "the upload is larger than \(Limits.uploadStreamBytes >> 30) GiB")
        }
        guard passed <= length ?? .max else { throw Self.otherLength }
        guard scanner != nil else {
            // The model that a backend would find in it may stand anywhere.
            if !hasBegun, let isJSON = BodyKind.beginsAsJSON(bytes.readableBytesView) {
                hasBegun = true
                if isJSON { throw Self.otherType }
            }
            return
        }
        let events: [MultipartScanner.Event]
        do throws(MultipartError) {
            events = try bytes.reading { raw throws(MultipartError) in try scanner?.feed(raw) ?? [] }
        } catch { throw Self.unreadable(error) }
        for event in events {
            switch event {
            case .fileBegan("model", _): throw Self.otherModel
            case .field("model", let value, _):
                modelsSeen += 1
                guard let model, modelsSeen == 1, value?.elementsEqual(model.utf8) ?? false else {
                    throw Self.otherModel
                }
            case .field, .fileBegan, .fileEnded: break
            }
        }
    }

    /// The last byte has passed.
    package mutating func end() throws(MeshError) {
        guard passed == length ?? passed else { throw Self.otherLength }
        do throws(MultipartError) { try scanner?.finish() } catch { throw Self.unreadable(error) }
    }

    private static let otherLength = MeshError(
        .invalidRequest, "the upload has another length than it was announced with")

    private static let otherType = MeshError(
        .invalidRequest, "a body of this type is not passed on while it arrives")

    private static let otherModel = MeshError(
        .invalidRequest,
        "the form names its model behind a file, as a file, or twice; name it once, as text, before its files",
        parameter: "model")

    private static func unreadable(_ error: MultipartError) -> MeshError {
        MeshError(.invalidRequest, "the form in the body cannot be read: \(error.description)")
    }
}
