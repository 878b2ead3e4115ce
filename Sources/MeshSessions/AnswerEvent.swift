import MeshModel
import MeshWire

/// What one whole event of a worker's stream means for the exchange.
enum AnswerEvent {
    enum Meaning {
        case content
        /// Shows that the worker is at it, but is no part of the answer: a load-status chunk or a comment.
        case preliminary
        /// Before any content it is a real failure, after it the last event.
        case failure(MeshError)
    }

    static func isDoneMarker(_ event: [UInt8]) -> Bool {
        event.count < 64 && event.contains(UInt8(ascii: "["))
            && data(event).filter { $0 != 0x20 } == Array("[DONE]".utf8)
    }

    /// The event without lines that are end markers of their own. A worker that forgets the blank line before its last
    /// event would give buyers who read line by line a second `[DONE]`, and the others a document that is no JSON.
    static func withoutDoneLines(_ event: [UInt8]) -> [UInt8] {
        // Nearly every event has one line, or no marker in it: told in one pass, without cutting anything.
        let mayHaveOne = event.withUnsafeBytes { bytes in
            var hasLines = false
            var hasMarker = false
            for index in bytes.indices {
                let byte = bytes[index]
                if byte == 0x0A || byte == 0x0D { hasLines = true }
                if byte == UInt8(ascii: "["), bytes[index...].starts(with: "[DONE]".utf8) { hasMarker = true }
            }
            return hasLines && hasMarker
        }
        guard mayHaveOne else { return event }
        let lines = event.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D })
        let kept = lines.filter { $0.count >= 64 || !isDoneMarker(Array($0)) }
        return kept.count == lines.count ? event : Array(kept.joined(separator: [0x0A]))
    }

    /// Reads an event whole. After content only an event that `mayBeFailure` is worth it.
    static func meaning(_ event: [UInt8]) -> Meaning {
        let data = data(event)
        return data.isEmpty ? .preliminary : meaning(ofDocument: data)
    }

    static func meaning(ofDocument document: [UInt8]) -> Meaning {
        document.withUnsafeBytes { bytes in
            guard let fields = try? JSONScanner.fields(of: bytes) else { return .content }
            if fields.string("id", in: bytes) == "chatcmpl-load" { return .preliminary }
            return WorkerFailure(fields, in: bytes).map { .failure($0.error()) } ?? .content
        }
    }

    /// Whether a field of the event could be called `error`: told by a search, because nearly no event is one.
    static func mayBeFailure(_ event: [UInt8]) -> Bool {
        event.withUnsafeBytes { bytes in
            var at = 0
            while at + 7 <= bytes.count {
                if bytes[at] == 0x22, bytes[at + 1] == UInt8(ascii: "e"),
                    bytes[at..<(at + 7)].elementsEqual("\"error\"".utf8)
                {
                    return true
                }
                at += 1
            }
            return false
        }
    }

    private static let fieldNames = ["data:", "event:", "id:", "retry:", ":"].map { Array($0.utf8) }

    /// Whether a text begins as an event stream does: with a field or a comment, after any number of line breaks.
    static func isStreamText(_ text: [UInt8]) -> Bool {
        guard let start = text.firstIndex(where: { $0 != 0x0A && $0 != 0x0D }) else { return false }
        return fieldNames.contains { text[start...].starts(with: $0) }
    }

    private static let usageName = Array("\"usage\"".utf8)

    /// Where the object of a `"usage": {` begins in an event, if it has one.
    static func usage(in event: [UInt8]) -> Int? {
        let name = Self.usageName
        guard event.count > 24 else { return nil }
        return event.withUnsafeBytes { bytes in
            // The name stands near the end; chunks without usage are told by a search from there.
            var at = bytes.count - name.count - 2
            while at >= 0 {
                if bytes[at] == 0x22, bytes[at + 1] == UInt8(ascii: "u"),
                    bytes[at..<(at + name.count)].elementsEqual(name)
                {
                    var value = at + name.count
                    while value < bytes.count, [0x20, 0x3A].contains(bytes[value]) { value += 1 }
                    return value < bytes.count && bytes[value] == UInt8(ascii: "{") ? value : nil
                }
                at -= 1
            }
            return nil
        }
    }

    /// Index after the object that begins at the start of `bytes`; nil when it does not end, or is too long for usage.
    static func objectEnd(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var depth = 0
        var isText = false
        var index = 0
        while index < min(bytes.count, 4_096) {
            switch bytes[index] {
            case UInt8(ascii: "\\") where isText: index += 1
            case UInt8(ascii: "\""): isText.toggle()
            case UInt8(ascii: "{") where !isText: depth += 1
            case UInt8(ascii: "}") where !isText:
                depth -= 1
                if depth == 0 { return index + 1 }
            default: break
            }
            index += 1
        }
        return nil
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
