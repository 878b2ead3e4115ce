package import MeshDialects
package import MeshModel
package import MeshTransport
package import MeshWire
package import NIOHTTP1

/// An answer that is complete at once: everything but inference.
package struct Response: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    /// Why it is a refusal, where it is one.
    package var code: ErrorCode?

    package init(status: Int, contentType: String, body: [UInt8]) {
        self.status = status
        headers = [("content-type", contentType)]
        self.body = body
    }

    package static func json(_ value: JSONValue, status: Int = 200) -> Response {
        Response(status: status, contentType: "application/json", body: value.bytes)
    }

    package static func text(_ text: String, status: Int = 200) -> Response {
        Response(status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    package static let noContent = Response(status: 204, contentType: "application/json", body: [])

    /// - Parameter mayRepeat: whether the request may be made twice when its first one was lost.
    package static func error(
        _ error: MeshError, requestID: String?, in dialect: Dialect = .chat, mayRepeat: Bool = true
    ) -> Response {
        let answer = dialect.answer(error, requestID: requestID, mayRepeat: mayRepeat)
        var response = Response(status: answer.status, contentType: "application/json", body: answer.body)
        response.code = error.code
        response.headers += answer.fields.map { ($0.name, $0.value) }
        return response
    }
}

/// A request whose body is complete, as the routes outside the hot path see it.
package struct Request: Sendable {
    package var method: HTTPMethod
    /// Decoded path segments, without the query.
    package var segments: [String]
    /// Path and query as they came.
    package var target: String
    package var query: [(name: String, value: String)]
    package var headers: HTTPHeaders
    package var body: [UInt8]
    /// Whether it came over the node's own Unix socket, which only the operator can open.
    package var isLocalOperator: Bool
    package var requestID: String
    /// The connection it came on.
    package var place: ConnectionPlace

    /// The body as a JSON object.
    package func document() throws(MeshError) -> JSONValue {
        do throws(JSONScanError) {
            let value = try JSONValue.parse(body)
            guard value.members != nil else { throw JSONScanError(reason: .notAnObject, offset: 0) }
            return value
        } catch {
            throw MeshError(.invalidJSON, "the request body is not a valid JSON object: \(error.description)")
        }
    }
}

/// The segments of a request target, decoded; nil for a path no route can have (broken escapes, dot segments,
/// slashes hidden in escapes). What follows `models` is one segment, whatever it holds: the id of a model may have
/// slashes, and clients escape them or do not.
package enum RequestPath {
    package static func parse(_ uri: String) -> (segments: [String], query: [(name: String, value: String)])? {
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = parts.first, path.utf8.first == UInt8(ascii: "/"), path.utf8.count <= 2_048 else { return nil }
        var segments: [String] = []
        let (above, model) = cutAtModel(path)
        for part in above.split(separator: "/") {
            guard let segment = PercentEncoding.decode(part), segment != ".", segment != "..", !segment.contains("/")
            else { return nil }
            segments.append(segment)
        }
        if let model {
            guard let id = PercentEncoding.decode(model) ?? PercentEncoding.plain(model) else { return nil }
            segments.append(id)
        }
        return (segments, parts.count == 2 ? PercentEncoding.query(String(parts[1])) : [])
    }

    /// The id that stands behind `/models/` of the buyer API, as it came.
    static func modelID(_ uri: String) -> Substring? { cutAtModel(uri.prefix { $0 != "?" }).model }

    private static func cutAtModel(_ path: Substring) -> (above: Substring, model: Substring?) {
        let parts = path.split(separator: "/", maxSplits: 6, omittingEmptySubsequences: true)
        let found = parts.indices.first { index in
            parts[index] == "models" && BuyerPath.isBase(parts[..<index].map(String.init))
        }
        guard let index = found else { return (path, nil) }
        let end = parts[index].endIndex
        guard end < path.endIndex else { return (path, nil) }
        let model = path[path.index(after: end)...]
        return model.isEmpty ? (path, nil) : (path[..<end], model)
    }
}
