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
        func number(_ names: StaticString..., of fields: [JSONField]) -> Int64? {
            for name in names {
                guard let slice = fields.value(name, in: bytes), slice.kind == .number else { continue }
                // A fraction of a token says nothing here; an exponent is nothing that somebody counted.
                let whole = bytes[slice.range].prefix { (0x30...0x39).contains($0) }
                guard (1...12).contains(whole.count), !bytes[slice.range].contains(where: { $0 | 0x20 == 0x65 })
                else { continue }
                return whole.reduce(Int64(0)) { $0 * 10 + Int64($1 - 0x30) }
            }
            return nil
        }
        promptTokens = number("prompt_tokens", "input_tokens", of: fields) ?? promptTokens
        // Messages counts what it had from a cache, or put there, beside the input.
        if let input = number("input_tokens", of: fields), number("prompt_tokens", of: fields) == nil {
            let read = number("cache_read_input_tokens", of: fields)
            promptTokens = input + (read ?? 0) + (number("cache_creation_input_tokens", of: fields) ?? 0)
            cachedTokens = read ?? cachedTokens
        }
        completionTokens = number("completion_tokens", "output_tokens", of: fields) ?? completionTokens
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
        tokensPerSecond = number("tokens_per_second", "tok_per_s", "throughput_tps", of: fields) ?? tokensPerSecond
    }

    /// Reads the `metrics` and the `usage` of an object.
    package mutating func readInside(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) {
        for name: StaticString in ["metrics", "usage"] {
            if let slice = fields.value(name, in: bytes) { read(slice, in: bytes) }
        }
    }
}
