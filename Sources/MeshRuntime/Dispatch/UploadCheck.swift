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

    /// - Parameter model: what the form's field `model` has to be; nil: it may not have one.
    package init(contentType: String, model: String?) throws(MeshError) {
        self.model = model
        guard MultipartForm.isForm(contentType) else { return }
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
        guard scanner != nil else { return }
        let result: Result<[MultipartScanner.Event], MultipartError> = bytes.withUnsafeReadableBytes { raw in
            do throws(MultipartError) { return .success(try scanner?.feed(raw) ?? []) } catch { return .failure(error) }
        }
        switch result {
        case .failure(let error): throw Self.unreadable(error)
        case .success(let events):
            for case .field(let name, let value, _) in events where name == "model" {
                modelsSeen += 1
                guard let model, modelsSeen == 1, value?.elementsEqual(model.utf8) ?? false else {
                    throw MeshError(
                        .invalidRequest,
                        "the form names its model behind a file, or twice; name it once, before its files",
                        parameter: "model")
                }
            }
        }
    }

    /// The last byte has passed.
    package mutating func end() throws(MeshError) {
        do throws(MultipartError) { try scanner?.finish() } catch { throw Self.unreadable(error) }
    }

    private static func unreadable(_ error: MultipartError) -> MeshError {
        MeshError(.invalidRequest, "the form in the body cannot be read: \(error.description)")
    }
}
