package import MeshDialects
package import MeshModel
import MeshWire

extension WorkerAnswer {
    /// What a chunk event carries; nil when it is damaged, or so cut up that lists in lists make millions of pieces.
    package static func pieces(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> [AnswerPiece]? {
        guard let content = content(frame, in: bytes) else { return nil }
        var pieces: [AnswerPiece] = []
        if content.kind == .object {
            guard let fields = frame.fields(of: content, in: bytes) else { return nil }
            return readObject(content, fields, in: bytes, depth: 0, into: &pieces) ? pieces : nil
        }
        return read(content, in: bytes, depth: 0, into: &pieces) ? pieces : nil
    }

    private static func read(
        _ slice: JSONSlice, in bytes: UnsafeRawBufferPointer, depth: Int, into pieces: inout [AnswerPiece]
    ) -> Bool {
        guard depth < 4, pieces.count < Limits.chunkPieces else { return false }
        switch slice.kind {
        case .string: pieces.append(.text(JSONText.unescaped(slice, in: bytes)))
        case .null: break
        case .number, .boolean, .array: pieces.append(.json(Array(bytes[slice.range])))
        case .object:
            guard let fields = try? JSONScanner.fields(of: bytes, in: slice.range) else { return false }
            return readObject(slice, fields, in: bytes, depth: depth, into: &pieces)
        }
        return true
    }

    private static func readObject(
        _ slice: JSONSlice, _ fields: [JSONField], in bytes: UnsafeRawBufferPointer, depth: Int,
        into pieces: inout [AnswerPiece]
    ) -> Bool {
        if let chunks = fields.value("chunks", in: bytes), chunks.kind == .array {
            guard let elements = try? JSONScanner.elements(of: bytes, in: chunks.range, limit: Limits.chunkPieces)
            else { return false }
            return elements.allSatisfy { read($0, in: bytes, depth: depth + 1, into: &pieces) }
        }
        let isBase64 = fields.string("encoding", in: bytes) == "base64"
        if let inner = fields.value("chunk", in: bytes) {
            if isBase64, inner.kind == .string { return readBase64(inner, in: bytes, into: &pieces) }
            return read(inner, in: bytes, depth: depth + 1, into: &pieces)
        }
        if let encoded = fields.value("data_base64", in: bytes), encoded.kind == .string {
            return readBase64(encoded, in: bytes, into: &pieces)
        }
        if let data = fields.value("data", in: bytes) {
            if data.kind == .string {
                if isBase64 { return readBase64(data, in: bytes, into: &pieces) }
                pieces.append(.text(JSONText.unescaped(data, in: bytes)))
                return true
            }
            // An object in an envelope that holds nothing else; a list there is OpenAI's own form of an answer.
            let others = fields.count - fields.count("data", in: bytes) - fields.count("sequence", in: bytes)
            if data.kind == .object, others == 0 { return read(data, in: bytes, depth: depth + 1, into: &pieces) }
        }
        pieces.append(.json(Array(bytes[slice.range])))
        return true
    }

    private static func readBase64(
        _ slice: JSONSlice, in bytes: UnsafeRawBufferPointer, into pieces: inout [AnswerPiece]
    ) -> Bool {
        guard let decoded = Base64.bytes(JSONText.unescaped(slice, in: bytes)) else { return false }
        pieces.append(.bytes(decoded))
        return true
    }

    /// The type of a stream of bytes: as its first chunk gives it in the payload, else told from how it begins.
    package static func chunkType(
        _ frame: WorkerFrame?, _ pieces: [AnswerPiece], in bytes: UnsafeRawBufferPointer
    ) -> String {
        if let frame, let payload = frame.payload, let fields = frame.fields(of: payload, in: bytes),
            let type = contentType(fields, bytes)
        {
            return type
        }
        switch pieces.first {
        case .bytes: return "application/octet-stream"
        case .json, nil: return "application/json"
        case .text(let text):
            if AnswerStart.judge(text, isWhole: true) == .events { return "text/event-stream" }
            let first = text.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
            return first == 0x7B || first == 0x5B || first == nil ? "application/json" : "text/plain"
        }
    }

    /// What the event that ends an answer carries besides.
    package enum Ending: Hashable, Sendable {
        case nothing
        case pieces([AnswerPiece])
        /// The answer itself.
        case whole(WholeAnswer)
        case failure(MeshError)
        case unreadable
    }

    /// Reads a `done` event. Some workers put the whole answer into it, wrapped or plain, some a last chunk, and most
    /// only how the work went.
    package static func ending(
        _ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer, usage: inout UsageReading
    ) -> Ending {
        guard let payload = content(frame, in: bytes) else { return .nothing }
        if payload.kind == .array, payload.range.count > 2 { return .whole(plain(payload, bytes)) }
        guard let fields = frame.fields(of: payload, in: bytes) else { return .nothing }
        if fields.value("status_code", in: bytes) != nil {
            return whole(frame, in: bytes, usage: &usage).map { .whole($0) } ?? .unreadable
        }
        usage.read(fields, in: bytes)
        usage.readInside(fields, in: bytes)
        if carriesChunk(fields, in: bytes) { return pieces(frame, in: bytes).map { .pieces($0) } ?? .unreadable }
        if fields.value("choices", in: bytes) == nil, let failure = AnswerFailure(fields, in: bytes) {
            return .failure(failure.error())
        }
        let isReport = fields.allSatisfy { field in
            reports.contains { JSONText.equals(field.name, $0, in: bytes) }
        }
        return isReport ? .nothing : .whole(plain(payload, bytes))
    }

    /// Whether the event that ends an answer says why it is complete.
    static func tellsFinish(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) -> Bool {
        guard let payload = content(frame, in: bytes), let fields = frame.fields(of: payload, in: bytes) else {
            return false
        }
        return !(fields.string("finish_reason", in: bytes) ?? "").isEmpty
    }

    private static func carriesChunk(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) -> Bool {
        if fields.value("chunks", in: bytes)?.kind == .array { return true }
        if fields.value("data_base64", in: bytes)?.kind == .string { return true }
        let chunk = fields.value("chunk", in: bytes)?.kind
        return chunk == .string || chunk == .object
    }

    /// Fields that say how the work went, and are no answer by themselves.
    private static let reports: [StaticString] = [
        "usage", "metrics", "timings", "stats", "latency_ms", "elapsed_ms", "duration_ms", "prompt_tokens",
        "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "tokens_per_second", "tok_per_s",
        "throughput_tps", "sequence", "status", "message", "ok", "done", "event", "finish_reason", "request_id",
        "chunk", "chunks", "error", "code", "progress", "percent",
    ]
}
