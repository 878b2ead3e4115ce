import MeshModel
import NIOHTTP1

/// Pages of other origins, whose browsers ask whether they may call the buyer API and read what it says (Fetch Standard, CORS).
/// A page has no more than the key that somebody gave it: nothing here goes by cookies or by who is near. Never for the
/// administration.
package struct CrossOrigin: Sendable {
    private let origins: [String]
    private let isOpen: Bool

    /// - Parameter origins: such as `https://chat.example.org`; `*` for all.
    package init(_ origins: [String]) {
        self.origins = origins
        isOpen = origins.contains("*")
    }

    /// The origin of a request that may read its answer; nil where there is none.
    func reader(of head: HTTPRequestHead) -> String? {
        guard let origin = head.headers.first(name: "origin"), origin.utf8.count <= 256,
            isOpen || origins.contains(origin), let (segments, _) = RequestPath.parse(head.uri),
            BuyerPath.strip(segments) != nil || Self.besides.contains(segments)
        else { return nil }
        return origin
    }

    /// What is outside of the base paths.
    private static let besides = [["api", "tags"], ["api", "version"], ["api", "hello"]]

    /// What an answer says to the page that asked for it.
    static func add(to headers: AnswerHeaders, for origin: String) {
        headers.add(name: "access-control-allow-origin", value: origin)
        headers.add(name: "access-control-expose-headers", value: exposed)
        headers.add(name: "vary", value: "origin")
    }

    private static let exposed = [
        "x-request-id", "request-id", "x-should-retry", "retry-after", "retry-after-ms", "server-timing",
        "aisbf-provider",
        "aisbf-node", "aisbf-worker", "aisbf-attempts", "aisbf-translation", "aisbf-warnings",
        "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
    ].joined(separator: ", ")

    /// A browser asks without a key whether it may send a request with one; nil for another request.
    func preflight(_ request: Request) -> Response? {
        guard request.method == .OPTIONS, request.headers.contains(name: "access-control-request-method"),
            reader(
                of: HTTPRequestHead(version: .http1_1, method: .OPTIONS, uri: request.target, headers: request.headers))
                != nil
        else { return nil }
        var response = Response.noContent
        response.headers = [
            ("access-control-allow-methods", "GET, POST, DELETE"),
            ("access-control-max-age", String(Limits.preflightSeconds)),
        ]
        // A list of all, for `*` does not mean the one with the key.
        let asked = request.headers[canonicalForm: "access-control-request-headers"].map(String.init)
            .filter { name in (1...64).contains(name.utf8.count) && name.utf8.allSatisfy(Self.isNamed) }
        if !asked.isEmpty {
            let names = asked.prefix(Limits.preflightHeaders).joined(separator: ", ")
            response.headers.append(("access-control-allow-headers", names))
        }
        return response
    }

    private static func isNamed(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D
            || byte == 0x5F
    }
}
