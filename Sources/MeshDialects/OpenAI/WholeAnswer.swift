package import MeshModel
package import MeshWire

/// What a whole answer amounts to for the buyer.
package struct WholeAnswer: Hashable, Sendable {
    /// How the body came.
    package enum Source: Hashable, Sendable {
        /// A part of the frame, and so JSON.
        case json
        case text
        /// From base64.
        case bytes
    }

    package var head: AnswerHead
    package var body: [UInt8]
    package var source: Source
    /// Whether the worker did not say what its body is.
    package var isTypeGuessed: Bool

    package init(head: AnswerHead, body: [UInt8], source: Source, isTypeGuessed: Bool = false) {
        self.head = head
        self.body = body
        self.source = source
        self.isTypeGuessed = isTypeGuessed
    }

    /// Whether the type leaves open what the body is.
    package var isLoose: Bool { isTypeGuessed || head.isText || head.contentType.hasPrefix("application/octet-stream") }

    /// Whether it may be something to look at or to hear: what has no bytes, or a type of text or data, is not.
    package var mayBeMedia: Bool {
        !body.isEmpty && (head.isMedia || head.contentType.hasPrefix("application/octet-stream"))
    }

    /// Whether it is the text of an event stream, whatever it says it is. No JSON begins as one.
    package var isStream: Bool {
        let start = AnswerStart.judge(body, isWhole: true)
        if head.isEventStream { return start != .document && start != .page }
        return (head.isJSON || isLoose) && start == .events
    }

    /// Whether it is a page for a browser.
    package var isPage: Bool {
        head.isPage || ((head.isJSON || isLoose) && AnswerStart.judge(body, isWhole: true) == .page)
    }
}

extension WholeAnswer {
    /// An answer that came over HTTP. Nil for a status that no answer with a body can have.
    package init?(status: Int, contentType: String, fields: [HeaderField], body: [UInt8]) {
        // "Done, nothing to say": an empty body of status 200 says the same, and cannot be framed in two ways.
        let status = body.isEmpty && (status == 204 || status == 205) ? 200 : status
        guard AnswerHead.isAnswerStatus(Int64(status)) else { return nil }
        let head = AnswerHead(status: status, contentType: contentType, length: body.count, fields: fields)
        let type = contentType.lowercased()
        let isText = head.isText || type.contains("json") || type.contains("xml")
        self.init(head: head, body: body, source: isText ? .text : .bytes)
    }
}
