package import MeshModel

/// What a stream says beside its bytes: a request's path and fields, an answer's status and fields, or the fields behind
/// a body.
package struct StreamFields: Sendable {
    /// 100 to 599; 0 where it is not an answer's head.
    package var status: Int
    /// Of a request; empty elsewhere.
    package var path: String
    /// Names in lower case.
    package var fields: [HeaderField]

    package init(status: Int = 0, path: String = "", _ fields: [HeaderField] = []) {
        self.status = status
        self.path = path
        self.fields = fields
    }

    /// Status (2 bytes), path (2 bytes of length), and each field: a byte with the length of its name, two with that of
    /// its value, both texts. Nil when it is more than a peer would take.
    package var bytes: [UInt8]? {
        guard fields.count <= Limits.linkFields, path.utf8.count <= Limits.linkHeaderBytes else { return nil }
        var size = 4 + path.utf8.count
        for field in fields {
            guard field.name.utf8.count <= 0xFF, field.value.utf8.count <= 0xFFFF else { return nil }
            size += 3 + field.name.utf8.count + field.value.utf8.count
        }
        guard size <= Limits.linkHeaderBytes else { return nil }
        return [UInt8](size: size) { bytes in
            func put(_ number: Int) {
                bytes.put(UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number))
            }
            put(status)
            put(path.utf8.count)
            bytes.put(path)
            for field in fields {
                bytes.put(UInt8(truncatingIfNeeded: field.name.utf8.count))
                put(field.value.utf8.count)
                bytes.put(field.name)
                bytes.put(field.value)
            }
        }
    }

    /// Strict: names are tokens in lower case, values have no control bytes, nothing is left over.
    package init(_ bytes: UnsafeRawBufferPointer) throws(StreamFault) {
        var rest = Cursor(bytes: bytes)
        status = try rest.number(2)
        guard status == 0 || (100...599).contains(status) else { throw .fields }
        path = try rest.text(rest.number(2), where: Self.isPath)
        fields = []
        fields.reserveCapacity(16)
        while !rest.isEmpty {
            guard fields.count < Limits.linkFields else { throw .fields }
            let nameLength = try rest.number(1)
            let valueLength = try rest.number(2)
            guard nameLength > 0 else { throw .fields }
            let name = try rest.name(nameLength)
            fields.append(HeaderField(name, try rest.value(valueLength)))
        }
    }

    private static func isPath(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F }

    /// RFC 9110 section 5.6.2, without capitals.
    private static func isName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    private static func isValue(_ byte: UInt8) -> Bool { byte >= 0x20 && byte != 0x7F || byte == 0x09 }

    private struct Cursor {
        var bytes: UnsafeRawBufferPointer
        var at = 0

        var isEmpty: Bool { at == bytes.count }

        mutating func number(_ width: Int) throws(StreamFault) -> Int {
            guard bytes.count - at >= width else { throw .fields }
            var number = 0
            for index in at..<(at + width) { number = number << 8 | Int(bytes[index]) }
            at += width
            return number
        }

        mutating func name(_ length: Int) throws(StreamFault) -> String {
            if bytes.count - at >= length,
                let known = KnownNames.name(UnsafeRawBufferPointer(rebasing: bytes[at..<(at + length)]))
            {
                at += length
                return known
            }
            return try text(length, where: StreamFields.isName)
        }

        mutating func value(_ length: Int) throws(StreamFault) -> String {
            guard bytes.count - at >= length else { throw .fields }
            let part = UnsafeRawBufferPointer(rebasing: bytes[at..<(at + length)])
            guard part.isPrintableASCII else { return try text(length, where: StreamFields.isValue) }
            at += length
            return String(decoding: part, as: UTF8.self)
        }

        mutating func text(_ length: Int, where isGood: (UInt8) -> Bool) throws(StreamFault) -> String {
            guard bytes.count - at >= length else { throw .fields }
            let part = UnsafeRawBufferPointer(rebasing: bytes[at..<(at + length)])
            at += length
            var isASCII = true
            for byte in part {
                guard isGood(byte) else { throw .fields }
                isASCII = isASCII && byte < 0x80
            }
            // What cannot be wrong needs no slow check.
            if isASCII { return String(decoding: part, as: UTF8.self) }
            guard let text = String(validating: part, as: UTF8.self) else { throw .fields }
            return text
        }
    }

    /// The names that every forward and its answer have: found again they need neither a check nor memory of their own.
    private enum KnownNames {
        private static let all = [
            "content-type", "content-length", "te", "content-digest", "aisbf-payload-digest", "aisbf-request-id",
            "aisbf-attempt", "aisbf-dest", "aisbf-principal", "aisbf-spend", "aisbf-max-hops", "signature-input",
            "signature", "aisbf-deadline-first", "aisbf-deadline-idle", "aisbf-deadline-total", "aisbf-payload-length",
            "aisbf-end", "aisbf-totals", "aisbf-worker", "aisbf-error", "aisbf-cause", "aisbf-message", "retry-after",
        ]
        /// By their length.
        private static let byLength = (0...24).map { length in all.filter { $0.utf8.count == length } }

        static func name(_ bytes: UnsafeRawBufferPointer) -> String? {
            guard bytes.count < byLength.count else { return nil }
            for known in byLength[bytes.count] {
                let isSame = known.utf8.withContiguousStorageIfAvailable {
                    UnsafeRawBufferPointer($0).isSame(as: bytes)
                }
                if isSame ?? false { return known }
            }
            return nil
        }
    }
}
