import MeshModel
import MeshWire
import NIOCore

/// What a backend says in the body of an error status.
package enum BackendErrorBody {
    /// The words of it, 500 bytes at most, in one line: OpenAI's message, FastAPI's `detail`, or its beginning.
    package static func words(of body: [UInt8]) -> String {
        let document = try? JSONValue.parse(body)
        let error = document?["error"]
        let said =
            error?["message"]?.text ?? error?.text ?? document?["message"]?.text ?? document?["detail"]?.text
            ?? String(decoding: body.prefix(2_000), as: UTF8.self)
        let line = said.split { $0.isWhitespace }.joined(separator: " ")
        return line.isEmpty ? "no words" : line.cut(toUTF8Bytes: 500)
    }

    /// The body without what is the seller's own; byte for byte where nothing of it is in it.
    static func cleaned(_ body: [UInt8], _ words: PublicWords) -> [UInt8] {
        if let cleaned = JSONValue.cleaned(body, by: words) { return cleaned }
        guard UTF8Carry.isWellFormed(body) else { return body }
        return Array(words.cleaned(String(decoding: body, as: UTF8.self)).utf8)
    }

    /// A part of a stream of events, in which the documents of errors lose what is the seller's own. A line that was cut
    /// in two passes; the node looks at whole events.
    static func cleaned(events part: ByteBuffer, _ words: PublicWords) -> ByteBuffer {
        let view = part.readableBytesView
        guard view.count <= Limits.workerBackendErrorBytes, view.firstRange(of: Array("error".utf8)) != nil else {
            return part
        }
        var isChanged = false
        let lines = view.split(separator: 0x0A, omittingEmptySubsequences: false).map { line -> [UInt8] in
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return Array(line) }
            let name = line[..<colon]
            guard name.elementsEqual("data".utf8) || name.elementsEqual("error".utf8) else { return Array(line) }
            let data = Array(line[line.index(after: colon)...])
            guard let document = try? JSONValue.parse(data), name.count == 5 || document["error"] != nil else {
                return Array(line)
            }
            let cleaned = document.cleaned(by: words)
            guard cleaned != document else { return Array(line) }
            isChanged = true
            return Array(name) + Array(": ".utf8) + cleaned.bytes + (data.last == 0x0D ? [0x0D] : [])
        }
        return isChanged ? ByteBuffer(bytes: Array(lines.joined(separator: [0x0A]))) : part
    }
}
