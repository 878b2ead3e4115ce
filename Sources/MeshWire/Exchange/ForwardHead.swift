package import MeshModel

/// What the head of a forwarded request says beside its signature, as both sides write and read it
/// (Docs/Protocol/forward.md). The signed fields are `ForwardFields`, the answer's `ForwardAnswerHead`.
package struct ForwardHead: Hashable, Sendable {
    /// What the entry node allows; the hosting node may allow less.
    package var deadlines: AnswerDeadlines
    /// Whether the entry node reads how the answer ended behind it.
    package var readsTrailers: Bool
    /// How much of the body is the request, where an upload follows it.
    package var payloadBytes: Int?

    package init(deadlines: AnswerDeadlines, readsTrailers: Bool = true, payloadBytes: Int? = nil) {
        self.deadlines = deadlines
        self.readsTrailers = readsTrailers
        self.payloadBytes = payloadBytes
    }

    package enum Name {
        static let requestID = "aisbf-request-id"
        static let firstContent = "aisbf-deadline-first"
        static let idle = "aisbf-deadline-idle"
        static let total = "aisbf-deadline-total"
        static let payload = "aisbf-payload-length"
    }

    package var fields: [HeaderField] {
        var fields = [HeaderField("content-type", "application/json")]
        fields.reserveCapacity(6)
        if readsTrailers { fields.append(ForwardAnswerEnd.request) }
        fields.append(HeaderField(Name.firstContent, String(deadlines.firstContentMs)))
        fields.append(HeaderField(Name.idle, String(deadlines.idleMs)))
        fields.append(HeaderField(Name.total, String(deadlines.totalMs)))
        if let payloadBytes { fields.append(HeaderField(Name.payload, String(payloadBytes))) }
        return fields
    }

    /// The shortest time that an entry node can ask for: less is nobody's wish.
    private static let shortestMs: Int64 = 1_000

    /// - Parameter own: what this node allows: the entry node may shorten it, never lengthen it.
    /// - Returns: nil where the request says that an upload follows and not usably where it begins.
    package static func read(_ fields: [HeaderField], own: AnswerDeadlines) -> ForwardHead? {
        func milliseconds(_ name: String, _ own: Int64) -> Int64 {
            guard let asked = fields.value(name).flatMap({ Int64($0) }), asked > 0 else { return own }
            return min(max(asked, shortestMs), own)
        }
        var deadlines = AnswerDeadlines(
            firstContentMs: milliseconds(Name.firstContent, own.firstContentMs),
            idleMs: milliseconds(Name.idle, own.idleMs), totalMs: milliseconds(Name.total, own.totalMs))
        deadlines.areShortened = deadlines != own
        var head = ForwardHead(deadlines: deadlines, readsTrailers: ForwardAnswerEnd.isRequested(by: fields))
        guard let payload = fields.value(Name.payload) else { return head }
        guard let bytes = Int(payload), (1...Limits.uploadHeadBytes).contains(bytes) else { return nil }
        head.payloadBytes = bytes
        return head
    }

    /// The id that the entry node gave the request; nil where the peer sends something that is none.
    package static func requestID(of fields: [HeaderField]) -> String? {
        guard let text = fields.value(Name.requestID), text.hasPrefix("req_"),
            text.utf8.count <= 64, text.utf8.dropFirst(4).allSatisfy({ isHexDigit($0) })
        else { return nil }
        return text
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }
}

/// `/mesh/v1/forward/<provider record key>/<operation>`: inside the signature, as the path is.
package struct ForwardPath: Hashable, Sendable {
    package var provider: RecordKey
    package var operation: WorkerOperation

    package init(provider: RecordKey, operation: WorkerOperation) {
        self.provider = provider
        self.operation = operation
    }

    private static let prefix = "/mesh/v1/forward/"

    package init?(_ text: String) {
        let rest = text.utf8.dropFirst(Self.prefix.utf8.count)
        // By bytes: characters would be looked for in every one of them.
        guard text.hasPrefix(Self.prefix), let slash = rest.firstIndex(of: UInt8(ascii: "/")),
            let key = bytesOfHex(text[rest.startIndex..<slash]).flatMap({ RecordKey($0) }),
            let operation = WorkerOperation(rawValue: String(text[rest.index(after: slash)...]))
        else { return nil }
        self.init(provider: key, operation: operation)
    }

    package var text: String { Self.prefix + provider.description + "/" + operation.rawValue }
}

/// `aisbf-spend`: what a forwarded request may cost, which is always nothing yet, and what keeps it from being done twice.
/// It is signed in every release, and none before looked into it.
package enum ForwardSpend {
    package static let none = "none"
    private static let prefix = "none; once="

    /// - Parameter once: what its buyer's idempotency key is known by; nil where there is none.
    package static func text(once: Bytes16?) -> String { once.map { "\(prefix)\($0)" } ?? none }

    /// Nil where nothing of the kind is told.
    package static func once(in text: String) -> Bytes16? {
        guard text.hasPrefix(prefix) else { return nil }
        return bytesOfHex(text.dropFirst(prefix.count)).flatMap { Bytes16($0) }
    }
}
