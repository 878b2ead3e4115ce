/// What the body of a request is, by its type and by how it begins.
///
/// The type alone does not say it: curl calls JSON a form, others call it nothing, and most backends read it as JSON
/// all the same. A node that believed the type would not see the `model` that the backend sees.
package enum BodyKind: Hashable, Sendable {
    case json
    /// `multipart/form-data`
    case form
    /// `application/x-www-form-urlencoded`: no route takes it.
    case urlencoded
    case bytes

    /// - Parameter contentType: nil or empty where none was sent, which means JSON.
    package init(contentType: String?) {
        let type = (contentType ?? "").prefix { $0 != ";" && $0 != "," }.filter { $0 != " " && $0 != "\t" }.lowercased()
        switch type {
        case "", "application/json", "text/json": self = .json
        case "application/x-www-form-urlencoded": self = .urlencoded
        case _ where type.hasSuffix("+json"): self = .json
        // Readable or not: who says that it is a form is held to that.
        case _ where type.hasPrefix("multipart/form-data"): self = .form
        default: self = .bytes
        }
    }

    package init(contentType: String?, beginning: some Sequence<UInt8>) {
        let told = BodyKind(contentType: contentType)
        self = told != .form && Self.beginsAsJSON(beginning) == true ? .json : told
    }

    /// Whether the first character is a brace, in any encoding of Unicode: readers of JSON guess the encoding.
    /// Nil while nothing but space has come.
    package static func beginsAsJSON(_ bytes: some Sequence<UInt8>) -> Bool? {
        for byte in bytes {
            switch byte {
            case 0x20, 0x09, 0x0A, 0x0D: continue
            // Byte order marks, and what UTF-16 and UTF-32 put beside an ASCII character.
            case 0x00, 0xEF, 0xBB, 0xBF, 0xFE, 0xFF: continue
            default: return byte == UInt8(ascii: "{")
            }
        }
        return nil
    }
}
