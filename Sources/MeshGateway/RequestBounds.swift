import MeshModel
import NIOHTTP1

/// What a request may be before its body is looked at.
enum RequestBounds {
    /// What is wrong with a head, whatever it asks for.
    /// - Parameter isUpgraded: whether it is about to become a WebSocket.
    static func problem(_ head: HTTPRequestHead, isUpgraded: Bool = false) -> MeshError? {
        let size = head.headers.reduce(head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        guard size <= Limits.requestHeaderBytes else {
            return MeshError(
                .headersTooLarge, "the request's headers are larger than \(Limits.requestHeaderBytes >> 10) KiB")
        }
        do throws(MeshError) { _ = try BodyEncoding(head.headers) } catch { return error }
        return isUpgraded ? nil : Self.webSocket(head)
    }

    /// Why a request for a WebSocket of the Responses API that became none gets none (over the operator's socket, or for another
    /// protocol): its programs go on with HTTP when they are told 426, and not when they are told 404.
    private static func webSocket(_ head: HTTPRequestHead) -> MeshError? {
        guard head.method == .GET, head.headers.contains(name: "upgrade"),
            let (segments, _) = RequestPath.parse(head.uri), let (path, _) = BuyerPath.strip(segments),
            path == ["responses"]
        else { return nil }
        return MeshError(
            .endpointNotOffered, "no WebSocket is to be had in this way; POST responses to this path",
            statusOverride: 426)
    }

    /// Only inference takes large bodies, and only from callers whose key was found good.
    static func bodyLimit(_ route: HotRoute?) -> Int {
        switch route?.call {
        case .chat, .messages, .responses, .countTokens: Limits.requestBodyBytes
        case .proxy: Limits.uploadBodyBytes
        case .keptResponse, nil: Limits.coldBodyBytes
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

    static let noRoom = MeshError(
        .rateLimited, "this node takes in as many large requests as it can hold; try again shortly",
        retryAfterSeconds: 1)

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
