import MeshModel
import MeshWire
import NIOCore

/// The `multipart` object of a `proxy` payload, written out as the form a backend expects.
struct ProxyForm: Sendable {
    let contentType: String
    let body: ByteBuffer

    /// - Parameter model: in the place of the value of the field `model`.
    init(
        _ slice: JSONSlice, _ buffer: UnsafeRawBufferPointer, model: String? = nil
    ) throws(ProxyRequest.Refused) {
        var items: [MultipartForm.Item] = []
        guard let lists = try? JSONScanner.fields(of: buffer, in: slice.range) else { throw Self.unreadable }
        for element in try Self.elements(lists, "fields", buffer) {
            guard let fields = try? JSONScanner.fields(of: buffer, in: element.range),
                let name = fields.string("name", in: buffer), let value = fields.value("value", in: buffer)
            else { throw Self.unreadable }
            let text = value.kind == .string ? JSONText.unescaped(value, in: buffer) : Array(buffer[value.range])
            let bytes = name == "model" ? model.map { Array($0.utf8) } ?? text : text
            items.append(MultipartForm.Item(name: name, bytes: bytes))
        }
        for element in try Self.elements(lists, "files", buffer) {
            guard let fields = try? JSONScanner.fields(of: buffer, in: element.range),
                let name = fields.string("name", in: buffer), let data = fields.value("data_base64", in: buffer),
                let bytes = Base64.bytes(JSONText.unescaped(data, in: buffer))
            else { throw Self.unreadable }
            items.append(
                MultipartForm.Item(
                    name: name, filename: fields.string("filename", in: buffer) ?? "file",
                    contentType: fields.string("content_type", in: buffer), bytes: bytes))
        }
        let boundary = Self.boundary()
        contentType = "multipart/form-data; boundary=\(String(decoding: boundary, as: UTF8.self))"
        body = ByteBuffer(bytes: MultipartForm.body(items, boundary: boundary))
    }

    private static func elements(
        _ lists: [JSONField], _ name: StaticString, _ buffer: UnsafeRawBufferPointer
    ) throws(ProxyRequest.Refused) -> [JSONSlice] {
        guard let list = lists.value(name, in: buffer), list.kind != .null else { return [] }
        guard list.kind == .array,
            let elements = try? JSONScanner.elements(of: buffer, in: list.range, limit: Limits.multipartParts)
        else { throw unreadable }
        return elements
    }

    /// Random, so that no content can hold it.
    private static func boundary() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        let digits = (0..<32).map { _ in UInt8(ascii: "a") + UInt8.random(in: 0..<26, using: &generator) }
        return Array("aisbf-".utf8) + digits
    }

    private static let unreadable = ProxyRequest.Refused(
        code: "invalid_request", message: "the multipart object of the proxy request cannot be read")
}
