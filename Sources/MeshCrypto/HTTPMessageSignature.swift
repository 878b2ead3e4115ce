package import MeshModel

/// RFC 9421 HTTP Message Signatures, as far as Ed25519 over named components needs it.
package enum HTTPMessageSignature {
    /// Signature parameters in the order they stand in (section 2.3); absent ones are nil.
    package struct Parameters: Hashable, Sendable {
        package var created: Int64?
        package var expires: Int64?
        package var nonce: String?
        package var keyID: String?
        package var algorithm: String?
        package var tag: String?

        package init(
            created: Int64? = nil, expires: Int64? = nil, nonce: String? = nil, keyID: String? = nil,
            algorithm: String? = nil, tag: String? = nil
        ) {
            self.created = created
            self.expires = expires
            self.nonce = nonce
            self.keyID = keyID
            self.algorithm = algorithm
            self.tag = tag
        }
    }

    /// A parsed `Signature-Input` with one member.
    package struct Input: Hashable, Sendable {
        package var label: String
        package var components: [String]
        package var parameters: Parameters
        /// The member's value as it was sent, which is what `@signature-params` is (section 2.5).
        package var serialized: String
    }

    /// `("a" "b");created=1;…`: the value of the `Signature-Input` member and of `@signature-params`. Texts must be
    /// printable ASCII without quotes and backslashes; the mesh signs nothing else.
    package static func serialize(components: [String], parameters: Parameters) -> String {
        serialize(list: list(components), parameters: parameters)
    }

    /// `("a" "b")`.
    package static func list(_ components: [String]) -> String {
        "(" + components.map { "\"\($0)\"" }.joined(separator: " ") + ")"
    }

    /// - Parameter list: the components, as `list` writes them.
    package static func serialize(list: String, parameters: Parameters) -> String {
        let texts = [list, parameters.nonce, parameters.keyID, parameters.algorithm, parameters.tag]
        // Two numbers of at most twenty digits, and 64 bytes of names.
        let size = texts.reduce(128) { $0 + ($1?.utf8.count ?? 0) }
        // As bytes: a text that is put together from texts looks at each of them anew.
        let text = [UInt8](size: size) { text in
            func add(_ name: String, _ value: String?) {
                guard let value else { return }
                text.put(name)
                text.put(value)
            }
            func addQuoted(_ name: String, _ value: String?) {
                guard value != nil else { return }
                add(name, value)
                text.put(0x22)
            }
            text.put(list)
            add(";created=", parameters.created.map { String($0) })
            add(";expires=", parameters.expires.map { String($0) })
            addQuoted(";nonce=\"", parameters.nonce)
            addQuoted(";keyid=\"", parameters.keyID)
            addQuoted(";alg=\"", parameters.algorithm)
            addQuoted(";tag=\"", parameters.tag)
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The signature base of section 2.5.
    package static func base(components: [HeaderField], serialized: String) -> [UInt8] {
        let last = "\"@signature-params\": "
        let size = components.reduce(last.utf8.count + serialized.utf8.count) {
            $0 + $1.name.utf8.count + $1.value.utf8.count + 5
        }
        return [UInt8](size: size) { bytes in
            for component in components {
                bytes.put(0x22)
                bytes.put(component.name)
                bytes.put("\": ")
                bytes.put(component.value)
                bytes.put(0x0A)
            }
            bytes.put(last)
            bytes.put(serialized)
        }
    }

    /// Both header values of a signature labelled `label`.
    package static func sign(
        components: [HeaderField], parameters: Parameters, label: String, signer: some MessageSigner
    ) -> (input: String, signature: String) {
        let serialized = serialize(components: components.map(\.name), parameters: parameters)
        let signature = signer.sign(base(components: components, serialized: serialized))
        return (label + "=" + serialized, header(signature: signature, label: label))
    }

    /// The value of a `Signature` header with one member.
    package static func header(signature: [UInt8], label: String) -> String { member(label, signature) }

    /// A member of a dictionary whose value is bytes: `label=:base64:` (RFC 8941, sections 3.2 and 3.3.5).
    static func member(_ label: String, _ bytes: [UInt8]) -> String {
        let encoded = Base64.text(bytes)
        let text = [UInt8](size: label.utf8.count + encoded.count + 3) { text in
            text.put(label)
            text.put("=:")
            encoded.withUnsafeBytes { text.put($0) }
            text.put(0x3A)
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes in a `Signature` header whose only member is `label`.
    package static func parseSignature(_ header: String, label: String) -> [UInt8]? {
        let prefix = label + "=:"
        guard header.utf8.count <= Limits.signatureHeaderBytes, header.hasPrefix(prefix), header.utf8.last == 0x3A,
            header.utf8.count > prefix.utf8.count
        else { return nil }
        return Base64.bytes(header.utf8.dropFirst(prefix.utf8.count).dropLast())
    }

    /// Strict: one member, plain component names, each parameter at most once, only known ones, no spare space.
    /// - Parameters:
    ///   - list: how the components that are expected are listed, as `list` writes them.
    ///   - components: those components: where the list is exactly this one, they need not be read one by one.
    package static func parseInput(
        _ header: String, expecting list: String = "", _ components: [String] = []
    ) -> Input? {
        guard header.utf8.count <= Limits.signatureHeaderBytes else { return nil }
        var reader = InputReader(Array(header.utf8))
        guard let label = reader.key(), reader.take(0x3D) else { return nil }
        let start = reader.index
        guard let components = !list.isEmpty && reader.take(text: list) ? components : reader.innerList(),
            let parameters = reader.parameters(), reader.isAtEnd
        else { return nil }
        return Input(
            label: label, components: components, parameters: parameters,
            serialized: reader.text(from: start))
    }
}

/// Reads the part of RFC 8941 that `Signature-Input` uses. Every step is bounded by the header's length.
private struct InputReader {
    let bytes: [UInt8]
    private(set) var index = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { index == bytes.count }
    private var next: UInt8? { index < bytes.count ? bytes[index] : nil }

    mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        index += 1
        return true
    }

    /// Passes over `text`, where exactly that follows.
    mutating func take(text: String) -> Bool {
        let isThere = text.utf8.withContiguousStorageIfAvailable { wanted in
            bytes.count - index >= wanted.count
                && bytes.withUnsafeBytes { bytes in
                    UnsafeRawBufferPointer(rebasing: bytes[index..<(index + wanted.count)])
                        .isSame(as: UnsafeRawBufferPointer(wanted))
                }
        }
        guard isThere ?? false else { return false }
        index += text.utf8.count
        return true
    }

    /// What stands from `start` up to here.
    func text(from start: Int) -> String {
        bytes.withUnsafeBytes { String(decoding: UnsafeRawBufferPointer(rebasing: $0[start..<index]), as: UTF8.self) }
    }

    /// Lower-case letters first, then also digits and `-_.*`.
    mutating func key() -> String? {
        let start = index
        guard let first = next, (0x61...0x7A).contains(first) || first == 0x2A else { return nil }
        while let byte = next, Self.isInKey(byte) { index += 1 }
        return text(from: start)
    }

    private static func isInKey(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x61...0x7A, 0x30...0x39, 0x2D, 0x5F, 0x2E, 0x2A: true
        default: false
        }
    }

    /// Escapes are refused: nothing the mesh signs needs them.
    mutating func string() -> String? {
        guard take(0x22) else { return nil }
        let start = index
        while let byte = next, byte != 0x22 {
            guard (0x20...0x7E).contains(byte), byte != 0x5C else { return nil }
            index += 1
        }
        let text = text(from: start)
        return take(0x22) ? text : nil
    }

    mutating func integer() -> Int64? {
        let start = index
        while let byte = next, (0x30...0x39).contains(byte) { index += 1 }
        guard index > start, index - start <= 15 else { return nil }
        return bytes[start..<index].reduce(0) { $0 * 10 + Int64($1 - 0x30) }
    }

    mutating func innerList() -> [String]? {
        guard take(0x28) else { return nil }
        var items: [String] = []
        if take(0x29) { return items }
        while true {
            guard let item = string() else { return nil }
            items.append(item)
            if take(0x29) { return items }
            guard take(0x20) else { return nil }
        }
    }

    mutating func parameters() -> HTTPMessageSignature.Parameters? {
        var parameters = HTTPMessageSignature.Parameters()
        while take(0x3B) {
            guard let name = key(), take(0x3D), set(name, in: &parameters) else { return nil }
        }
        return parameters
    }

    /// False for an unknown or repeated name or a value of the wrong kind.
    private mutating func set(_ name: String, in parameters: inout HTTPMessageSignature.Parameters) -> Bool {
        switch name {
        case "created": Self.fill(&parameters.created, integer())
        case "expires": Self.fill(&parameters.expires, integer())
        case "nonce": Self.fill(&parameters.nonce, string())
        case "keyid": Self.fill(&parameters.keyID, string())
        case "alg": Self.fill(&parameters.algorithm, string())
        case "tag": Self.fill(&parameters.tag, string())
        default: false
        }
    }

    private static func fill<Value>(_ slot: inout Value?, _ value: Value?) -> Bool {
        guard slot == nil, let value else { return false }
        slot = value
        return true
    }
}
