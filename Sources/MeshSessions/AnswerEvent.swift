import MeshModel
import MeshWire

/// What one whole event of a worker's stream means for the exchange.
enum AnswerEvent {
    enum Meaning {
        case content
        /// Shows that the worker is at it, but is no part of the answer: a load-status chunk or a comment.
        case preliminary
        /// An error before any content is a real failure.
        case failure(MeshError)
    }

    static func isDoneMarker(_ event: [UInt8]) -> Bool {
        event.count < 64 && data(event).filter { $0 != 0x20 } == Array("[DONE]".utf8)
    }

    /// Reads an event that no content went before.
    static func meaning(_ event: [UInt8]) -> Meaning {
        let data = data(event)
        if data.isEmpty { return .preliminary }
        return data.withUnsafeBytes { bytes in
            guard let fields = try? JSONScanner.fields(of: bytes) else { return .content }
            if fields.string("id", in: bytes) == "chatcmpl-load" { return .preliminary }
            guard let slice = fields.value("error", in: bytes), slice.kind == .string || slice.kind == .object,
                let error = try? JSONValue.parse(bytes, in: slice.range)
            else { return .content }
            let words = error.text ?? error["message"]?.text ?? "no message"
            return .failure(MeshError(.workerError, "the worker says: \(words.cut(toUTF8Bytes: 500))"))
        }
    }

    /// The `data` lines of an event, joined as the standard says (WHATWG HTML, section 9.2.6).
    private static func data(_ event: [UInt8]) -> [UInt8] {
        let name = Array("data:".utf8)
        var data: [UInt8] = []
        var isFirst = true
        for line in event.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) where line.starts(with: name) {
            if !isFirst { data.append(0x0A) }
            isFirst = false
            let value = line.dropFirst(name.count)
            data += value.first == 0x20 ? value.dropFirst() : value
        }
        return data
    }
}
