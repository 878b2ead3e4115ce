package import MeshModel

/// Status and header fields of an answer, as the buyer will see them.
package struct AnswerHead: Hashable, Sendable {
    package var status: Int
    package var contentType: String
    /// Size of the body where it is known before the body.
    package var length: Int?
    /// Other fields that may pass, names in lower case.
    package var fields: [HeaderField]

    package init(status: Int, contentType: String, length: Int? = nil, fields: [HeaderField] = []) {
        self.status = status
        self.contentType = contentType
        self.length = length
        self.fields = fields
    }

    package var isEventStream: Bool { Self.isEventStream(contentType) }

    /// Whether the type says that the body is JSON (RFC 6839, section 3.1, included).
    package var isJSON: Bool {
        if hasUsualType { return contentType == Self.json }
        let type = mediaType
        return type == "application/json" || type.hasSuffix("+json")
    }

    /// Whether the type says that the body is a page for a browser.
    package var isPage: Bool {
        if hasUsualType { return false }
        let type = mediaType
        return type == "text/html" || type == "application/xhtml+xml"
    }

    /// Whether the type says that the body is nothing to read: a type that is wrong by mistake is another one.
    package var isMedia: Bool {
        if hasUsualType { return false }
        let type = contentType.lowercased()
        return ["image/", "audio/", "video/"].contains { type.hasPrefix($0) }
    }

    private static let json = "application/json"
    private static let events = "text/event-stream"

    /// Whether it is one of the two that nearly all answers have, letter by letter: they are told without taking the
    /// text to pieces.
    private var hasUsualType: Bool { contentType == Self.json || contentType == Self.events }

    /// Without parameters, in lower case.
    private var mediaType: String { contentType.prefix { $0 != ";" && $0 != " " }.lowercased() }

    package var isText: Bool { contentType.lowercased().hasPrefix("text/") }

    /// The same without `accept-ranges`, for an answer of a worker that may not pass a range on: what it announces is
    /// what its backend could do.
    package func withoutRanges() -> AnswerHead {
        guard status != 206 else { return self }
        var head = self
        head.fields.removeAll { $0.name == "accept-ranges" }
        return head
    }

    /// Statuses that an answer with a body can have. The others would end or split the buyer's HTTP answer:
    /// informational ones are no answer, and 204, 205 and 304 have no body (RFC 9110, section 15).
    package static func isAnswerStatus(_ status: Int64) -> Bool {
        (200..<600).contains(status) && ![204, 205, 304].contains(status)
    }

    package static func isEventStream(_ contentType: String) -> Bool {
        contentType.utf8.count >= 17
            && zip(contentType.utf8, "text/event-stream".utf8).allSatisfy { $0 | 0x20 == $1 || $0 == $1 }
    }
}
