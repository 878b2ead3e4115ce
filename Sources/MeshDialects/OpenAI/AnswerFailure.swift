package import MeshModel
package import MeshWire

/// A worker's or a backend's own words about a failure, bounded, for the buyer: in a reply frame, in an event of its
/// stream, or in the body of an answer whose status says that it is one.
package struct AnswerFailure: Hashable, Sendable {
    package var text: String?
    /// The worker's code; those that mean something to this node become codes of its own.
    package var code: String?
    /// Where whoever answers knows what it is about.
    package var cause: FailureCause?

    /// The `error` of a document: a text, or an object with a `message`. Nil when it has none, or an empty one.
    package init?(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) {
        guard let slice = fields.value("error", in: bytes) else { return nil }
        code = fields.string("code", in: bytes)
        switch slice.kind {
        case .string:
            guard slice.range.count > 2 else { return nil }
            text = fields.string("error", in: bytes)
        case .object:
            guard let members = try? JSONScanner.fields(of: bytes, in: slice.range), !members.isEmpty
            else { return nil }
            text = Self.message(members, in: bytes) ?? Self.start(of: bytes[slice.range])
            code = members.string("code", in: bytes) ?? code
        case .array, .number, .boolean, .null: return nil
        }
    }

    /// What an event that is a failure by its form says: a document, or words.
    package init(said: [UInt8]) {
        let read = said.withUnsafeBytes { bytes -> AnswerFailure? in
            guard let fields = try? JSONScanner.fields(of: bytes) else { return nil }
            if let failure = AnswerFailure(fields, in: bytes) { return failure }
            var failure = AnswerFailure(text: Self.message(fields, in: bytes) ?? Self.start(of: bytes))
            failure.code = fields.string("code", in: bytes)
            return failure
        }
        self = read ?? AnswerFailure(text: said.isEmpty ? nil : Self.start(of: said))
    }

    package init(text: String?, code: String? = nil, cause: FailureCause? = nil) {
        self.text = text
        self.code = code
        self.cause = cause
    }

    package static func message(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) -> String? {
        fields.string("message", in: bytes) ?? fields.string("detail", in: bytes)
    }

    /// Enough of a text for the words of an error.
    private static func start(of bytes: some Sequence<UInt8>) -> String {
        String(decoding: Array(bytes.prefix(4 * Limits.foreignWordsBytes)), as: UTF8.self)
    }

    /// - Parameters:
    ///   - status: the worker's own, kept where the failure has one.
    ///   - answerer: whose failure it is.
    package func error(status: Int? = nil, by answerer: Answerer = .worker) -> MeshError {
        let words = ForeignWords.cleaned(text ?? "")
        let missing = status.map { "it failed with status \($0)" } ?? "it failed, without a message"
        let said = "\(answerer.words) says: \(words.isEmpty ? missing : words)"
        let cause = cause ?? FailureCause(ofWorker: code)
        if code == nil || code == "worker_error", self.cause == nil, LoadingWords.tell(words, status: status) {
            return Self.loading(by: answerer)
        }
        let isAsleep = code == "backend_asleep"
        let code = ErrorCode(ofWorker: code)
        if isAsleep { return MeshError(code, said, retryAfterSeconds: Limits.sleeperRetryAfterSeconds) }
        // How its backend is reached is nobody's business but its seller's.
        if code == .workerUnavailable {
            return MeshError(
                code, "\(answerer.words) cannot take requests now; try again shortly", retryAfterSeconds: 2)
        }
        return MeshError(
            code, said, parameter: code == .modelNotFound ? "model" : nil,
            retryAfterSeconds: code == .workerBusy ? 2 : nil, statusOverride: status, cause: cause)
    }

    /// It did nothing yet, and will in a moment.
    private static func loading(by answerer: Answerer) -> MeshError {
        MeshError(
            .workerUnavailable, "\(answerer.words)'s model is still being loaded; try again in a moment",
            retryAfterSeconds: Limits.sleeperRetryAfterSeconds)
    }

    /// The same for a stream of which the buyer has read something: what broke off is told from what failed.
    package func lateError(by answerer: Answerer = .worker) -> MeshError {
        var error = error(by: answerer)
        if ["backend_closed", "backend_timeout"].contains(code) { error.code = .streamInterrupted }
        return error
    }

    package static func unreadable(by answerer: Answerer = .worker) -> MeshError {
        let advice =
            switch answerer {
            case .worker: "; its owner should update it"
            case .provider: ""
            }
        return MeshError(.workerBadAnswer, "\(answerer.words) sent an answer this node cannot read\(advice)")
    }

    package static func page(by answerer: Answerer = .worker) -> MeshError {
        let source =
            switch answerer {
            case .worker: "\(answerer.words)'s backend"
            case .provider: answerer.words
            }
        return MeshError(
            .workerBadAnswer,
            "\(source) answered with a web page; its owner should check the address it was given")
    }

    // MARK: Bodies of error statuses

    package enum Body: Hashable, Sendable {
        /// OpenAI's error object, which buyers' programs know how to read.
        case known(AnswerFailure)
        /// A document whose `error` is a text.
        case errorText(AnswerFailure)
        case other(AnswerFailure)

        package var failure: AnswerFailure {
            switch self {
            case .known(let failure), .errorText(let failure), .other(let failure): failure
            }
        }
    }

    package static func body(of whole: WholeAnswer) -> Body {
        whole.body.withUnsafeBytes { bytes in
            guard let fields = try? JSONScanner.fields(of: bytes) else {
                let isText = whole.source != .bytes || whole.head.isText || whole.head.isJSON
                return .other(AnswerFailure(text: isText ? start(of: bytes) : nil))
            }
            let error = fields.value("error", in: bytes)
            var failure = AnswerFailure(fields, in: bytes) ?? AnswerFailure(text: message(fields, in: bytes))
            if error?.kind == .string { return .errorText(failure) }
            if let error, error.kind == .object,
                let members = try? JSONScanner.fields(of: bytes, in: error.range),
                members.value("message", in: bytes)?.kind == .string
            {
                return .known(failure)
            }
            failure.text = failure.text ?? start(of: bytes)
            return .other(failure)
        }
    }

    /// What the buyer gets for an error status. OpenAI's error object passes, as does whatever an endpoint
    /// other than chat gives; other words of the worker become OpenAI's error object, with the worker's status. A
    /// failure is one that another worker may not have. What speaks of the seller's account, or in this node's name,
    /// becomes an error of the worker's with its words in it: to the buyer it would mean the buyer's own key.
    package static func answer(
        for whole: WholeAnswer, isChat: Bool, by answerer: Answerer = .worker
    ) -> Result<WholeAnswer, MeshError> {
        let body = body(of: whole)
        if ErrorCode.isAboutSellersAccount(status: whole.head.status) {
            var failure = body.failure
            failure.code = nil
            failure.cause = FailureCause(status: whole.head.status)
            return .failure(failure.error(by: answerer))
        }
        // Who says when it is ready is taken at its word.
        if LoadingWords.tell(body.failure.text ?? "", status: whole.head.status),
            !whole.head.fields.contains(where: { $0.name == "retry-after" })
        {
            return .failure(loading(by: answerer))
        }
        let isImpostor = body.failure.code.flatMap(ErrorCode.init(rawValue:)).map { !$0.mayComeFromWorker } ?? false
        switch body {
        case _ where isImpostor: break
        case .known: return .success(cleaned(whole))
        case .other where !isChat: return .success(cleaned(whole))
        case .errorText, .other: break
        }
        // That nothing was done is the worker's own word, in a reply of its own: a backend's document cannot say it.
        var failure = body.failure
        if ["draining", "backend_unreachable"].contains(failure.code) { failure.code = nil }
        let error = failure.error(status: whole.head.status, by: answerer)
        if error.code == .workerBusy || error.code == .workerUnavailable { return .failure(error) }
        var answer = whole
        answer.head.contentType = "application/json"
        answer.head.fields.removeAll { $0.name.hasPrefix("content-") || $0.name == "etag" }
        answer.body = Self.document(error).bytes
        answer.head.length = answer.body.count
        return .success(answer)
    }

    /// The same without what is private in its words; byte for byte where nothing is. `aisbf worker` has done so before,
    /// with what only it knows; other workers have not.
    private static func cleaned(_ whole: WholeAnswer) -> WholeAnswer {
        guard whole.body.count <= Limits.errorWordsBytes,
            let body = JSONValue.cleaned(whole.body, by: PublicWords()), body != whole.body
        else { return whole }
        var answer = whole
        answer.body = body
        answer.head.length = body.count
        return answer
    }

    /// The same for an answer that another node says is its worker's.
    package static func answer(
        _ head: AnswerHead, _ body: [UInt8], isChat: Bool
    ) -> Result<(head: AnswerHead, body: [UInt8]), MeshError> {
        answer(for: WholeAnswer(head: head, body: body, source: .bytes), isChat: isChat)
            .map { ($0.head, $0.body) }
    }

    /// OpenAI's error object with the type of the worker's own status.
    private static func document(_ error: MeshError) -> JSONValue {
        guard case .object(var members)? = error.document(requestID: nil)["error"],
            let type = members.firstIndex(where: { $0.name == "type" })
        else { return error.document(requestID: nil) }
        members[type].value = .string(ErrorCode.type(ofStatus: error.status))
        return .object([.init("error", .object(members))])
    }
}
