import MeshWire

/// What a worker tells that this node keeps only to show it: one object as compact JSON text, within a bound. A text
/// and no tree, because thousands of idle sessions keep one each.
enum KeptJSON {
    /// One object of `members`, in their order; what does not fit in `limit` bytes is left out, and so is every
    /// registration token. Empty when nothing is left.
    static func object(_ members: [JSONValue.Member], limit: Int) -> [UInt8] {
        var output = [UInt8(ascii: "{")]
        for (index, member) in members.enumerated() {
            guard member.name != secret, !members[..<index].contains(where: { $0.name == member.name }) else {
                continue
            }
            let end = output.count
            if end > 1 { output.append(UInt8(ascii: ",")) }
            JSONText.appendQuoted(member.name.utf8, to: &output)
            output.append(UInt8(ascii: ":"))
            withoutSecrets(member.value).append(to: &output)
            // The closing brace needs its place.
            if output.count >= limit { output.removeSubrange(end...) }
        }
        return output.count > 1 ? output + [UInt8(ascii: "}")] : []
    }

    /// The members of a kept object.
    static func members(_ kept: [UInt8]) -> [JSONValue.Member] {
        kept.isEmpty ? [] : (try? JSONValue.parse(kept))?.members ?? []
    }

    /// `kept` with what `update` tells, member by member and as deep as both are objects.
    static func merged(_ kept: [UInt8], _ update: [UInt8], limit: Int) -> [UInt8] {
        guard !update.isEmpty, update != kept else { return kept }
        return object(merged(members(kept), members(update)), limit: limit)
    }

    private static func merged(_ old: [JSONValue.Member], _ update: [JSONValue.Member]) -> [JSONValue.Member] {
        var members = old
        for member in update {
            guard let position = members.firstIndex(where: { $0.name == member.name }) else {
                members.append(member)
                continue
            }
            if let inner = members[position].value.members, let newer = member.value.members {
                members[position].value = .object(merged(inner, newer))
            } else {
                members[position].value = member.value
            }
        }
        return members
    }

    private static let secret = "registration_token"

    private static func withoutSecrets(_ value: JSONValue) -> JSONValue {
        switch value {
        case .null, .boolean, .number, .string: value
        case .array(let elements): .array(elements.map(withoutSecrets))
        case .object(let members):
            .object(
                members.filter { $0.name != secret }.map { JSONValue.Member($0.name, withoutSecrets($0.value)) })
        }
    }
}
