import MeshModel
package import MeshWire

/// Token counts and speed, wherever a worker puts them: beside the answer, in its payload, in the `usage` or `metrics`
/// of either, or in the last event of a stream. What stands further inside wins.
///
/// A worker's own latency is not among them: this node has its own clock, and a worker must not be able to lie itself
/// faster.
package struct UsageReading: Hashable, Sendable {
    package var promptTokens: Int64?
    package var cachedTokens: Int64?
    package var completionTokens: Int64?
    /// Those of them that were thought.
    package var reasoningTokens: Int64?
    package var totalTokens: Int64?
    package var tokensPerSecond: Int64?

    package init() {}

    /// Takes over what `slice`, an object, tells; what it does not tell stays.
    package mutating func read(_ slice: JSONSlice, in bytes: UnsafeRawBufferPointer) {
        guard slice.kind == .object, let fields = try? JSONScanner.fields(of: bytes, in: slice.range) else { return }
        read(fields, in: bytes)
    }

    package mutating func read(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) {
        guard Self.mayTell(fields, in: bytes) else { return }
        func number(_ name: StaticString, of fields: [JSONField]) -> Int64? {
            guard let slice = fields.value(name, in: bytes), slice.kind == .number else { return nil }
            return Self.number(slice, in: bytes)
        }
        if let prompt = number("prompt_tokens", of: fields) {
            promptTokens = prompt
        } else if let input = number("input_tokens", of: fields) {
            // Messages counts what it had from a cache, or put there, beside the input.
            let read = number("cache_read_input_tokens", of: fields)
            promptTokens = input + (read ?? 0) + (number("cache_creation_input_tokens", of: fields) ?? 0)
            cachedTokens = read ?? cachedTokens
        }
        completionTokens =
            number("completion_tokens", of: fields) ?? number("output_tokens", of: fields) ?? completionTokens
        for name: StaticString in ["prompt_tokens_details", "input_tokens_details"] {
            guard let details = fields.value(name, in: bytes), details.kind == .object,
                let inner = try? JSONScanner.fields(of: bytes, in: details.range)
            else { continue }
            cachedTokens = number("cached_tokens", of: inner) ?? cachedTokens
        }
        for name: StaticString in ["completion_tokens_details", "output_tokens_details"] {
            guard let details = fields.value(name, in: bytes), details.kind == .object,
                let inner = try? JSONScanner.fields(of: bytes, in: details.range)
            else { continue }
            reasoningTokens = number("reasoning_tokens", of: inner) ?? reasoningTokens
        }
        totalTokens = number("total_tokens", of: fields) ?? totalTokens
        tokensPerSecond =
            number("tokens_per_second", of: fields) ?? number("tok_per_s", of: fields)
            ?? number("throughput_tps", of: fields) ?? tokensPerSecond
    }

    /// A fraction of a token says nothing here; an exponent is nothing that somebody counted, nor are more than twelve
    /// digits.
    private static func number(_ slice: JSONSlice, in bytes: UnsafeRawBufferPointer) -> Int64? {
        var value: Int64 = 0
        var position = slice.range.lowerBound
        while position < slice.range.upperBound, bytes[position] &- 0x30 < 10 {
            guard position - slice.range.lowerBound < 12 else { return nil }
            value = value * 10 + Int64(bytes[position] - 0x30)
            position += 1
        }
        guard position > slice.range.lowerBound,
            !bytes[position..<slice.range.upperBound].contains(where: { $0 | 0x20 == 0x65 })
        else { return nil }
        return value
    }

    /// Whether any name could be one of those that are looked for: most objects that are asked have none.
    private static func mayTell(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) -> Bool {
        fields.contains { field in
            let name = field.name
            guard !name.hasEscapes else { return true }
            switch (name.range.count - 2, bytes[name.range.upperBound - 2]) {
            case (9, UInt8(ascii: "s")), (12..., UInt8(ascii: "s")), (17, UInt8(ascii: "d")): return true
            default: return false
            }
        }
    }

    /// Reads the `metrics` and the `usage` of an object.
    package mutating func readInside(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) {
        for name: StaticString in ["metrics", "usage"] {
            if let slice = fields.value(name, in: bytes) { read(slice, in: bytes) }
        }
    }
}
