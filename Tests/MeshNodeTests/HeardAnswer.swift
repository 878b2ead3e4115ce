import MeshWire

/// What a buyer heard of one answer, read without an HTTP library.
struct HeardAnswer: Sendable {
    var status = 0
    var contentType: String?
    var body: [UInt8] = []
    /// Whether the answer ended as HTTP says, and not with the connection.
    var isWhole = false

    var text: String { String(decoding: body, as: UTF8.self) }
    var errorCode: String? { (try? JSONValue.parse(body))?["error"]?["code"]?.text }
    var events: HeardEvents { HeardEvents(body) }

    /// Asks, and listens to the end.
    /// - Parameter soFar: is told what was heard whenever more came.
    static func to(
        _ buyer: Buyer, path: String, body: String, within seconds: Int = 90,
        soFar: (HeardAnswer) -> Void = { _ in }
    ) async throws -> HeardAnswer {
        let connection = try await RawConnection.open(port: buyer.port)
        defer { connection.close() }
        let started = ContinuousClock.now
        func elapsed() -> Int64 { Int64(started.duration(to: .now) / .milliseconds(1)) }
        connection.request(
            "POST", path, key: buyer.key, headers: ["content-type: application/json"], body: Array(body.utf8))
        var heard = HeardAnswer()
        var seen = -1
        while elapsed() < Int64(seconds) * 1_000 {
            let isClosed = connection.isClosed
            if connection.received != seen {
                seen = connection.received
                try heard.read(connection.pending)
                soFar(heard)
            }
            if heard.isWhole || isClosed { return heard }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw NotSeen(
            description: "the end of \(path) \(body.prefix(80)); so far \(heard.status) \(heard.text.prefix(300))")
    }

    private mutating func read(_ bytes: [UInt8]) throws {
        guard let (head, start) = try Reply.head(bytes) else { return }
        status = head.status
        contentType = head["content-type"]
        guard head.isChunked else {
            body = Array(bytes[start...])
            isWhole = head["content-length"] == String(body.count)
            return
        }
        body = []
        var at = start
        while let line = bytes[at...].firstIndex(of: 0x0D), line + 1 < bytes.count,
            let size = Int(String(decoding: bytes[at..<line], as: UTF8.self), radix: 16)
        {
            if size == 0 { isWhole = bytes.count >= line + 4 }
            guard size > 0 else { return }
            body += bytes[(line + 2)..<min(line + 2 + size, bytes.count)]
            at = line + 2 + size + 2
            guard at <= bytes.count else { return }
        }
    }
}

/// A stream of events as the strictest of buyers' programs read it: every blank line behind anything at all ends an
/// event, and every event must have data.
struct HeardEvents: CustomStringConvertible {
    var content = ""
    var finish: String?
    var ends = 0
    var errors: [String] = []
    /// Data that is no JSON.
    var broken: [String] = []
    var withoutData: [String] = []
    var comments: [String] = []
    var longest = 0
    /// Events behind the end marker or an error.
    var late = 0

    init(_ body: [UInt8]) {
        var block: [String] = []
        for line in body.split(separator: 0x0A, omittingEmptySubsequences: false) {
            guard line.isEmpty else {
                block.append(String(decoding: line, as: UTF8.self))
                continue
            }
            if !block.isEmpty { read(block) }
            block = []
        }
    }

    private mutating func read(_ block: [String]) {
        comments += block.filter { $0.hasPrefix(":") }
        let data = block.filter { $0.hasPrefix("data:") }.map { String($0.dropFirst($0.hasPrefix("data: ") ? 6 : 5)) }
        guard !data.isEmpty else { return withoutData.append(block.joined(separator: "\n")) }
        let text = data.joined(separator: "\n")
        longest = max(longest, text.utf8.count)
        if ends > 0 || !errors.isEmpty { late += 1 }
        if text == "[DONE]" {
            ends += 1
            return
        }
        guard let document = try? JSONValue.parse(Array(text.utf8)) else { return broken.append(text) }
        if let error = document["error"], error != .null {
            errors.append(error["code"]?.text ?? "none")
            return
        }
        for choice in document["choices"]?.elements ?? [] {
            content += choice["delta"]?["content"]?.text ?? choice["text"]?.text ?? ""
            finish = choice["finish_reason"]?.text ?? finish
        }
    }

    /// Whether it is a complete answer of these words, and nothing else.
    func isComplete(_ words: String) -> Bool {
        content == words && ends == 1 && errors.isEmpty && isClean
    }

    /// Whether it broke off, with one error as its last event.
    func isBroken(_ codes: [String]) -> Bool { ends == 0 && errors.count == 1 && codes.contains(errors[0]) && isClean }

    private var isClean: Bool { broken.isEmpty && withoutData.isEmpty && late == 0 }

    var description: String {
        "\"\(content.prefix(80))\" \(finish ?? "no finish") ends \(ends) errors \(errors) broken \(broken.map { $0.prefix(80) }) "
            + "without data \(withoutData) comments \(comments) late \(late) longest \(longest)"
    }
}
