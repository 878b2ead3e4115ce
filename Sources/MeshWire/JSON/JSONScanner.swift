import MeshModel

package enum JSONKind: UInt8, Sendable {
    case object, array, string, number, boolean, null
}

/// Where a value lies in the scanned bytes. A string's range includes its quotes.
package struct JSONSlice: Hashable, Sendable {
    package var kind: JSONKind
    package var range: Range<Int>
    /// Whether a string holds escapes, so that its raw bytes are not its text.
    package var hasEscapes: Bool
}

package struct JSONField: Hashable, Sendable {
    package var name: JSONSlice
    package var value: JSONSlice
}

package struct JSONScanError: Error, Hashable, Sendable {
    package enum Reason: String, Sendable {
        case unexpectedByte = "unexpected byte"
        case unexpectedEnd = "unexpected end"
        case tooDeep = "nested too deeply"
        case invalidUTF8 = "invalid UTF-8"
        case notAnObject = "not a JSON object"
        case tooManyFields = "too many fields"
    }
    package var reason: Reason
    package var offset: Int

    package init(reason: Reason, offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    package var description: String { "\(reason.rawValue) at byte \(offset)" }
}

/// Validates JSON (RFC 8259, UTF-8 included) and says where the fields of the outermost object lie, without
/// building values: requests and answers are sliced and spliced as raw bytes, never decoded and encoded again.
///
/// The whole text is validated, because a buyer's body is spliced into an envelope: a body that ended early could
/// otherwise add fields to the envelope itself. What lies inside is passed over without recursion, so that a deep
/// answer costs no more than a flat one.
package struct JSONScanner {
    private let bytes: UnsafeRawBufferPointer
    private var position: Int
    private let end: Int
    private let deepest: Int

    private init(_ bytes: UnsafeRawBufferPointer, range: Range<Int>, deepest: Int) {
        self.bytes = bytes
        self.deepest = deepest
        position = max(range.lowerBound, 0)
        end = min(range.upperBound, bytes.count)
    }

    /// The fields of the one object that `bytes[range]` holds. At most 512 are listed.
    /// - Parameter depth: how deeply it may be nested.
    package static func fields(
        of bytes: UnsafeRawBufferPointer, in range: Range<Int>? = nil, depth: Int = Limits.jsonScanDepth
    ) throws(JSONScanError) -> [JSONField] {
        var scanner = JSONScanner(bytes, range: range ?? 0..<bytes.count, deepest: depth)
        scanner.skipSpace()
        guard scanner.peek() == UInt8(ascii: "{") else { throw scanner.error(.notAnObject) }
        let fields = try scanner.object(depth: 1)
        try scanner.ends()
        guard let fields else { throw scanner.error(.tooManyFields) }
        return fields
    }

    /// The same, and in the same pass the fields of the object in the field called `opened`, or of the first element of
    /// the list there: most of an answer stands in one such field, and would be passed over once more for what is in it.
    /// - Returns: `inner` is nil where there is no such field, or it holds no object, or one of more than 512 fields.
    package static func fields(
        of bytes: UnsafeRawBufferPointer, in range: Range<Int>? = nil, opening opened: StaticString,
        depth: Int = Limits.jsonScanDepth
    ) throws(JSONScanError) -> (fields: [JSONField], inner: [JSONField]?) {
        var scanner = JSONScanner(bytes, range: range ?? 0..<bytes.count, deepest: depth)
        scanner.skipSpace()
        guard scanner.peek() == UInt8(ascii: "{") else { throw scanner.error(.notAnObject) }
        var inner: [JSONField]?
        let fields = try scanner.object(depth: 1, opening: opened, &inner)
        try scanner.ends()
        guard let fields else { throw scanner.error(.tooManyFields) }
        return (fields, inner)
    }

    /// The elements of the one array that `bytes[range]` holds; at most `limit`.
    package static func elements(
        of bytes: UnsafeRawBufferPointer, in range: Range<Int>, limit: Int
    ) throws(JSONScanError) -> [JSONSlice] {
        var scanner = JSONScanner(bytes, range: range, deepest: Limits.jsonScanDepth)
        scanner.skipSpace()
        guard scanner.peek() == UInt8(ascii: "[") else { throw scanner.error(.unexpectedByte) }
        scanner.position += 1
        var elements: [JSONSlice] = []
        scanner.skipSpace()
        if scanner.peek() == UInt8(ascii: "]") { return elements }
        while true {
            scanner.skipSpace()
            guard elements.count < limit else { throw scanner.error(.tooManyFields) }
            elements.append(try scanner.value(depth: 2))
            scanner.skipSpace()
            guard let byte = scanner.peek() else { throw scanner.error(.unexpectedEnd) }
            scanner.position += 1
            if byte == UInt8(ascii: "]") { return elements }
            guard byte == UInt8(ascii: ",") else { throw scanner.error(.unexpectedByte) }
        }
    }

    /// Checks that `bytes[range]` is exactly one JSON value and says where it lies without surrounding space.
    package static func value(
        of bytes: UnsafeRawBufferPointer, in range: Range<Int>? = nil, depth: Int = Limits.jsonScanDepth
    ) throws(JSONScanError) -> JSONSlice {
        var scanner = JSONScanner(bytes, range: range ?? 0..<bytes.count, deepest: depth)
        scanner.skipSpace()
        let slice = try scanner.value(depth: 1)
        try scanner.ends()
        return slice
    }

    private mutating func ends() throws(JSONScanError) {
        skipSpace()
        guard position == end else { throw error(.unexpectedByte) }
    }

    private func error(_ reason: JSONScanError.Reason) -> JSONScanError {
        JSONScanError(reason: position < end ? reason : .unexpectedEnd, offset: position)
    }

    private func peek() -> UInt8? { position < end ? bytes[position] : nil }

    private mutating func skipSpace() {
        while position < end {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09: position += 1
            default: return
            }
        }
    }

    private mutating func value(depth: Int) throws(JSONScanError) -> JSONSlice {
        let start = position
        guard let byte = peek(), byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") else {
            let (kind, escapes) = try scalar()
            return JSONSlice(kind: kind, range: start..<position, hasEscapes: escapes)
        }
        try container(depth: depth)
        return JSONSlice(
            kind: byte == UInt8(ascii: "{") ? .object : .array, range: start..<position, hasEscapes: false)
    }

    /// Passes over a value that holds no others.
    private mutating func scalar() throws(JSONScanError) -> (kind: JSONKind, hasEscapes: Bool) {
        switch peek() {
        case UInt8(ascii: "\""): return (.string, try string())
        case UInt8(ascii: "t"): try literal("true")
        case UInt8(ascii: "f"): try literal("false")
        case UInt8(ascii: "n"):
            try literal("null")
            return (.null, false)
        default:
            try number()
            return (.number, false)
        }
        return (.boolean, false)
    }

    /// Passes over the object or list that begins here, with all that is in it.
    private mutating func container(depth: Int) throws(JSONScanError) {
        var open = Nesting()
        while true {
            // A value begins here.
            switch peek() {
            case UInt8(ascii: "{"):
                guard depth + open.count <= deepest else { throw error(.tooDeep) }
                position += 1
                skipSpace()
                guard peek() == UInt8(ascii: "}") else {
                    open.push(isObject: true)
                    try name()
                    continue
                }
                position += 1
            case UInt8(ascii: "["):
                guard depth + open.count <= deepest else { throw error(.tooDeep) }
                position += 1
                skipSpace()
                guard peek() == UInt8(ascii: "]") else {
                    open.push(isObject: false)
                    continue
                }
                position += 1
            default: _ = try scalar()
            }
            if try !nextBegins(in: &open) { return }
        }
    }

    /// Behind a value: closes what ends with it.
    /// - Returns: whether another value begins; false when the outermost container has ended.
    private mutating func nextBegins(in open: inout Nesting) throws(JSONScanError) -> Bool {
        while let isObject = open.last {
            skipSpace()
            guard let byte = peek() else { throw error(.unexpectedEnd) }
            if byte == UInt8(ascii: ",") {
                position += 1
                skipSpace()
                if isObject { try name() }
                return true
            }
            guard byte == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else { throw error(.unexpectedByte) }
            position += 1
            open.pop()
        }
        return false
    }

    /// Passes over a field's name and its colon, up to the value.
    private mutating func name() throws(JSONScanError) {
        guard peek() == UInt8(ascii: "\"") else { throw error(.unexpectedByte) }
        _ = try string()
        skipSpace()
        guard peek() == UInt8(ascii: ":") else { throw error(.unexpectedByte) }
        position += 1
        skipSpace()
    }

    /// Lists the fields of the object that begins here.
    /// - Returns: nil where they are too many; it was passed over to its end.
    private mutating func object(depth: Int) throws(JSONScanError) -> [JSONField]? {
        var inner: [JSONField]?
        return try object(depth: depth, opening: nil, &inner)
    }

    /// The same, and what is in the first field called `opened`.
    private mutating func object(
        depth: Int, opening opened: StaticString?, _ inner: inout [JSONField]?
    ) throws(JSONScanError) -> [JSONField]? {
        guard depth <= deepest else { throw error(.tooDeep) }
        var fields: [JSONField] = []
        position += 1
        skipSpace()
        if peek() == UInt8(ascii: "}") {
            position += 1
            return fields
        }
        fields.reserveCapacity(12)
        var opened = opened
        var isLong = false
        while true {
            skipSpace()
            guard peek() == UInt8(ascii: "\"") else { throw error(.unexpectedByte) }
            let nameStart = position
            let escapes = try string()
            let name = JSONSlice(kind: .string, range: nameStart..<position, hasEscapes: escapes)
            skipSpace()
            guard peek() == UInt8(ascii: ":") else { throw error(.unexpectedByte) }
            position += 1
            skipSpace()
            let value: JSONSlice
            if let wanted = opened, JSONText.equals(name, wanted, in: bytes) {
                opened = nil
                value = try self.value(depth: depth + 1, opening: &inner)
            } else {
                value = try self.value(depth: depth + 1)
            }
            if fields.count < 512 { fields.append(JSONField(name: name, value: value)) } else { isLong = true }
            skipSpace()
            guard let byte = peek() else { throw error(.unexpectedEnd) }
            guard byte == UInt8(ascii: "}") || byte == UInt8(ascii: ",") else { throw error(.unexpectedByte) }
            position += 1
            if byte == UInt8(ascii: "}") { return isLong ? nil : fields }
        }
    }

    /// Passes over a value, and lists the fields of the object that it is, or that its first element is.
    private mutating func value(
        depth: Int, opening inner: inout [JSONField]?
    ) throws(JSONScanError) -> JSONSlice {
        let start = position
        guard peek() == UInt8(ascii: "[") else {
            guard peek() == UInt8(ascii: "{") else { return try value(depth: depth) }
            inner = try object(depth: depth)
            return JSONSlice(kind: .object, range: start..<position, hasEscapes: false)
        }
        guard depth <= deepest else { throw error(.tooDeep) }
        position += 1
        skipSpace()
        guard peek() == UInt8(ascii: "{") else {
            position = start
            return try value(depth: depth)
        }
        inner = try object(depth: depth + 1)
        while true {
            skipSpace()
            guard let byte = peek() else { throw error(.unexpectedEnd) }
            guard byte == UInt8(ascii: "]") || byte == UInt8(ascii: ",") else { throw error(.unexpectedByte) }
            position += 1
            if byte == UInt8(ascii: "]") {
                return JSONSlice(kind: .array, range: start..<position, hasEscapes: false)
            }
            skipSpace()
            _ = try value(depth: depth + 1)
        }
    }

    private mutating func literal(_ text: StaticString) throws(JSONScanError) {
        for offset in 0..<text.utf8CodeUnitCount {
            guard position < end, bytes[position] == text.utf8Start[offset] else { throw error(.unexpectedByte) }
            position += 1
        }
    }

    private mutating func number() throws(JSONScanError) {
        if peek() == UInt8(ascii: "-") { position += 1 }
        if peek() == UInt8(ascii: "0") { position += 1 } else { try digits() }
        if peek() == UInt8(ascii: ".") {
            position += 1
            try digits()
        }
        if let byte = peek(), byte | 0x20 == UInt8(ascii: "e") {
            position += 1
            if let sign = peek(), sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
    }

    private mutating func digits() throws(JSONScanError) {
        let start = position
        while position < end, bytes[position] &- 0x30 < 10 { position += 1 }
        guard position > start else { throw error(.unexpectedByte) }
    }

    /// Passes over a string and says whether it holds escapes.
    private mutating func string() throws(JSONScanError) -> Bool {
        position += 1
        var escapes = false
        while true {
            position = Self.plainEnd(of: bytes, from: position, before: end)
            guard position < end else { throw error(.unexpectedEnd) }
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                return escapes
            }
            if byte == UInt8(ascii: "\\") {
                escapes = true
                try escape()
            } else if byte < 0x80 {
                throw error(.unexpectedByte)
            } else {
                let length = UTF8Rule.sequenceLength(bytes, at: position, end: end)
                guard length > 0 else { throw error(.invalidUTF8) }
                position += length
            }
        }
    }

    /// The first byte from `start` on that is not plain ASCII text of a string (a quote, a backslash, a control
    /// character, or a byte of a longer character); `end` where there is none. Eight bytes at a time: strings are most of
    /// a body.
    static func plainEnd(of bytes: UnsafeRawBufferPointer, from start: Int, before end: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var next = start
        while end &- next >= 8 {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: next, as: UInt64.self))
            // The highest bit of a byte is set by what is found there, or by a borrow from a byte below it, which is itself
            // a find: the lowest one is exact. A byte above 0x7F has it anyway.
            let found =
                ((word ^ ones &* 0x22) &- ones) | ((word ^ ones &* 0x5C) &- ones) | (word &- ones &* 0x20) | word
            let marks = found & (ones &* 0x80)
            guard marks == 0 else { return next &+ marks.trailingZeroBitCount / 8 }
            next &+= 8
        }
        while next < end {
            let byte = bytes[next]
            if byte == 0x22 || byte == 0x5C || byte < 0x20 || byte >= 0x80 { return next }
            next &+= 1
        }
        return end
    }

    /// The first byte from `start` on that stands in no JSON string without an escape; the end where there is none.
    static func escapedByte(of bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var next = start
        while bytes.count &- next >= 8 {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: next, as: UInt64.self))
            let found = ((word ^ ones &* 0x22) &- ones) | ((word ^ ones &* 0x5C) &- ones) | (word &- ones &* 0x20)
            let marks = found & ~word & (ones &* 0x80)
            guard marks == 0 else { return next &+ marks.trailingZeroBitCount / 8 }
            next &+= 8
        }
        while next < bytes.count {
            let byte = bytes[next]
            if byte == 0x22 || byte == 0x5C || byte < 0x20 { return next }
            next &+= 1
        }
        return next
    }

    private mutating func escape() throws(JSONScanError) {
        position += 1
        guard let byte = peek() else { throw error(.unexpectedEnd) }
        switch byte {
        case UInt8(ascii: "u"):
            for offset in 1...4 {
                guard position + offset < end, hexValue(bytes[position + offset]) != nil
                else { throw error(.unexpectedByte) }
            }
            position += 5
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 1
        default:
            throw error(.unexpectedByte)
        }
    }
}

