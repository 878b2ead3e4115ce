package import MeshModel

/// A JSON value as a tree, for the small documents that are read once (capabilities, administration) and for
/// answers this program writes itself. Requests and completions are sliced instead (`JSONScanner`).
package enum JSONValue: Hashable, Sendable {
    case null
    case boolean(Bool)
    /// The number's own spelling, so that nothing is rounded on the way through.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([Member])

    package struct Member: Hashable, Sendable {
        package var name: String
        package var value: JSONValue

        package init(_ name: String, _ value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    package static func integer(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }

    /// Parses one complete document.
    package static func parse(_ bytes: [UInt8]) throws(JSONScanError) -> JSONValue {
        try bytes.reading { raw throws(JSONScanError) in try parse(raw, in: 0..<raw.count) }
    }

    package static func parse(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>) throws(JSONScanError) -> JSONValue
    {
        // A tree is built by recursion, so here the depth counts.
        try JSONTree.value(of: JSONScanner.value(of: bytes, in: range, depth: Limits.jsonDepth), in: bytes)
    }

    /// The member called `name`, nil where this is no object or has none.
    package subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    package var text: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    package var elements: [JSONValue]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    package var members: [Member]? {
        guard case .object(let members) = self else { return nil }
        return members
    }

    package var flag: Bool? {
        guard case .boolean(let flag) = self else { return nil }
        return flag
    }

    /// The number without its fraction, nil where this is none or does not fit.
    package var integer: Int64? {
        guard case .number(let text) = self else { return nil }
        return Self.integer(ofNumberText: text.utf8)
    }

    /// Reads the integer part of a JSON number; exponents are refused, because nothing here is that large. Other modules
    /// get it for their own kinds of bytes: asked through the protocol, each digit would cost as much as the rest.
    @inlinable
    package static func integer(ofNumberText text: some Collection<UInt8>) -> Int64? {
        var value: Int64 = 0
        let negative = text.first == UInt8(ascii: "-")
        for byte in negative ? text.dropFirst() : text[...] {
            if byte == UInt8(ascii: ".") { break }
            guard byte &- 0x30 < 10 else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow2) = product.addingReportingOverflow(Int64(byte - 0x30))
            guard !overflow, !overflow2 else { return nil }
            value = sum
        }
        return negative ? -value : value
    }

    package var bytes: [UInt8] {
        var output: [UInt8] = []
        append(to: &output)
        return output
    }

    package func append(to output: inout [UInt8]) {
        switch self {
        case .null: output.append(contentsOf: "null".utf8)
        case .boolean(let flag): output.append(contentsOf: (flag ? "true" : "false").utf8)
        case .number(let text): output.append(contentsOf: text.utf8)
        case .string(let text): JSONText.appendQuoted(text.utf8, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.append(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                JSONText.appendQuoted(member.name.utf8, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.append(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(booleanLiteral value: Bool) { self = .boolean(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(elements.map { Member($0.0, $0.1) })
    }
    package init(nilLiteral: ()) { self = .null }

    /// A string, or null for nil.
    package static func optional(_ text: String?) -> JSONValue { text.map(JSONValue.string) ?? .null }
    package static func strings(_ texts: [String]) -> JSONValue { .array(texts.map(JSONValue.string)) }
}

extension MeshError {
    /// OpenAI's error object, the only form in which a buyer sees a failure.
    package func document(requestID: String?) -> JSONValue {
        var error: [JSONValue.Member] = [
            .init("message", .string(message)), .init("type", .string(code.type)),
            .init("param", .optional(parameter)), .init("code", .string(code.rawValue)),
        ]
        if let requestID { error.append(.init("request_id", .string(requestID))) }
        return .object([.init("error", .object(error))])
    }
}
