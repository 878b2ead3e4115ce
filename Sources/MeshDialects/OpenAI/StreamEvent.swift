import MeshModel
import MeshWire

/// One whole event of a worker's stream, cut into its fields (WHATWG HTML, section 9.2.6).
package struct StreamEvent {
    package enum Meaning {
        case content
        /// Shows that the worker is at it, but is no part of the answer: a load-status chunk, a role without a word.
        case preliminary
        case failure(AnswerFailure)
        /// Nothing that anybody would read.
        case nothing
    }

    /// The event as the buyer gets it, without its blank line: fields with their data, lines that end in LF, no end
    /// marker. Empty when it has no data: a block without any makes some programs read an empty document.
    package private(set) var text: [UInt8] = []
    /// The `data` lines, joined.
    private(set) var data: ArraySlice<UInt8> = []
    /// Comments of a block without data, each with its line end.
    private(set) var comments: [UInt8] = []
    /// Whether the end marker stands in it.
    private(set) var isEnd = false
    private var name: [UInt8] = []
    /// The field `error`, in which old llama.cpp servers tell of a failure.
    private var error: [UInt8]?
    /// Lines of a block without data that are no field.
    private var loose: [UInt8] = []

    /// - Parameter event: its lines without the blank one behind them.
    package init(_ event: [UInt8]) {
        if let start = Self.onlyLine(event) {
            text = event
            data = event[start...]
            if Self.isEndMarker(data) { (text, data, isEnd) = ([], [], true) }
        } else {
            read(event)
        }
    }

    /// A JSON document as an event of its own.
    package init(document: [UInt8]) {
        text = EventText.line(document)
        data = document[...]
    }

    /// Where the data of an event begins that is one `data` line, as nearly every event is.
    private static func onlyLine(_ event: [UInt8]) -> Int? {
        let isOne = event.withUnsafeBytes { bytes in
            bytes.begins(with: "data:") && bytes.firstIndex(of: 0x0A, or: 0x0D, from: 5, to: bytes.count) == bytes.count
        }
        guard isOne else { return nil }
        let start = event.count > 5 && event[5] == 0x20 ? 6 : 5
        return event[start...].allSatisfy({ $0 == 0x20 }) ? nil : start
    }

    private static func isEndMarker(_ data: some Collection<UInt8>) -> Bool {
        data.count < 64 && data.contains(UInt8(ascii: "["))
            && data.lazy.filter { $0 != 0x20 }.elementsEqual("[DONE]".utf8)
    }

    private mutating func read(_ event: [UInt8]) {
        var kept: [ArraySlice<UInt8>] = []
        var values: [ArraySlice<UInt8>] = []
        var said: [ArraySlice<UInt8>] = []
        lines: for line in event.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            if line.first == UInt8(ascii: ":") {
                said.append(Self.comment(line))
                kept.append(said[said.count - 1])
                continue
            }
            let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
            var value = line[colon...].dropFirst()
            if value.first == 0x20 { value = value.dropFirst() }
            let field = line[..<colon]
            if field.elementsEqual("data".utf8) {
                // What stands behind the marker in its own block counts as little as what follows it.
                guard !Self.isEndMarker(value) else {
                    isEnd = true
                    break lines
                }
                values.append(value)
            } else if field.elementsEqual("event".utf8) {
                name = Array(value)
            } else if field.elementsEqual("error".utf8) {
                error = Array(value)
                continue
            } else if !field.elementsEqual("id".utf8), !field.elementsEqual("retry".utf8) {
                if !loose.isEmpty { loose.append(0x0A) }
                loose += line
            }
            kept.append(line)
        }
        let joined = Array(values.joined(separator: [0x0A]))
        // An empty `data` under a name may mean something; without one it is a keep-alive.
        if values.isEmpty || (name.isEmpty && joined.allSatisfy { $0 == 0x20 || $0 == 0x0A }) {
            comments = said.flatMap { $0 + [0x0A] }
        } else {
            data = joined[...]
            text = Array(kept.joined(separator: [0x0A]))
        }
    }

    /// Some programs take a line that begins with `: ping` for the end of what they have read, and lose what follows.
    private static func comment(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        line.dropFirst().drop { $0 == 0x20 }.starts(with: "ping".utf8) ? ArraySlice(": waiting".utf8) : line
    }

    // MARK: What it means

    /// Whether the event is only a name, an id or words that are no field.
    var isEmpty: Bool { text.isEmpty && comments.isEmpty && !isFailure && loose.isEmpty }

    /// Whether it says by its form that it is a failure.
    private var isFailure: Bool { error != nil || name.elementsEqual("error".utf8) }

    /// Reads the event whole. After content only an event that `mayBeFailure` is worth it.
    package var meaning: Meaning {
        if let error { return .failure(AnswerFailure(said: error)) }
        if name.elementsEqual("error".utf8) {
            return .failure(AnswerFailure(said: Array(data)))
        }
        if text.isEmpty {
            // A document that a server wrote into its stream as it is: nobody would read it, and it may be why it ends.
            if let failure = Self.failure(inDocument: loose) { return .failure(failure) }
            return comments.isEmpty ? .nothing : .preliminary
        }
        return Self.meaning(ofDocument: Array(data))
    }

    package static func meaning(ofDocument document: [UInt8]) -> Meaning {
        document.withUnsafeBytes { bytes in
            guard let fields = try? JSONScanner.fields(of: bytes) else { return .content }
            if isLoadStatus(fields, bytes) { return .preliminary }
            if let failure = AnswerFailure(fields, in: bytes) { return .failure(failure) }
            return ChatCompletion.isWordless(fields, in: bytes) ? .preliminary : .content
        }
    }

    /// Whether a document only tells that the model is being loaded.
    package static func isLoadStatus(_ document: [UInt8]) -> Bool {
        document.withUnsafeBytes { bytes in
            (try? JSONScanner.fields(of: bytes)).map { isLoadStatus($0, bytes) } ?? false
        }
    }

    private static func isLoadStatus(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> Bool {
        fields.string("id", in: bytes) == "chatcmpl-load"
    }

    private static func failure(inDocument document: [UInt8]) -> AnswerFailure? {
        guard document.first == UInt8(ascii: "{") else { return nil }
        return document.withUnsafeBytes { bytes in
            (try? JSONScanner.fields(of: bytes)).flatMap { AnswerFailure($0, in: bytes) }
        }
    }

    /// Whether it could be a failure: told by its form and by a search, because nearly no event is one.
    func mayBeFailure(_ marks: StreamMarks) -> Bool { isFailure || marks.error || text.isEmpty }
}
