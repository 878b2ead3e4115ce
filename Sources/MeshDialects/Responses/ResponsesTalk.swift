package import MeshModel
import MeshWire

/// What is said over one WebSocket of the Responses API: frames of the buyer become requests as they would come over HTTP, and the
/// connection remembers its last response, so that the next request may name it and say only what is new.
///
/// That is all that is remembered, for as long as the connection lives: what would not fit a request any more is forgotten, and
/// its programs send the whole again.
package struct ResponsesTalk: Sendable {
    package enum Move: Hashable, Sendable {
        /// The body of a request.
        case ask([UInt8])
        /// Documents for the buyer; nobody is asked.
        case tell([[UInt8]])
        case nothing
    }

    /// A response that the next request may name, and what was said up to its end, as it stands in a list.
    private struct Turn: Sendable {
        var id: String
        var items: [UInt8]
    }

    private var last: Turn?
    /// What was said to the response that is on its way.
    private var asked: [UInt8]?
    private var number = 0
    private let mark: String

    /// - Parameter mark: tells the ids of this connection's own from others.
    package init(mark: String) { self.mark = mark }

    /// Whether a response is on its way.
    package var isBusy: Bool { asked != nil }
    package var heldBytes: Int { (last?.items.count ?? 0) + (asked?.count ?? 0) }

    /// There is no room for what was said.
    package mutating func forget() { last = nil }

    /// A text frame of the buyer.
    /// - Throws: `MeshError` for an error frame; the connection goes on.
    package mutating func took(_ frame: [UInt8]) throws(MeshError) -> Move {
        try frame.reading { bytes throws(MeshError) in
            guard let fields = try? JSONScanner.fields(of: bytes, depth: Limits.jsonDepth) else {
                throw MeshError(.invalidJSON, "the frame is not a valid JSON object")
            }
            switch fields.string("type", in: bytes) {
            case "response.create": return try create(fields, bytes)
            // That an item was seen; nobody here waits for it.
            case "response.processed": return .nothing
            case let type:
                throw MeshError(
                    .invalidRequest,
                    "frames of the type '\(ForeignWords.cleaned(type ?? "").prefix(64))' are not taken here; send 'response.create'",
                    parameter: "type")
            }
        }
    }

    private static let own: [StaticString] = [
        "type", "previous_response_id", "input", "stream", "generate", "event_id",
    ]

    private mutating func create(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) throws(MeshError) -> Move {
        guard asked == nil else {
            throw MeshError(
                .invalidRequest, "one response at a time: the one before has not ended; use another connection")
        }
        for name in Self.own where fields.countIgnoringCase(name, in: bytes) > 1 {
            throw MeshError(.invalidRequest, "the field '\(name)' stands in the frame twice", parameter: "\(name)")
        }
        var items = try earlier(fields, bytes)
        let new = try Self.items(of: fields.value("input", in: bytes), bytes)
        if !items.isEmpty, !new.isEmpty { items.append(UInt8(ascii: ",")) }
        items += new
        if fields.boolean("generate", in: bytes) == false { return warmUp(items, fields, bytes) }
        var body = Array("{".utf8)
        for field in fields where !Self.own.contains(where: { JSONText.equals(field.name, $0, in: bytes) }) {
            body += bytes[field.name.range]
            body.append(UInt8(ascii: ":"))
            body += bytes[field.value.range]
            body.append(UInt8(ascii: ","))
        }
        body += #""stream":true,"input":["#.utf8
        body += items
        body += "]}".utf8
        asked = items
        return .ask(body)
    }

    /// What was said before, where the frame names the response that ended last.
    private func earlier(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) throws(MeshError) -> [UInt8] {
        guard let named = fields.value("previous_response_id", in: bytes), named.kind != .null else { return [] }
        guard let last, fields.string("previous_response_id", in: bytes) == last.id else {
            throw MeshError(
                .previousResponseNotFound,
                "'previous_response_id' is not the response that ended last on this connection, and no other is remembered; send the whole conversation as 'input'",
                parameter: "previous_response_id")
        }
        return last.items
    }

    /// An input as it stands in a list.
    private static func items(of input: JSONSlice?, _ bytes: UnsafeRawBufferPointer) throws(MeshError) -> [UInt8] {
        guard let input else { return [] }
        switch input.kind {
        case .null: return []
        case .string:
            return Array(#"{"type":"message","role":"user","content":"#.utf8) + bytes[input.range] + Array("}".utf8)
        case .array:
            let inner = bytes[input.range].dropFirst().dropLast()
            return inner.allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) } ? [] : Array(inner)
        case .object, .number, .boolean:
            throw MeshError(.invalidRequest, "'input' has to be a text or a list", parameter: "input")
        }
    }

    /// Some programs say beforehand what they will ask with, so that the first answer comes sooner: it is remembered.
    private mutating func warmUp(_ items: [UInt8], _ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) -> Move {
        number += 1
        let id = "resp_\(mark)_\(number)"
        last = Turn(id: id, items: items)
        let model = fields.string("model", in: bytes) ?? ""
        let events = ["in_progress", "completed"].enumerated().map { number, status -> [UInt8] in
            let response: JSONValue = [
                "id": .string(id), "object": "response", "created_at": 0, "status": .string(status),
                "model": .string(model), "output": [], "store": false,
                "usage": [
                    "input_tokens": 0, "input_tokens_details": ["cached_tokens": 0], "output_tokens": 0,
                    "output_tokens_details": ["reasoning_tokens": 0], "total_tokens": 0,
                ],
            ]
            let type = number == 0 ? "response.created" : "response.completed"
            let event: JSONValue = [
                "type": .string(type), "sequence_number": .integer(number), "response": response,
            ]
            return event.bytes
        }
        return .tell(events)
    }

    // MARK: Answers

    /// An event on its way to the buyer.
    package mutating func told(_ event: [UInt8]) {
        guard let asked, Self.mayEnd(event) else { return }
        event.withUnsafeBytes { bytes in
            guard let fields = try? JSONScanner.fields(of: bytes),
                ["response.completed", "response.incomplete"].contains(fields.string("type", in: bytes)),
                let response = fields.value("response", in: bytes), response.kind == .object,
                let members = try? JSONScanner.fields(of: bytes, in: response.range),
                let id = members.string("id", in: bytes),
                let output = members.value("output", in: bytes), output.kind == .array
            else { return }
            let said = (try? Self.items(of: output, bytes)) ?? []
            let items = asked + (asked.isEmpty || said.isEmpty ? [] : [UInt8(ascii: ",")]) + said
            last = items.count <= Limits.requestBodyBytes ? Turn(id: id, items: items) : nil
        }
    }

    /// The answer is over, whichever way.
    package mutating func ended() { asked = nil }

    /// Its beginning tells nearly always; an event that does not say there what it is may be any.
    private static func mayEnd(_ event: [UInt8]) -> Bool {
        event.withUnsafeBytes { bytes in
            var at = 0
            while at + 20 <= min(bytes.count, 256) {
                defer { at += 1 }
                guard bytes[at] == 0x22, bytes[at + 1] == UInt8(ascii: "r") else { continue }
                let rest = UnsafeRawBufferPointer(rebasing: bytes[(at + 1)...])
                guard rest.starts(with: "response.".utf8) else { continue }
                let word = rest.dropFirst(9)
                return word.starts(with: "completed".utf8) || word.starts(with: "incomplete".utf8)
            }
            return bytes.count > 256
        }
    }

    /// An answer that is no stream, as a frame.
    /// - Parameter headers: those that programs act on.
    package static func error(_ body: [UInt8], status: Int, headers: [(name: String, value: String)]) -> [UInt8] {
        let error = (try? JSONValue.parse(body))?["error"]
        let frame: JSONValue = [
            "type": "error", "status": .integer(status),
            "error": error.flatMap { $0.members == nil ? nil : $0 }
                ?? [
                    "type": "server_error", "code": .null,
                    "message": .string("the request failed with status \(status)"),
                ],
            "headers": .object(headers.map { .init($0.name, .string($0.value)) }),
        ]
        return frame.bytes
    }
}
