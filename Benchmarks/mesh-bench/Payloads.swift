import Glibc
import MeshWire
import NIOCore

/// The bytes both mocks answer with and the load generator sends.
enum Payloads {
    /// A chat completion of 1 KiB.
    static let answer: [UInt8] = {
        let head =
            #"{"id":"c1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,"message":"#
            + #"{"role":"assistant","content":""#
        let tail = #""},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}"#
        let filler = String(repeating: "x", count: max(1_024 - head.utf8.count - tail.utf8.count, 0))
        return Array((head + filler + tail).utf8)
    }()

    /// An SSE event around the sending time in nanoseconds: what stands before it and after it.
    static let eventHead =
        #"data: {"id":"c1","object":"chat.completion.chunk","created":1700000000,"model":"m","#
        + #""choices":[{"index":0,"delta":{"content":""#
    static let eventTail = "\"},\"finish_reason\":null}]}\n\n"
    static let contentMarker = Array(#""content":""#.utf8)
    static let streamMarker = Array(#""stream":true"#.utf8)
    /// Asks the mock for a stream that comes all at once.
    static let burstMarker = Array(#""burst":true"#.utf8)
    static let burstChunk = String(repeating: "z", count: 32_000)
    static let burstChunks = 256
    static let headEnd = Array("\r\n\r\n".utf8)

    /// A POST of 1 KiB.
    static func request(model: String, key: String, stream: Bool, burst: Bool = false) -> ByteBuffer {
        let burst = burst ? #""burst":true,"# : ""
        let head =
            #"{"model":"\#(model)","stream":\#(stream),\#(burst)"max_tokens":4096,"messages":[{"role":"user","#
            + #""content":""#
        let tail = #""}]}"#
        let filler = String(repeating: "y", count: max(1_024 - head.utf8.count - tail.utf8.count, 0))
        let body = head + filler + tail
        return ByteBuffer(
            string: "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer \(key)\r\n"
                + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body)
    }
}

extension UnsafeRawBufferPointer {
    /// Where `needle` begins at or after `start`.
    func offset(of needle: [UInt8], from start: Int = 0) -> Int? {
        guard let baseAddress, let first = needle.first else { return nil }
        var position = start
        while position + needle.count <= count {
            let room = count - position - needle.count + 1
            guard let found = memchr(baseAddress + position, Int32(first), room) else { return nil }
            if memcmp(found, needle, needle.count) == 0 { return UnsafeRawPointer(found) - baseAddress }
            position = UnsafeRawPointer(found) - baseAddress + 1
        }
        return nil
    }

    /// The decimal number at `start`.
    func number(at start: Int) -> UInt64 {
        var value: UInt64 = 0
        var position = start
        while position < count, (48...57).contains(self[position]) {
            value = value &* 10 &+ UInt64(self[position] - 48)
            position += 1
        }
        return value
    }

    /// The number in the header `name` (lower case, with colon and blank) of an HTTP head that ends at `end`.
    func headerNumber(_ name: StaticString, end: Int) -> Int? {
        let length = name.utf8CodeUnitCount
        var line = 0
        while line + length <= end {
            if strncasecmp(
                UnsafeRawPointer(baseAddress! + line).assumingMemoryBound(to: CChar.self),
                UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), length) == 0
            {
                return Int(number(at: line + length))
            }
            guard let next = offset(of: [13, 10], from: line) else { return nil }
            line = next + 2
        }
        return nil
    }
}
