import MeshWire

/// A worker that does nothing by itself: a WebSocket client whose every frame is written by the test.
final class ScriptedWorker: Sendable {
    struct Frame {
        var opcode: UInt8
        var isFinal = true
        var payload: [UInt8]

        var text: String { String(decoding: payload, as: UTF8.self) }
        var document: JSONValue? { try? JSONValue.parse(payload) }
        /// Code and reason of a close frame.
        var close: (code: Int, reason: String)? {
            guard opcode == 8, payload.count >= 2 else { return nil }
            return (Int(payload[0]) << 8 | Int(payload[1]), String(decoding: payload.dropFirst(2), as: UTF8.self))
        }
    }

    let connection: RawConnection

    init(connection: RawConnection) { self.connection = connection }

    /// The answer to the upgrade request, and the connection it came on.
    static func dial(
        _ port: Int, path: String, headers: [String]
    ) async throws -> (reply: Reply, connection: RawConnection) {
        let connection = try await RawConnection.open(port: port)
        return (try await dial(on: connection, path: path, headers: headers), connection)
    }

    static func dial(on connection: RawConnection, path: String, headers: [String]) async throws -> Reply {
        let lines =
            [
                "GET \(path) HTTP/1.1", "host: node", "connection: upgrade", "upgrade: websocket",
                "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            ] + headers
        connection.send(lines.joined(separator: "\r\n") + "\r\n\r\n")
        return try await connection.reply()
    }

    static func identity(_ provider: String, token: String, client: String, username: String = "global") -> [String] {
        [
            "x-coderai-provider-id: \(provider)", "x-coderai-client-id: \(client)", "x-coderai-username: \(username)",
            "x-coderai-registration-token: \(token)",
        ]
    }

    /// A connected worker that has said nothing yet.
    static func connect(
        _ port: Int, provider: String, token: String, client: String = "w1", username: String = "global"
    ) async throws -> ScriptedWorker {
        let path = username == "global" ? "/api/coderai/wss" : "/api/u/\(username)/coderai/wss"
        let (reply, connection) = try await dial(
            port, path: path, headers: identity(provider, token: token, client: client, username: username))
        guard reply.status == 101 else { throw NotSeen(description: "an upgrade, but \(reply.status) \(reply.text)") }
        return ScriptedWorker(connection: connection)
    }

    /// A registered worker that offers `models`.
    static func attach(
        _ port: Int, provider: String, token: String, client: String = "w1", username: String = "global",
        models: [String] = ["m1"], window: Int? = nil, capabilities: String = "{}"
    ) async throws -> ScriptedWorker {
        let worker = try await connect(port, provider: provider, token: token, client: client, username: username)
        try await worker.begin(models: models, window: window, capabilities: capabilities)
        return worker
    }

    /// The same on a connection that the test has opened, with the operator's scope.
    static func attach(on connection: RawConnection, headers: [String]) async throws -> ScriptedWorker {
        let reply = try await dial(on: connection, path: "/api/coderai/wss", headers: headers)
        guard reply.status == 101 else { throw NotSeen(description: "an upgrade, but \(reply.status) \(reply.text)") }
        let worker = ScriptedWorker(connection: connection)
        try await worker.begin(models: ["m1"], capabilities: "{}")
        return worker
    }

    private func begin(models: [String], window: Int? = nil, capabilities: String) async throws {
        register(capabilities: capabilities)
        _ = try await event("registered")
        let ask = try await request("models.list")
        let told = window.map { [JSONValue.Member("context_length", .integer($0))] } ?? []
        let list: JSONValue = ["data": .array(models.map { .object([.init("id", .string($0))] + told) })]
        answer(ask, payload: String(decoding: list.bytes, as: UTF8.self))
    }

    // MARK: Saying

    func register(_ id: String = "reg-1", capabilities: String = "{}") {
        say(#"{"v":1,"op":"register","request_id":"\#(id)","payload":{"capabilities":\#(capabilities)}}"#)
    }

    func answer(_ request: JSONValue, payload: String) {
        say(#"{"v":1,"request_id":"\#(request.id)","status":"ok","payload":\#(payload)}"#)
    }

    func chunk(_ request: JSONValue, _ text: String) {
        let event: JSONValue = [
            "request_id": .string(request.id), "status": "ok", "event": "chunk", "payload": ["chunk": .string(text)],
        ]
        say(String(decoding: event.bytes, as: UTF8.self))
    }

    func done(_ request: JSONValue) { say(#"{"request_id":"\#(request.id)","status":"ok","event":"done"}"#) }

    func say(_ text: String) { frame(1, Array(text.utf8)) }

    func frame(_ opcode: UInt8, isFinal: Bool = true, _ payload: [UInt8]) {
        connection.send(Self.encode(opcode, isFinal: isFinal, payload))
    }

    static func encode(_ opcode: UInt8, isFinal: Bool = true, _ payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [(isFinal ? 0x80 : 0) | opcode]
        switch payload.count {
        case ..<126: bytes.append(0x80 | UInt8(payload.count))
        case ..<65_536: bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [0x80 | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        // A mask of zeros leaves the payload readable in a packet capture and costs nothing.
        return bytes + [0, 0, 0, 0] + payload
    }

    // MARK: Hearing

    /// The next message, whole, or a close.
    func next(_ what: String = "a frame", within seconds: Int = 10) async throws -> Frame {
        var message: Frame?
        while true {
            let frame = try await fragment(what, within: seconds)
            if frame.opcode == 8 { return frame }
            guard frame.opcode < 8 else { continue }
            var whole = message ?? Frame(opcode: frame.opcode, payload: [])
            guard (frame.opcode == 0) == (message != nil) else {
                throw NotSeen(description: "\(what), instead of opcode \(frame.opcode) in a message")
            }
            whole.payload += frame.payload
            if frame.isFinal { return whole }
            message = whole
        }
    }

    /// The next frame, whatever it is: a fragment of a message, a ping.
    func fragment(_ what: String = "a frame", within seconds: Int = 10) async throws -> Frame {
        try await eventually("\(what) at the worker", within: seconds) { () -> Frame? in
            guard let (frame, length) = Self.decode(connection.pending) else { return nil }
            connection.drop(length)
            return frame
        }
    }

    func event(_ name: String) async throws -> JSONValue {
        let frame = try await next("event \(name)")
        guard let document = frame.document, document["event"]?.text == name else {
            throw NotSeen(description: "event \(name), instead of \(frame.text)")
        }
        return document
    }

    func request(_ operation: String) async throws -> JSONValue {
        let frame = try await next("request \(operation)")
        guard let document = frame.document, document["op"]?.text == operation else {
            throw NotSeen(description: "request \(operation), instead of \(frame.text)")
        }
        return document
    }

    func closed() async throws -> (code: Int, reason: String) {
        while true {
            if let close = try await next("a close frame").close { return close }
        }
    }

    static func decode(_ bytes: [UInt8]) -> (frame: Frame, length: Int)? {
        guard bytes.count >= 2 else { return nil }
        var length = Int(bytes[1] & 0x7F)
        var start = 2
        if length >= 126 {
            let size = length == 126 ? 2 : 8
            guard bytes.count >= 2 + size else { return nil }
            length = bytes[2..<(2 + size)].reduce(0) { $0 << 8 | Int($1) }
            start += size
        }
        guard bytes.count >= start + length else { return nil }
        let payload = Array(bytes[start..<(start + length)])
        return (Frame(opcode: bytes[0] & 0x0F, isFinal: bytes[0] & 0x80 != 0, payload: payload), start + length)
    }
}

extension JSONValue {
    var id: String { self["request_id"]?.text ?? "" }
}
