internal import AsyncHTTPClient
internal import Foundation
internal import NIOCore
internal import NIOHTTP1

/// One HTTP request whose whole answer is wanted.
struct HTTPExchange {
    /// No answer of the admin API or of `/v1/models` is larger.
    static let maximumAnswerBytes = 64 << 20

    var method = "GET"
    var url: String
    var bearer: String?
    var body: JSONValue?
    var seconds: Int64 = 15

    struct Answer {
        var status: Int
        var body: [UInt8]
        var json: JSONValue? { JSONValue.parse(body) }
    }

    /// The address of `path` on a Unix socket, nil when the socket's path is too long for one.
    static func socketURL(_ socket: String, path: String) -> String? {
        guard socket.utf8.count < 108, let url = URL(httpURLWithSocketPath: socket, uri: path) else { return nil }
        return url.absoluteString
    }

    var request: HTTPClientRequest {
        var request = HTTPClientRequest(url: url)
        request.method = HTTPMethod(rawValue: method)
        request.headers.add(name: "accept", value: "application/json")
        if let bearer { request.headers.add(name: "authorization", value: "Bearer \(bearer)") }
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body.compact))
        }
        return request
    }

    func run() async throws -> Answer {
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(seconds))
        let buffer = try await response.body.collect(upTo: Self.maximumAnswerBytes)
        return Answer(status: Int(response.status.code), body: Array(buffer.readableBytesView))
    }

    /// The bytes of a streamed answer as they come, each piece with the milliseconds since the request was sent.
    func stream(_ body: ([UInt8]) throws -> Void) async throws -> Int {
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(seconds))
        for try await piece in response.body { try body(Array(piece.readableBytesView)) }
        return Int(response.status.code)
    }
}
