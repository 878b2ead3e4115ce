package import MeshModel
package import MeshWire

/// A failure as the programs of one dialect read it: the whole answer, for where none has begun.
package struct ErrorAnswer: Hashable, Sendable {
    package var status: Int
    /// Without the content type, which is JSON, and without the request's id.
    package var fields: [HeaderField]
    package var body: [UInt8]
}

extension Dialect {
    /// - Parameter mayRepeat: whether the request may be made twice when its first one was lost.
    package func answer(_ error: MeshError, requestID: String?, mayRepeat: Bool = true) -> ErrorAnswer {
        var fields = RetryContract(error, mayRepeat: mayRepeat).fields
        if let methods = error.allowedMethods { fields.append(HeaderField("allow", methods)) }
        // Which encodings would do (RFC 7694, section 3).
        if error.code == .unsupportedEncoding {
            fields.append(HeaderField("accept-encoding", "identity, gzip, deflate, zstd"))
        }
        if error.status == 401 { fields.append(HeaderField("www-authenticate", "Bearer")) }
        return ErrorAnswer(
            status: status(of: error), fields: fields, body: document(error, requestID: requestID).bytes)
    }

    private func status(of error: MeshError) -> Int {
        switch self {
        case .chat, .responses: error.status
        case .messages: MessagesError.status(of: error)
        }
    }

    private func document(_ error: MeshError, requestID: String?) -> JSONValue {
        switch self {
        case .chat, .responses: error.asOpenAI.document(requestID: requestID)
        case .messages: MessagesError.document(error, requestID: requestID)
        }
    }

    // MARK: What a worker's backend answered

    /// An answer of a backend with an error status in the words of this dialect; nil where it has them already, and passes
    /// byte for byte.
    /// - Parameter isOverflow: whether it says that the prompt is too long.
    package func answer(
        passed body: [UInt8], status: Int, isOverflow: Bool, requestID: String?
    ) -> (status: Int, body: [UInt8])? {
        let said = body.withUnsafeBytes { bytes -> (words: String?, code: String?, isMessages: Bool) in
            guard let fields = try? JSONScanner.fields(of: bytes) else { return (nil, nil, false) }
            let failure = AnswerFailure(fields, in: bytes)
            let isMessages =
                fields.string("type", in: bytes) == "error" && fields.value("error", in: bytes)?.kind == .object
            return (failure?.text ?? AnswerFailure.message(fields, in: bytes), failure?.code, isMessages)
        }
        let words = said.words.map { ForeignWords.cleaned($0) } ?? "the worker failed with status \(status)"
        if isOverflow {
            let overflow = ContextOverflow(
                words, document: String(decoding: body.prefix(Limits.errorWordsBytes), as: UTF8.self))
            let isAlreadySaid =
                switch self {
                case .chat, .responses: said.code == ErrorCode.contextOverflow.rawValue
                case .messages: said.isMessages && status == 400 && overflow.isAnthropics
                }
            if isAlreadySaid { return nil }
            return (400, document(overflow: overflow.message(in: self), requestID: requestID).bytes)
        }
        guard self == .messages, !said.isMessages else { return nil }
        return (status, MessagesError.document(words, status: status, requestID: requestID).bytes)
    }

    /// A backend's own refusal: Messages do not name a code of this node's for it.
    private func document(overflow message: String, requestID: String?) -> JSONValue {
        switch self {
        case .chat, .responses: MeshError(.contextOverflow, message).document(requestID: requestID)
        case .messages: MessagesError.document(message, status: 400, requestID: requestID)
        }
    }
}

extension MeshError {
    /// The same with the words by which programs of OpenAI's API tell that the prompt is too long.
    fileprivate var asOpenAI: MeshError {
        guard code == .contextOverflow else { return self }
        var error = self
        error.message = ContextOverflow(message).message(in: .chat)
        return error
    }
}
