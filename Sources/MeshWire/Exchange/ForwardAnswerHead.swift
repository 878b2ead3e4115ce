package import MeshModel

/// The head of a hosting node's answer to a forward, as both sides write and read it (Docs/Protocol/forward.md). What it
/// says is the other node's word: whoever reads it holds it to what a host may rightly say.
package enum ForwardAnswerHead: Hashable, Sendable {
    /// A worker's own answer.
    /// - Parameter worker: its mark, where the request went to one.
    case answer(AnswerHead, worker: String?)
    /// A failure of the hosting node, or of its workers before content. Its words are the body.
    case failure(code: String, status: Int, retryAfterSeconds: Int?, cause: FailureCause? = nil)

    private enum Name {
        static let error = "aisbf-error"
        static let cause = "aisbf-cause"
        static let worker = "aisbf-worker"
        static let retryAfter = "retry-after"
    }

    package var status: Int {
        switch self {
        case .answer(let head, _): head.status
        case .failure(_, let status, _, _): status
        }
    }

    package var fields: [HeaderField] {
        switch self {
        case .answer(let head, let worker):
            var fields = [HeaderField("content-type", head.contentType)]
            fields.reserveCapacity(head.fields.count + 3)
            if let worker { fields.append(HeaderField(Name.worker, worker)) }
            fields += head.fields
            if let length = head.length { fields.append(HeaderField("content-length", String(length))) }
            return fields
        case .failure(let code, _, let seconds, let cause):
            var fields = [HeaderField("content-type", "application/json"), HeaderField(Name.error, code)]
            if let seconds { fields.append(HeaderField(Name.retryAfter, String(seconds))) }
            if let cause { fields.append(HeaderField(Name.cause, cause.rawValue)) }
            return fields
        }
    }

    /// - Returns: nil for a status that no answer has. Fields that may not pass are left out, and a type that cannot
    ///   stand in a header is read as JSON.
    package static func read(status: Int, fields: [HeaderField]) -> ForwardAnswerHead? {
        if let code = fields.value(Name.error) {
            let seconds = fields.value(Name.retryAfter).flatMap { Int($0) }.map {
                min(max($0, 1), Limits.retryAfterSeconds)
            }
            return .failure(
                code: code, status: status, retryAfterSeconds: seconds,
                cause: fields.value(Name.cause).flatMap(FailureCause.init(rawValue:)))
        }
        guard AnswerHead.isAnswerStatus(Int64(status)) else { return nil }
        let type = fields.value("content-type").flatMap { HeaderRule.isValue($0) ? $0 : nil } ?? "application/json"
        var head = AnswerHead(status: status, contentType: type)
        head.length = fields.value("content-length").flatMap { Int64($0) }.flatMap {
            (0...Limits.answerBytes).contains($0) ? Int($0) : nil
        }
        head.fields = AnswerFieldRule.passing(fields)
        return .answer(head, worker: fields.value(Name.worker))
    }
}

