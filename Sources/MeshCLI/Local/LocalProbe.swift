internal import Foundation
internal import MeshTopology

/// Asks one node as a buyer does.
struct LocalProbe {
    let baseURL: String
    let key: String

    /// The exit code of what may be there in a moment.
    static let unavailable: Int32 = 69

    /// Whether a listed model id is `provider/model`, alone or below `owner@node/`.
    static func names(_ id: String, provider: String, model: String) -> Bool {
        id == "\(provider)/\(model)" || id.hasSuffix("/\(provider)/\(model)")
    }

    func models(seconds: Int64 = 15) async throws -> [String] {
        let answer = try await HTTPExchange(url: "\(baseURL)/v1/models", bearer: key, seconds: seconds).run()
        guard answer.status == 200, let list = answer.json?["data"]?.elements else { throw refusal(answer) }
        return list.compactMap { $0["id"]?.text }
    }

    func chat(model: String, prompt: String) async throws -> String {
        let answer = try await exchange(model: model, prompt: prompt, stream: false).run()
        guard answer.status == 200, let text = answer.json?["choices"]?.elements.first?["message"]?["content"]?.text
        else { throw refusal(answer) }
        return text
    }

    /// The streamed text, told piece by piece, with the number of pieces it came in.
    func stream(model: String, prompt: String, piece: (String) -> Void) async throws -> (text: String, pieces: Int) {
        var reader = EventReader()
        var text = ""
        var pieces = 0
        var finished = false
        let status = try await exchange(model: model, prompt: prompt, stream: true).stream { bytes in
            for data in try reader.read(bytes) {
                if data == "[DONE]" {
                    finished = true
                } else if let json = JSONValue.parse(Array(data.utf8)) {
                    if let message = json["error"]?["message"]?.text { throw CommandFailure(Table.printable(message)) }
                    guard let content = json["choices"]?.elements.first?["delta"]?["content"]?.text, !content.isEmpty
                    else { continue }
                    text += content
                    pieces += 1
                    piece(content)
                }
            }
        }
        guard status == 200 else {
            throw CommandFailure("status \(status)", exitCode: status == 503 ? Self.unavailable : 1)
        }
        guard finished else { throw CommandFailure("the stream ended without [DONE]") }
        return (text, pieces)
    }

    private func exchange(model: String, prompt: String, stream: Bool) -> HTTPExchange {
        HTTPExchange(
            method: "POST", url: "\(baseURL)/v1/chat/completions", bearer: key,
            body: .object([
                "model": .string(model), "stream": .bool(stream), "max_tokens": .integer(48),
                "messages": .array([.object(["role": .string("user"), "content": .string(prompt)])]),
            ]), seconds: 60)
    }

    private func refusal(_ answer: HTTPExchange.Answer) -> CommandFailure {
        let message = answer.json?["error"]?["message"]?.text ?? "no OpenAI answer"
        return CommandFailure("status \(answer.status): \(Table.printable(message))")
    }
}

/// Cuts a byte stream into the data of server-sent events; lines may be split anywhere, also inside a character.
struct EventReader {
    /// An event longer than this is no chat answer.
    static let maximumLineBytes = 1 << 20
    private var line: [UInt8] = []

    mutating func read(_ bytes: [UInt8]) throws -> [String] {
        var events: [String] = []
        for byte in bytes {
            guard byte == 0x0A else {
                guard line.count < Self.maximumLineBytes else { throw CommandFailure("an event is longer than 1 MiB") }
                line.append(byte)
                continue
            }
            if line.last == 0x0D { line.removeLast() }
            let text = String(decoding: line, as: UTF8.self)
            if text.hasPrefix("data:") {
                let data = text.dropFirst(5)
                events.append(String(data.first == " " ? data.dropFirst() : data))
            }
            line.removeAll(keepingCapacity: true)
        }
        return events
    }
}
