import MeshModel
import MeshUpstream
import MeshWire
import NIOCore

/// A frame from the broker, sliced: the payload stays the bytes it came as.
struct BrokerFrame: Sendable {
    var op: String?
    var event: String?
    var status: String?
    var requestID: String?
    /// Raw JSON; `{}` where the frame has none.
    var payload: [UInt8]
    var whole: [UInt8]

    /// From `registered`: how much of a binary answer may be under way; 0 when the broker takes none.
    var answerWindow: Int {
        guard let document = try? JSONValue.parse(whole),
            (document["features"]?.elements ?? []).contains(.string("binary_frames")),
            let bytes = document["answer_window_bytes"]?.integer, bytes > 0
        else { return 0 }
        return Int(clamping: bytes)
    }

    /// Nil for anything that is not one JSON object.
    init?(_ bytes: [UInt8]) {
        let parts: (String?, String?, String?, String?, Range<Int>?)? = bytes.withUnsafeBytes { buffer in
            guard let fields = try? JSONScanner.fields(of: buffer) else { return nil }
            return (
                fields.string("op", in: buffer), fields.string("event", in: buffer),
                fields.string("status", in: buffer), fields.string("request_id", in: buffer),
                fields.value("payload", in: buffer)?.range
            )
        }
        guard let parts else { return nil }
        (op, event, status, requestID) = (parts.0, parts.1, parts.2, parts.3)
        payload = parts.4.map { Array(bytes[$0]) } ?? Array("{}".utf8)
        whole = bytes
    }
}

/// What the worker sends, ready for a text frame.
enum WorkerFrames {
    /// `{"v":1,"request_id":…,` and the rest of the object.
    private static func frame(_ requestID: String, _ rest: String) -> [UInt8] {
        var output = Array("{\"v\":1,\"request_id\":".utf8)
        JSONText.appendQuoted(requestID.utf8, to: &output)
        output += Array(",\(rest)".utf8)
        return output
    }

    static func payload(_ requestID: String, _ document: JSONValue) -> [UInt8] {
        var output = frame(requestID, "\"status\":\"ok\",\"payload\":")
        document.append(to: &output)
        output.append(UInt8(ascii: "}"))
        return output
    }

    static func heartbeatAnswer(_ requestID: String, seconds: Int64) -> [UInt8] {
        frame(requestID, "\"status\":\"ok\",\"event\":\"heartbeat\",\"payload\":{\"ts\":\(seconds)}}")
    }

    /// Room for more of the request's upload.
    static func credit(_ requestID: String, bytes: Int) -> [UInt8] {
        frame(requestID, "\"event\":\"credit\",\"status\":\"ok\",\"payload\":{\"bytes\":\(bytes)}}")
    }

    static func pending(_ requestID: String) -> [UInt8] {
        frame(
            requestID,
            #""event":"pending","status":"pending","payload":{"message":"processing","estimated_timeout":300}}"#
        )
    }

    static func error(_ requestID: String, code: String, message: String) -> [UInt8] {
        var output = frame(requestID, "\"status\":\"error\",\"error\":{\"code\":")
        JSONText.appendQuoted(code.utf8, to: &output)
        output += Array(",\"message\":".utf8)
        JSONText.appendQuoted(message.utf8, to: &output)
        output += Array("},\"code\":".utf8)
        JSONText.appendQuoted(code.utf8, to: &output)
        output.append(UInt8(ascii: "}"))
        return output
    }

    static func chunk(_ requestID: String, sequence: Int, text: [UInt8]) -> [UInt8] {
        var output = frame(
            requestID, "\"event\":\"chunk\",\"status\":\"ok\",\"sequence\":\(sequence),\"payload\":{\"chunk\":")
        output.reserveCapacity(output.count + text.count + text.count / 8 + 8)
        JSONText.appendQuoted(text, to: &output)
        output += Array("}}".utf8)
        return output
    }

    static func done(_ requestID: String, elapsedMs: Int64) -> [UInt8] {
        frame(
            requestID, "\"event\":\"done\",\"status\":\"ok\",\"payload\":{},\"metrics\":{\"elapsed_ms\":\(elapsedMs)}}")
    }

    /// A whole HTTP answer in the wrapped form.
    static func wrapped(
        _ requestID: String, status: Int, headers: [(name: String, value: String)], contentType: String, body: [UInt8],
        elapsedMs: Int64
    ) -> [UInt8] {
        var output = frame(requestID, "\"status\":\"ok\",\"payload\":{\"status_code\":\(status),\"headers\":")
        let members = headers.map { JSONValue.Member($0.name, .string($0.value)) }
        JSONValue.object(members).append(to: &output)
        output += Array(",\"content_type\":".utf8)
        JSONText.appendQuoted(contentType.utf8, to: &output)
        if isText(contentType), UTF8Carry.isWellFormed(body) {
            output += Array(",\"body\":".utf8)
            JSONText.appendQuoted(body, to: &output)
        } else {
            output += Array(",\"body_base64\":".utf8)
            JSONText.appendQuoted(Base64.text(Array(body)), to: &output)
        }
        output += Array("},\"metrics\":{\"elapsed_ms\":\(elapsedMs)}}".utf8)
        return output
    }

    /// Announces an answer whose bytes follow in binary frames.
    static func start(
        _ requestID: String, status: Int, headers: [(name: String, value: String)], contentType: String, length: Int?
    ) -> [UInt8] {
        var payload: [JSONValue.Member] = [
            .init("status_code", .integer(status)),
            .init("headers", .object(headers.map { .init($0.name, .string($0.value)) })),
            .init("content_type", .string(contentType)),
        ]
        if let length { payload.append(.init("length", .integer(length))) }
        var output = frame(requestID, "\"event\":\"start\",\"status\":\"ok\",\"payload\":")
        JSONValue.object(payload).append(to: &output)
        output.append(UInt8(ascii: "}"))
        return output
    }

    /// `1`, length of the request id, the request id, then bytes of its answer.
    static func binary(_ requestID: String, _ bytes: ByteBuffer) -> ByteBuffer {
        var output = ByteBufferAllocator().buffer(capacity: 2 + requestID.utf8.count + bytes.readableBytes)
        output.writeInteger(1 as UInt8)
        output.writeInteger(UInt8(clamping: requestID.utf8.count))
        output.writeString(requestID)
        output.writeImmutableBuffer(bytes)
        return output
    }

    /// A binary frame of the broker: the request, and the next bytes of its upload. Nil for one that is none.
    static func upload(_ frame: ByteBuffer) -> (requestID: String, bytes: ByteBuffer)? {
        var frame = frame
        guard frame.readInteger(as: UInt8.self) == 1, let length = frame.readInteger(as: UInt8.self),
            let requestID = frame.readString(length: Int(length))
        else { return nil }
        return (requestID, frame)
    }

    private static func isText(_ contentType: String) -> Bool {
        let type = contentType.lowercased()
        return type.hasPrefix("text/") || type.contains("json") || type.contains("xml")
    }
}
