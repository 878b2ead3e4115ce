package import MeshModel
package import MeshWire

/// The members of a request that are the broker's business and no worker's: read where they are there, and left out of what
/// goes on, because a backend refuses what it does not know.
///
/// Most requests have none of them. Finding that out costs a comparison of lengths for each member, and nothing is decoded.
package struct RoutingFields: Sendable {
    package private(set) var provider: JSONValue?
    package private(set) var models: JSONValue?
    package private(set) var session: JSONValue?
    /// `aisbf`
    package private(set) var own: JSONValue?
    /// The bytes that are left out, in their order: what remains is a JSON object again.
    package private(set) var cuts: [Range<Int>] = []

    private static let names: [StaticString] = ["provider", "models", "session_id", "route", "aisbf"]

    /// - Parameters:
    ///   - fields: of the request's outermost object, as scanned in `bytes`.
    ///   - ownOnly: whether only `aisbf` is the broker's: the endpoints of one kind of worker have members of the other names.
    /// - Returns: nil where there is none.
    /// - Throws: `MeshError` that names the member at fault.
    package init?(
        _ fields: [JSONField], in bytes: UnsafeRawBufferPointer, ownOnly: Bool = false
    ) throws(MeshError) {
        var places: [Int] = []
        for (place, field) in fields.enumerated() {
            guard let name = Self.name(field, in: bytes, ownOnly: ownOnly) else { continue }
            // `route` of another meaning is somebody else's.
            if name == "route", !Self.isFallback(field.value, in: bytes) { continue }
            guard fields.countIgnoringCase(Self.names[Self.index(of: name)], in: bytes) == 1 else {
                throw MeshError(.invalidRequest, "the field '\(name)' stands in the body twice", parameter: name)
            }
            try take(name, field.value, bytes)
            places.append(place)
        }
        if places.isEmpty { return nil }
        cuts = Self.cuts(of: places, among: fields)
    }

    private static func index(of name: String) -> Int { names.firstIndex { "\($0)" == name } ?? 0 }

    private static func name(_ field: JSONField, in bytes: UnsafeRawBufferPointer, ownOnly: Bool) -> String? {
        // With its quotes; a name with escapes is longer.
        guard field.name.hasEscapes || [7, 8, 10, 12].contains(field.name.range.count) else { return nil }
        for name in names where !ownOnly || "\(name)" == "aisbf" {
            if JSONText.equals(field.name, name, in: bytes) { return "\(name)" }
        }
        return nil
    }

    private static func isFallback(_ value: JSONSlice, in bytes: UnsafeRawBufferPointer) -> Bool {
        value.kind == .null || (value.kind == .string && JSONText.equals(value, "fallback", in: bytes))
    }

    private mutating func take(
        _ name: String, _ slice: JSONSlice, _ bytes: UnsafeRawBufferPointer
    ) throws(MeshError) {
        guard slice.range.count <= Limits.routingFieldBytes else {
            throw MeshError(
                .invalidRequest, "'\(name)' is larger than \(Limits.routingFieldBytes >> 10) KiB", parameter: name)
        }
        let value: JSONValue
        do throws(JSONScanError) { value = try JSONValue.parse(bytes, in: slice.range) } catch {
            throw MeshError(.invalidRequest, "'\(name)' cannot be read: \(error.description)", parameter: name)
        }
        switch name {
        case "provider": provider = value
        case "models": models = value
        case "session_id": session = value
        case "aisbf": own = value
        default: break
        }
    }

    /// With each member goes one comma: the one before it, or where nothing is kept before it, the one behind.
    private static func cuts(of places: [Int], among fields: [JSONField]) -> [Range<Int>] {
        var cuts: [Range<Int>] = []
        var kept: Int?
        for (place, field) in fields.enumerated() {
            guard places.contains(place) else {
                kept = field.value.range.upperBound
                continue
            }
            let isLast = place + 1 == fields.count
            let begin = kept ?? field.name.range.lowerBound
            let end = kept != nil || isLast ? field.value.range.upperBound : fields[place + 1].name.range.lowerBound
            if let last = cuts.last, last.upperBound >= begin {
                cuts[cuts.count - 1] = last.lowerBound..<max(end, last.upperBound)
            } else {
                cuts.append(begin..<end)
            }
        }
        return cuts
    }

    /// The ranges of `range` that go on.
    package func kept(of range: Range<Int>) -> [Range<Int>] {
        var kept: [Range<Int>] = []
        var begin = range.lowerBound
        for cut in cuts where cut.upperBound > range.lowerBound && cut.lowerBound < range.upperBound {
            if cut.lowerBound > begin { kept.append(begin..<cut.lowerBound) }
            begin = max(begin, cut.upperBound)
        }
        if begin < range.upperBound { kept.append(begin..<range.upperBound) }
        return kept
    }
}
