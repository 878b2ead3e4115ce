import MeshWire

/// One HTTP/1.1 answer, read byte by byte so that a framing error of the node cannot hide behind a library.
struct Reply {
    var status: Int
    var headers: [(name: String, value: String)]
    var body: [UInt8] = []

    var text: String { String(decoding: body, as: UTF8.self) }
    var isChunked: Bool { self["transfer-encoding"] == "chunked" }
    var errorCode: String? { document?["error"]?["code"]?.text }
    var errorMessage: String { document?["error"]?["message"]?.text ?? "" }
    var document: JSONValue? { try? JSONValue.parse(body) }

    subscript(name: String) -> String? { headers.first { $0.name == name }?.value }

    /// The first answer in `bytes` and its length; nil while it is not whole.
    static func parse(_ bytes: [UInt8], isHead: Bool = false) throws -> (reply: Reply, length: Int)? {
        guard let (reply, start) = try head(bytes) else { return nil }
        var whole = reply
        if isHead || reply.status < 200 || reply.status == 204 { return (reply, start) }
        if reply.isChunked {
            guard let (body, end) = try chunks(bytes, from: start) else { return nil }
            whole.body = body
            return (whole, end)
        }
        guard let length = reply["content-length"].flatMap({ Int($0) }) else {
            throw NotSeen(description: "an answer with neither content-length nor chunks")
        }
        guard bytes.count >= start + length else { return nil }
        whole.body = Array(bytes[start..<(start + length)])
        return (whole, start + length)
    }

    static func head(_ bytes: [UInt8]) throws -> (reply: Reply, length: Int)? {
        let end = Array("\r\n\r\n".utf8)
        guard let split = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else { return nil }
        let lines = String(decoding: bytes[..<split], as: UTF8.self).split(separator: "\r\n")
        guard let first = lines.first, let status = Int(first.split(separator: " ").dropFirst().first ?? "") else {
            throw NotSeen(description: "a status line, instead of \(lines.first ?? "nothing")")
        }
        let headers = lines.dropFirst().map { line -> (name: String, value: String) in
            let parts = line.split(separator: ":", maxSplits: 1)
            return (parts[0].lowercased(), parts.count == 2 ? String(parts[1].drop { $0 == " " }) : "")
        }
        return (Reply(status: status, headers: headers), split + 4)
    }

    private static func chunks(_ bytes: [UInt8], from start: Int) throws -> (body: [UInt8], end: Int)? {
        var body: [UInt8] = []
        var at = start
        while let line = bytes[at...].firstIndex(of: 0x0D) {
            guard let size = Int(String(decoding: bytes[at..<line], as: UTF8.self), radix: 16) else {
                throw NotSeen(description: "a chunk size")
            }
            let end = line + 2 + size
            guard bytes.count >= end + 2 else { return nil }
            if size == 0 { return (body, end + 2) }
            body += bytes[(line + 2)..<end]
            at = end + 2
        }
        return nil
    }
}

extension RawConnection {
    /// The next whole answer.
    func reply(isHead: Bool = false, within seconds: Int = 10) async throws -> Reply {
        let (reply, length) = try await eventually("an HTTP answer", within: seconds) {
            // Looked at first: what came before the end must not be missed.
            let isOver = isClosed
            let found = try Reply.parse(pending, isHead: isHead)
            if found == nil, isOver { throw NotSeen(description: "an answer before the connection closed") }
            return found
        }
        drop(length)
        return reply
    }

    func request(
        _ method: String, _ path: String, key: String?, headers: [String] = [], body: [UInt8] = []
    ) {
        var lines = ["\(method) \(path) HTTP/1.1", "host: node", "content-length: \(body.count)"]
        if let key { lines.append("authorization: Bearer \(key)") }
        send(Array((lines + headers).joined(separator: "\r\n").utf8) + Array("\r\n\r\n".utf8) + body)
    }
}

/// Somebody who calls a node over HTTP, with a connection for each call.
struct Buyer {
    var port: Int
    var key: String?

    static let chat = "/v1/chat/completions"

    func call(
        _ method: String, _ path: String, headers: [String] = [], body: String = "", within seconds: Int = 10
    ) async throws -> Reply {
        let connection = try await RawConnection.open(port: port)
        defer { connection.close() }
        connection.request(method, path, key: key, headers: headers, body: Array(body.utf8))
        return try await connection.reply(isHead: method == "HEAD", within: seconds)
    }

    func ask(_ body: String, path: String = Buyer.chat) async throws -> Reply {
        try await call("POST", path, body: body)
    }

    func ask(model: String) async throws -> Reply { try await ask(#"{"model":"\#(model)","messages":[]}"#) }

    /// Sends a request and leaves the connection to the caller.
    func start(_ body: String, receiveBuffer: Int? = nil) async throws -> RawConnection {
        let connection = try await RawConnection.open(port: port, receiveBuffer: receiveBuffer)
        connection.request("POST", Buyer.chat, key: key, body: Array(body.utf8))
        return connection
    }
}