/// Which of the containers that are open are objects, the innermost last: one bit each, the first 64 without an
/// allocation.
private struct Nesting {
    private(set) var count = 0
    private var word: UInt64 = 0
    private var outer: [UInt64] = []

    var last: Bool? { count == 0 ? nil : word & 1 == 1 }

    mutating func push(isObject: Bool) {
        if count > 0, count % 64 == 0 { outer.append(word) }
        word = word << 1 | (isObject ? 1 : 0)
        count += 1
    }

    mutating func pop() {
        count -= 1
        word >>= 1
        if count > 0, count % 64 == 0, let whole = outer.popLast() { word = whole }
    }
}

/// Well-formed UTF-8 as RFC 3629 section 4 tabulates it.
package enum UTF8Rule {
    /// Bytes of the well-formed multi-byte sequence at `start`, 0 when there is none.
    package static func sequenceLength(_ bytes: UnsafeRawBufferPointer, at start: Int, end: Int) -> Int {
        let first = bytes[start]
        let length: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch first {
        case 0xC2...0xDF: length = 2
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: length = 3
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        case 0xF1...0xF3: length = 4
        default: return 0
        }
        guard start + length <= end, second.contains(bytes[start + 1]) else { return 0 }
        var offset = 2
        while offset < length {
            guard bytes[start + offset] & 0xC0 == 0x80 else { return 0 }
            offset += 1
        }
        return length
    }
}
