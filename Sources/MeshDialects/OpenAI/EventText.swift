/// JSON documents as server-sent events (WHATWG HTML, section 9.2).
package enum EventText {
    /// The line of an event that carries a JSON document. Line breaks in JSON text can only be space between its tokens,
    /// but in an event they would end the `data` field.
    package static func line(_ json: [UInt8]) -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(json.count + 8)
        line.append(contentsOf: "data: ".utf8)
        line.append(contentsOf: json.lazy.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 })
        return line
    }

    package static func event(_ json: [UInt8]) -> [UInt8] { line(json) + [0x0A, 0x0A] }

    /// The same with a name.
    package static func event(_ name: String, _ json: [UInt8]) -> [UInt8] {
        Array("event: \(name)\n".utf8) + event(json)
    }
}
