import MeshModel
import MeshWire

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
}