/// How a forwarded answer ended, in the trailers behind it (RFC 9110, section 6.5), where the entry node said that it
/// reads them (`te: trailers`). Without them an end is only an end.
package enum ForwardAnswerEnd: Hashable, Sendable {
    case complete(AnswerTotals)
    /// It broke off behind its head.
    case failed(code: String, words: String)

    /// What an entry node says that reads these trailers (RFC 9110, section 10.1.4).
    package static let request = HeaderField("te", "trailers")

    package static func isRequested(by fields: [HeaderField]) -> Bool {
        fields.contains(request)
    }

    /// In which way the end of an answer is told.
    package enum Telling: Hashable, Sendable {
        case trailers
        /// As the last event of a stream of events, in the words that buyers read.
        case lastEvent
        case plainEnd
        /// An answer that is only told to end has to say that it is cut.
        case reset
    }

    /// - Parameters:
    ///   - readsTrailers: whether the entry node said so; one that is older did not.
    ///   - isStream: whether the answer is a stream of events.
    package func telling(readsTrailers: Bool, isStream: Bool) -> Telling {
        if readsTrailers { return .trailers }
        if isStream { return .lastEvent }
        return switch self {
        case .complete: .plainEnd
        case .failed: .reset
        }
    }

    package var trailers: [HeaderField] {
        switch self {
        case .complete(let totals):
            [HeaderField("aisbf-end", "complete"), HeaderField("aisbf-totals", Self.text(totals))]
        case .failed(let code, let words):
            [
                HeaderField("aisbf-end", "failed"), HeaderField("aisbf-error", code),
                HeaderField("aisbf-message", PercentEncoding.encode(words, limit: 2 * Limits.foreignWordsBytes)),
            ]
        }
    }

    /// - Returns: nil where they do not tell how the answer ended. Numbers and words that are none are left out.
    package init?(trailers: [HeaderField]) {
        switch trailers.value("aisbf-end") {
        case "complete": self = .complete(Self.totals(trailers.value("aisbf-totals") ?? ""))
        case "failed":
            self = .failed(
                code: trailers.value("aisbf-error") ?? "",
                words: PercentEncoding.decode(trailers.value("aisbf-message") ?? "") ?? "")
        case nil, .some: return nil
        }
    }

    private static func text(_ totals: AnswerTotals) -> String {
        // Seven numbers of at most twenty digits, and a word. Every forwarded answer has it.
        let reason = totals.finishReason ?? ""
        let text = [UInt8](size: 256 + reason.utf8.count) { text in
            func add(_ name: String, _ value: String) {
                if text.count > 0 { text.put(0x2C, 0x20) }
                text.put(name)
                text.put(UInt8(ascii: "="))
                text.put(value)
            }
            func add(_ name: String, _ number: Int64?) { if let number { add(name, String(number)) } }
            add("prompt", totals.promptTokens)
            add("cached", totals.cachedTokens)
            add("completion", totals.completionTokens)
            add("total", totals.totalTokens)
            add("bytes", totals.bytes)
            add("first", totals.firstContentMs)
            add("duration", totals.durationMs)
            if !reason.isEmpty { add("finish", reason) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Read of the bytes where they stand: every forwarded answer has it.
    private static func totals(_ text: String) -> AnswerTotals {
        var totals = AnswerTotals()
        var text = text
        guard text.utf8.count <= 512 else { return totals }
        text.withUTF8 { bytes in
            var start = 0
            while start < bytes.count {
                let end = bytes[start...].firstIndex(of: UInt8(ascii: ",")) ?? bytes.count
                while start < end, bytes[start] == UInt8(ascii: " ") { start += 1 }
                if let equals = bytes[start..<end].firstIndex(of: UInt8(ascii: "=")) {
                    set(bytes[start..<equals], bytes[(equals + 1)..<end], in: &totals)
                }
                start = end + 1
            }
        }
        return totals
    }

    private static func set(
        _ name: Slice<UnsafeBufferPointer<UInt8>>, _ value: Slice<UnsafeBufferPointer<UInt8>>,
        in totals: inout AnswerTotals
    ) {
        func isNamed(_ word: StaticString) -> Bool {
            word.withUTF8Buffer { $0.count == name.count && $0.elementsEqual(name) }
        }
        if isNamed("prompt") {
            totals.promptTokens = number(value)
        } else if isNamed("cached") {
            totals.cachedTokens = number(value)
        } else if isNamed("completion") {
            totals.completionTokens = number(value)
        } else if isNamed("total") {
            totals.totalTokens = number(value)
        } else if isNamed("bytes") {
            totals.bytes = number(value) ?? 0
        } else if isNamed("first") {
            totals.firstContentMs = number(value)
        } else if isNamed("duration") {
            totals.durationMs = number(value) ?? 0
        } else if isNamed("finish") {
            let word = String(decoding: value, as: UTF8.self)
            totals.finishReason = AnswerTotals.isWord(word) ? word : nil
        }
    }

    /// Of at most 15 digits.
    private static func number(_ digits: Slice<UnsafeBufferPointer<UInt8>>) -> Int64? {
        guard (1...15).contains(digits.count) else { return nil }
        var number: Int64 = 0
        for digit in digits {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= digit else { return nil }
            number = number * 10 + Int64(digit - UInt8(ascii: "0"))
        }
        return number
    }
}
