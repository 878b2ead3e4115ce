internal import AsyncHTTPClient
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import NIOSSL
internal import Synchronization

/// One HTTP request whose whole answer is wanted.
struct HTTPExchange {
    /// No answer of the admin API or of `/v1/models` is larger.
    static let maximumAnswerBytes = 64 << 20

    /// One for each file of trusted authorities, for as long as the process lives.
    private static let clients = Mutex<[String: HTTPClient]>([:])

    /// A node that is not there is told at once instead of being tried until the deadline.
    private static func client(trusting caFile: String?) throws -> HTTPClient {
        try clients.withLock { clients in
            if let known = clients[caFile ?? ""] { return known }
            var configuration = HTTPClient.Configuration()
            configuration.connectionPool.retryConnectionEstablishment = false
            configuration.timeout.connect = .seconds(3)
            if let caFile {
                var tls = TLSConfiguration.makeClientConfiguration()
                tls.trustRoots = .certificates(try Self.authorities(caFile))
                configuration.tlsConfiguration = tls
            }
            let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
            clients[caFile ?? ""] = client
            return client
        }
    }

    private static func authorities(_ path: String) throws -> [NIOSSLCertificate] {
        guard FileManager.default.isReadableFile(atPath: path) else {
            throw CommandFailure("--ca-file: \(path) does not exist or cannot be read", exitCode: 66)
        }
        guard let found = try? NIOSSLCertificate.fromPEMFile(path), !found.isEmpty else {
            throw CommandFailure("--ca-file: \(path) holds no certificate in PEM form", exitCode: 66)
        }
        return found
    }

    var method = "GET"
    var url: String
    var bearer: String?
    var body: JSONValue?
    var seconds: Int64 = 15
    /// The only authorities to trust, as a PEM file; nil: the system's.
    var caFile: String?

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
        let response = try await Self.client(trusting: caFile).execute(request, timeout: .seconds(seconds))
        let buffer = try await response.body.collect(upTo: Self.maximumAnswerBytes)
        return Answer(status: Int(response.status.code), body: Array(buffer.readableBytesView))
    }

    /// The bytes of a streamed answer as they come.
    /// - Parameter head: called before the first of them, with a look-up of the answer's fields.
    func stream(
        head: ((_ field: (String) -> String?) -> Void)? = nil, _ body: ([UInt8]) throws -> Void
    ) async throws -> Int {
        let response = try await Self.client(trusting: caFile).execute(request, timeout: .seconds(seconds))
        head? { response.headers.first(name: $0) }
        for try await piece in response.body { try body(Array(piece.readableBytesView)) }
        return Int(response.status.code)
    }
}
