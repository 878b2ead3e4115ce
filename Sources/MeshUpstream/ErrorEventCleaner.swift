import MeshModel
import MeshWire
import NIOCore

/// A backend's stream of events, in which the documents of errors lose what is the seller's own. All else passes byte for
/// byte and at once, but for the beginning of a line that may become such a document: it waits for its end, which no
/// reader of events could do without.
struct ErrorEventCleaner {
    private let words: PublicWords
    /// The line that is not over yet.
    private var held: [UInt8] = []
    /// The rest of this line passes: it is no document, or longer than any error.
    private var isPassing = false
    /// The event that is coming has called itself an error.
    private var isError = false
    /// A line feed now belongs to the line end before it.
    private var sawReturn = false

    init(_ words: PublicWords) { self.words = words }

    mutating func take(_ part: ByteBuffer) -> ByteBuffer {
        let view = part.readableBytesView
        // Nearly every part is whole lines without a word of errors.
        if held.isEmpty, !isPassing, !isError, !sawReturn, view.last == 0x0A, view.firstRange(of: Self.error) == nil {
            return part
        }
        var output: [UInt8] = []
        output.reserveCapacity(held.count + view.count)
        var rest = view[...]
        while let end = rest.firstIndex(where: { $0 == 0x0A || $0 == 0x0D }) {
            add(rest[..<end], to: &output)
            endLine(rest[end], to: &output)
            rest = rest[rest.index(after: end)...]
        }
        add(rest, to: &output)
        return ByteBuffer(bytes: output)
    }

    /// What waits for a line end that does not come.
    mutating func finish() -> ByteBuffer? {
        guard !held.isEmpty else { return nil }
        defer { held = [] }
        return ByteBuffer(bytes: cleaned(held))
    }

    private mutating func add(_ bytes: some Collection<UInt8>, to output: inout [UInt8]) {
        guard !bytes.isEmpty else { return }
        sawReturn = false
        if isPassing {
            output += bytes
            return
        }
        held += bytes
        guard held.count > Limits.workerBackendErrorBytes || !Self.mayMatter(held) else { return }
        output += held
        held = []
        isPassing = true
    }

    private mutating func endLine(_ end: UInt8, to output: inout [UInt8]) {
        if end == 0x0A, sawReturn {
            sawReturn = false
            return output.append(end)
        }
        if held.isEmpty, !isPassing {
            isError = false
        } else if held.starts(with: Self.event) {
            isError = Self.value(held).elementsEqual(Self.error)
        }
        output += cleaned(held)
        output.append(end)
        held = []
        isPassing = false
        sawReturn = end == 0x0D
    }

    private func cleaned(_ line: [UInt8]) -> [UInt8] {
        guard !line.isEmpty, let name = Self.documents.first(where: { line.starts(with: $0) }),
            isError || line.firstRange(of: Self.error) != nil, let document = try? JSONValue.parse(Self.value(line)),
            isError || name != Self.data || document["error"] != nil
        else { return line }
        let cleaned = document.cleaned(by: words)
        return cleaned == document ? line : name + [0x20] + cleaned.bytes
    }

    private static let colon = UInt8(ascii: ":")
    private static let error = Array("error".utf8)
    private static let data = Array("data:".utf8)
    private static let event = Array("event:".utf8)
    private static let documents = [data, error + [colon]]

    private static func value(_ line: [UInt8]) -> [UInt8] {
        Array(line.drop { $0 != colon }.dropFirst().drop { $0 == 0x20 })
    }

    /// Whether an unfinished line says of what kind its event is, or begins a document. `[DONE]` does neither, and some
    /// backends never end its line.
    private static func mayMatter(_ line: [UInt8]) -> Bool {
        for name in documents + [event] {
            if line.count <= name.count, name.starts(with: line) { return true }
            guard line.starts(with: name) else { continue }
            let first = value(line).first
            return name == event || first == nil || first == UInt8(ascii: "{")
        }
        return false
    }
}
