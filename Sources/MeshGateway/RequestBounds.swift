import MeshModel
import NIOHTTP1

/// What a request may be before its body is looked at.
enum RequestBounds {
    /// What is wrong with a head, whatever it asks for.
    static func problem(_ head: HTTPRequestHead) -> MeshError? {
        let size = head.headers.reduce(head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        guard size <= Limits.requestHeaderBytes else {
            return MeshError(
                .headersTooLarge, "the request's headers are larger than \(Limits.requestHeaderBytes >> 10) KiB")
        }
        if let encoding = head.headers.first(name: "content-encoding"), encoding.lowercased() != "identity" {
            return MeshError(
                .unsupportedEncoding,
                "the request body is compressed ('\(encoding.prefix(64))'), which this node does not take; send it as it is, without content-encoding"
            )
        }
        return nil
    }

    /// Only inference takes large bodies, and only from callers whose key was found good.
    static func bodyLimit(_ route: HotRoute?) -> Int {
        switch route?.call {
        case .chat, .messages, .countTokens: Limits.requestBodyBytes
        case .proxy: Limits.uploadBodyBytes
        case nil: Limits.coldBodyBytes
        }
    }

    static func tooLarge(_ head: HTTPRequestHead, _ route: HotRoute?) -> MeshError {
        // A prompt that was sent to a mistaken path is too large for that path, and would fit the right one.
        if route == nil, let (segments, _) = RequestPath.parse(head.uri), let known = WrongPath.error(segments) {
            return known
        }
        return MeshError(
            .bodyTooLarge, "the request body is larger than \(bodyLimit(route) >> 10) KiB, the most this route takes")
    }

    static func needsUpload(_ route: HotRoute?) -> MeshError {
        MeshError(
            .bodyTooLarge,
            "the request body is larger than \(bodyLimit(route) >> 10) KiB: a larger one needs a connected worker that takes uploads, and its model named before its files or in the query"
        )
    }

    static func declaredLength(_ head: HTTPRequestHead) -> Int {
        head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
    }
}
