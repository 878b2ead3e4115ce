import MeshCrypto
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore
import NIOHTTP1

extension PoolRequest {
    /// A request with few words, and of no conversation, shows best whether somebody is well again.
    private static let shortBytes = 2_048
    /// What programs call a conversation in a header of their own.
    private static let sessionHeaders = [
        "x-claude-code-session-id", "session_id", "thread-id", "x-openwebui-chat-id", "x-session-id",
    ]
    private static let sessionFields: [StaticString] = ["session_id", "prompt_cache_key", "user"]

    /// - Parameter session: what the request calls its conversation.
    init(
        _ headers: HTTPHeaders, _ body: BuyerBody?, session: String? = nil, sticky: Rotation.Stickiness,
        of principal: Principal
    ) {
        let session: [UInt8]? =
            switch sticky {
            case .off: nil
            case .user: body?.conversation(named: ["user"], orBeginning: false) ?? []
            case .prefix: session.map { Array($0.utf8) } ?? Self.session(headers, body)
            }
        self.init(
            session: session.map { Self.hash($0, principal) },
            isShort: (body?.bytes.readableBytes ?? 0) <= Self.shortBytes)
    }

    /// What a request calls its conversation, for its owner; nil where it calls it nothing.
    static func conversation(_ headers: HTTPHeaders, _ body: BuyerBody, of principal: Principal) -> UInt64? {
        let name =
            sessionHeaders.lazy.compactMap { headers.first(name: $0) }.first { !$0.isEmpty }.map {
                Array($0.utf8.prefix(256))
            }
            ?? body.conversation(named: ["prompt_cache_key", "session_id"], orBeginning: false)
        return name.map { hash($0, principal) }
    }

    private static func session(_ headers: HTTPHeaders, _ body: BuyerBody?) -> [UInt8]? {
        for name in sessionHeaders {
            if let value = headers.first(name: name), !value.isEmpty { return Array(value.utf8.prefix(256)) }
        }
        return body?.conversation(named: sessionFields)
    }

    /// Nobody's conversation is somebody else's.
    private static func hash(_ session: [UInt8], _ principal: Principal) -> UInt64 {
        Sodium.shared.hash16(principal.owner.bytes + session, key: []).bytes.prefix(8).reduce(0) {
            $0 << 8 | UInt64($1)
        }
    }
}

extension PoolID {
    /// As it stands in the list of models.
    var document: JSONValue {
        [
            "id": .string(modelName), "object": "model", "created": .integer(0),
            "owned_by": .string(scope.username),
        ]
    }
}
