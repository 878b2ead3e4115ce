import MeshAccounting
import MeshCrypto
import MeshModel
import MeshRuntime
import NIOCore
import NIOHTTP1

extension GatewayContext {
    /// What becomes of a request that its buyer has given an idempotency key; nil for one without.
    func idempotency(
        _ hot: HotRequest, _ head: HTTPRequestHead, _ body: ByteBuffer
    ) throws(MeshError) -> IdempotencyBook.Verdict? {
        guard let key = try IdempotencyKey.of(head) else { return nil }
        let owner = hot.caller.owner
        let mark = IdempotencyMark(owner: owner, key: Sodium.shared.hash16(key, key: owner.bytes))
        var about = Array("\(head.method.rawValue) \(head.uri)\n".utf8)
        about += (head.headers.first(name: "content-type") ?? "").utf8
        about.append(UInt8(ascii: "\n"))
        about += body.withUnsafeReadableBytes { Sodium.shared.sha256($0) }
        guard let fingerprint = Bytes32(Sodium.shared.sha256(about)) else { return nil }
        return idempotent.begin(mark, fingerprint, mayRepeat: hot.route.mayRepeat)
    }
}

/// `idempotency-key`, as a buyer's program gives it to a request that it may send again.
enum IdempotencyKey {
    static let name = "idempotency-key"

    /// Nil where there is none, or the method needs none.
    static func of(_ head: HTTPRequestHead) throws(MeshError) -> [UInt8]? {
        guard head.method == .POST, let text = head.headers.first(name: name) else { return nil }
        let bytes = Array(text.utf8)
        guard (1...Limits.idempotencyKeyBytes).contains(bytes.count), bytes.allSatisfy({ (0x21...0x7E).contains($0) }),
            head.headers[name].count == 1
        else {
            throw MeshError(
                .invalidRequest,
                "an idempotency-key is one text of 1 to \(Limits.idempotencyKeyBytes) visible ASCII characters",
                parameter: name, retries: .init(shouldRetry: false))
        }
        return bytes
    }
}

extension HotRoute {
    /// Whether doing the same again has no effect that a second one would repeat.
    fileprivate var mayRepeat: Bool {
        switch call {
        case .chat, .messages, .responses, .countTokens, .keptResponse: true
        case .proxy(let endpoint): !endpoint.family.keepsState
        }
    }
}

extension Response {
    /// An answer that was given before.
    init(_ kept: KeptAnswer) {
        self.init(status: kept.status, contentType: "", body: Array(kept.body.readableBytesView))
        let known = kept.fields.filter { field in
            !Self.ofTheMoment.contains(field.name) && !field.name.hasPrefix("x-ratelimit-")
        }
        headers = known.map { ($0.name == "x-request-id" ? "aisbf-original-request-id" : $0.name, $0.value) }
        headers.append((KeptAnswer.mark.name, KeptAnswer.mark.value))
    }

    /// What was true of an answer when it was given.
    private static let ofTheMoment = ["content-length", "server-timing", KeptAnswer.mark.name]
}
