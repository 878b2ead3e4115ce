package import MeshModel

extension JSONValue {
    /// The same with every text in it cleaned; names of members stay.
    package func cleaned(by words: PublicWords) -> JSONValue {
        switch self {
        case .string(let text): .string(words.cleaned(text))
        case .array(let elements): .array(elements.map { $0.cleaned(by: words) })
        case .object(let members): .object(members.map { Member($0.name, $0.value.cleaned(by: words)) })
        case .null, .boolean, .number: self
        }
    }

    /// A document without what is private in its texts: byte for byte where nothing is. Nil for what is none.
    package static func cleaned(_ document: [UInt8], by words: PublicWords) -> [UInt8]? {
        guard let value = try? parse(document) else { return nil }
        let cleaned = value.cleaned(by: words)
        return cleaned == value ? document : cleaned.bytes
    }
}
