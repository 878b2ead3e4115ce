import MeshModel

/// Why a `multipart/form-data` body was refused. The description is for whoever sent it.
package enum MultipartError: String, Error, CaseIterable, Hashable, Sendable, CustomStringConvertible {
    case invalidBoundary
    case noBoundary
    case badBoundaryLine
    case bareLineFeed
    case notClosed
    case tooManyParts
    case headersTooLong
    case malformedHeader
    case repeatedHeader
    case noDisposition
    case notFormData
    case malformedParameter
    case repeatedParameter
    case noName
    case invalidText
    case encodedContent
    case fieldTooLong
    case trailingBytes

    package var description: String {
        switch self {
        case .invalidBoundary:
            "the content-type has no usable boundary: 1 to 70 characters of RFC 2046 are needed"
        case .noBoundary: "the boundary that the content-type names does not occur in the body"
        case .badBoundaryLine: "something other than spaces stands behind a boundary on its line"
        case .bareLineFeed: "a line ends in LF or CR alone; lines end in CRLF here"
        case .notClosed: "the body ends before the closing boundary"
        case .tooManyParts: "there are more than \(Limits.multipartParts) parts"
        case .headersTooLong: "the headers of a part take more than \(Limits.multipartHeaderBytes) bytes"
        case .malformedHeader: "a header of a part is not of the form \"name: value\" on one line"
        case .repeatedHeader: "a part has the same header twice"
        case .noDisposition: "a part has no content-disposition header"
        case .notFormData: "the content-disposition of a part is not form-data"
        case .malformedParameter: "a parameter of a content-disposition is not of the form name=\"value\""
        case .repeatedParameter: "a content-disposition has the same parameter twice"
        case .noName: "the content-disposition of a part has no name"
        case .invalidText: "a header of a part holds a control character or is not valid UTF-8"
        case .encodedContent: "a part has a content-transfer-encoding; send its bytes as they are"
        case .fieldTooLong:
            "a field is larger than \(Limits.formFieldBytes >> 10) KiB, or a name of a model longer than \(Limits.watchedFieldBytes) bytes; send it as a file"
        case .trailingBytes: "there is text behind the closing boundary"
        }
    }
}
