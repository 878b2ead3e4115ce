import MeshModel
import MeshUpstream
import MeshWire
import NIOCore

/// What the demo backend has beside chat: enough of every kind of answer (JSON, binary, uploads, progress) to try a
/// mesh with, computed and not learned.
extension DemoBackend {
    package var endpoints: [String] {
        [
            "v1/embeddings", "v1/images/generations", "v1/audio/speech", "v1/audio/transcriptions", "v1/files",
            "v1/video/progress",
        ]
    }

    typealias Delivery = @Sendable (BackendPart) async throws -> Void

    func media(_ request: BackendRequest, _ deliver: Delivery) async throws {
        let segments = request.path.split(separator: "/").map(String.init)
        switch (request.method, segments) {
        case ("POST", ["embeddings"]): try await embeddings(request, deliver)
        case ("POST", ["images", "generations"]): try await image(deliver)
        case ("POST", ["audio", "speech"]): try await speech(request, deliver)
        case ("POST", ["audio", "transcriptions"]): try await transcription(request, deliver)
        case ("POST", ["files"]): try await upload(request, deliver)
        case ("GET", ["video", "progress"]): try await progress(deliver)
        case ("GET", let path) where path.count == 3 && path[0] == "files" && path[2] == "content":
            try await file(path[1], deliver)
        default:
            let message = "the demo backend has no \(request.method) /v1\(request.path)"
            try await refuse(404, "endpoint_not_offered", message, deliver)
        }
    }

    private func document(_ request: BackendRequest) -> JSONValue {
        (try? JSONValue.parse(request.body.map { Array($0.readableBytesView) } ?? [])) ?? .null
    }

    /// Eight numbers per text, from its bytes alone.
    private func embeddings(_ request: BackendRequest, _ deliver: Delivery) async throws {
        let body = document(request)
        guard let input = body["input"] else {
            return try await refuse(400, "invalid_request", "input is missing", deliver)
        }
        let texts = input.elements?.compactMap(\.text) ?? input.text.map { [$0] } ?? []
        let data = texts.prefix(256).enumerated().map { index, text -> JSONValue in
            var hash: UInt64 = 0xCBF2_9CE4_8422_2325
            let vector = (0..<8).map { lane -> JSONValue in
                for byte in text.utf8 { hash = (hash ^ UInt64(byte) ^ UInt64(lane)) &* 0x100_0000_01B3 }
                return .number("0.\(String(hash % 900_000 + 100_000))")
            }
            return ["object": "embedding", "index": .integer(index), "embedding": .array(vector)]
        }
        let words = texts.reduce(0) { $0 + $1.split(separator: " ").count }
        try await answer(
            200,
            [
                "object": "list", "model": .string(body["model"]?.text ?? ""), "data": .array(data),
                "usage": ["prompt_tokens": .integer(words), "total_tokens": .integer(words)],
            ], deliver)
    }

    /// A PNG of one grey pixel.
    private func image(_ deliver: Delivery) async throws {
        let pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
        try await answer(200, ["created": 0, "data": [["b64_json": .string(pixel)]]], deliver)
    }

    /// A WAV tone: half a second per word, 8,000 samples per second of one byte.
    private func speech(_ request: BackendRequest, _ deliver: Delivery) async throws {
        let words = (document(request)["input"]?.text ?? "").split(separator: " ").count
        let samples = min(max(words, 1), 2_000) * 4_000
        var header = ByteBuffer()
        header.writeString("RIFF")
        header.writeInteger(UInt32(36 + samples), endianness: .little)
        header.writeString("WAVEfmt ")
        header.writeInteger(16 as UInt32, endianness: .little)
        for value: UInt16 in [1, 1] { header.writeInteger(value, endianness: .little) }
        for value: UInt32 in [8_000, 8_000] { header.writeInteger(value, endianness: .little) }
        for value: UInt16 in [1, 8] { header.writeInteger(value, endianness: .little) }
        header.writeString("data")
        header.writeInteger(UInt32(samples), endianness: .little)
        try await deliver(.head(status: 200, headers: [], contentType: "audio/wav", length: 44 + samples))
        try await deliver(.body(header))
        try await pattern(samples, deliver)
    }

    /// What arrived: the size of the form's file.
    private func transcription(_ request: BackendRequest, _ deliver: Delivery) async throws {
        guard let file = try await file(in: request) else {
            return try await refuse(400, "invalid_request", "a form with a file is needed", deliver)
        }
        let text = "The demo backend heard \(file.size) bytes of \(file.name)."
        try await answer(200, ["text": .string(text)], deliver)
    }

    /// Keeps nothing but the size: the file that comes back has as many bytes, and not the same ones.
    private func upload(_ request: BackendRequest, _ deliver: Delivery) async throws {
        guard let file = try await file(in: request) else {
            return try await refuse(400, "invalid_request", "a form with a file is needed", deliver)
        }
        try await answer(
            200,
            [
                "id": .string("demo-\(file.size)"), "object": "file", "bytes": .integer(file.size), "created_at": 0,
                "filename": .string(file.name), "purpose": "assistants",
            ], deliver)
    }

    /// The first file of the request's form, read to its end; nil when there is none or the form is broken.
    private func file(in request: BackendRequest) async throws -> (name: String, size: Int)? {
        guard let boundary = MultipartForm.boundary(contentType: request.contentType),
            var scanner = try? MultipartScanner(boundary: boundary, watching: [])
        else { return nil }
        var found: (name: String, size: Int)?
        func read(_ bytes: ByteBuffer) -> Bool {
            guard let events = try? bytes.withUnsafeReadableBytes({ try scanner.feed($0) }) else { return false }
            for case .fileEnded(_, let filename, let range) in events where found == nil {
                found = (filename, range.count)
            }
            return true
        }
        if let upload = request.upload {
            for try await piece in upload { guard read(piece) else { return nil } }
        } else {
            guard read(request.body ?? ByteBuffer()) else { return nil }
        }
        return found
    }

    private func progress(_ deliver: Delivery) async throws {
        try await deliver(.head(status: 200, headers: [], contentType: "text/event-stream"))
        for percent in stride(from: 0, through: 100, by: 25) {
            let event: JSONValue = ["progress": .integer(percent)]
            try await deliver(.body(ByteBuffer(bytes: Array("data: ".utf8) + event.bytes + Array("\n\n".utf8))))
        }
    }

    /// `demo-<n>`: n bytes that count up, to see how a mesh carries what is large.
    private func file(_ name: String, _ deliver: Delivery) async throws {
        guard name.hasPrefix("demo-"), let size = Int(name.dropFirst(5)), (0...(1 << 32)).contains(size) else {
            return try await refuse(404, "not_found", "the demo backend has the files demo-<bytes>", deliver)
        }
        try await deliver(.head(status: 200, headers: [], contentType: "application/octet-stream", length: size))
        try await pattern(size, deliver)
    }

    private static let blockBytes = 64 << 10

    private func pattern(_ size: Int, _ deliver: Delivery) async throws {
        let block = ByteBuffer(bytes: (0..<Self.blockBytes).map { UInt8(truncatingIfNeeded: $0) })
        var left = size
        while left > 0 {
            try Task.checkCancellation()
            try await deliver(.body(block.getSlice(at: 0, length: min(left, Self.blockBytes)) ?? block))
            left -= min(left, Self.blockBytes)
        }
    }
}
