import MeshModel
package import MeshWire

/// How a request was routed, told inside the answer in OpenRouter's shape to who asked for it (`x-openrouter-metadata`).
package struct RouterMetadata: Sendable {
    package struct Endpoint: Hashable, Sendable {
        package var model: String
        package var provider: String

        package init(model: String, provider: String) {
            self.model = model
            self.provider = provider
        }
    }

    package static let header = "x-openrouter-metadata"
    package static let name = "openrouter_metadata"

    /// The model as it was asked for.
    package var requested: String
    package var strategy: String
    package var available: [Endpoint]

    package init(requested: String, strategy: String, available: [Endpoint]) {
        self.requested = requested
        self.strategy = strategy
        self.available = available
    }

    /// - Parameters:
    ///   - served: who answered.
    ///   - attempt: its number, from 1.
    package func document(
        served: Endpoint?, status: Int, attempt: Int, region: String, milliseconds: Int64
    ) -> JSONValue {
        let name = served.map { "\($0.provider)/\($0.model)" } ?? "none"
        return [
            "requested": .string(requested), "strategy": .string(strategy),
            "region": region.isEmpty ? .null : .string(region),
            "summary": .string("available=\(available.count), selected=\(name)"), "attempt": .integer(attempt),
            "attempts": .array(
                served.map {
                    [["provider": .string($0.provider), "model": .string($0.model), "status": .integer(status)]]
                } ?? []),
            "endpoints": [
                "total": .integer(available.count),
                "available": .array(
                    available.map {
                        [
                            "model": .string($0.model), "provider": .string($0.provider),
                            "selected": .boolean($0 == served),
                        ]
                    }),
            ],
            "params": [:], "pipeline": [], "is_byok": false, "generation_time": .integer(milliseconds),
        ]
    }

    /// As the last chunk of a stream of completions, without a choice, as that of `usage` is.
    package static func chunk(_ document: JSONValue) -> [UInt8] {
        let chunk: JSONValue = ["object": "chat.completion.chunk", "choices": [], "openrouter_metadata": document]
        return EventText.event(chunk.bytes)
    }
}

/// Adds a member to a JSON object that passes in pieces: holds back what may be the object's end until it is.
package struct ObjectTail: Sendable {
    private var held: [UInt8] = []
    /// The last byte that passed and was no white space; nil before the first.
    private var last: UInt8?
    private var isObject: Bool?

    package init() {}

    /// What of the object may pass now.
    package mutating func pass(_ bytes: some Collection<UInt8>) -> [UInt8] {
        var all = held + bytes
        held = []
        if isObject == nil { isObject = all.first { !Self.isSpace($0) }.map { $0 == UInt8(ascii: "{") } }
        guard isObject ?? true else { return all }
        if let end = all.lastIndex(where: { !Self.isSpace($0) }), all[end] == UInt8(ascii: "}") {
            held = Array(all[end...])
            all.removeSubrange(end...)
        }
        last = all.last { !Self.isSpace($0) } ?? last
        return all
    }

    /// The end of the object, with the member in it; what was held where it is no object.
    package mutating func end(adding name: String, _ value: JSONValue) -> [UInt8] {
        defer { held = [] }
        guard isObject ?? false, !held.isEmpty else { return held }
        let comma: [UInt8] = last == UInt8(ascii: "{") ? [] : [UInt8(ascii: ",")]
        return comma + JSONValue.string(name).bytes + [UInt8(ascii: ":")] + value.bytes + held
    }

    /// What was held, where nothing is added after all.
    package mutating func end() -> [UInt8] {
        defer { held = [] }
        return held
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
