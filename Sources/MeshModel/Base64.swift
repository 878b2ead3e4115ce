/// RFC 4648 base64 with padding, one spelling per value.
///
/// Whole frames of a worker (`Limits.workerFrameBytes`) go through here, so both directions look characters up in a
/// table and write straight into the result.
package enum Base64 {
    private static let padding: UInt8 = 0x3D
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    /// The six bits of each character, 0xFF where it is none.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0xFF, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()

    package static func text(_ bytes: [UInt8]) -> [UInt8] {
        let size = textCount(bytes.count)
        return [UInt8](unsafeUninitializedCapacity: size) { output, count in
            bytes.withUnsafeBytes { encode($0, into: output) }
            count = size
        }
    }

    /// Appends the text form of `bytes` to `output`.
    package static func append(_ bytes: [UInt8], to output: inout [UInt8]) {
        bytes.withUnsafeBytes { append($0, to: &output) }
    }

    /// Appends the text form of `bytes` to `output`.
    package static func append(_ bytes: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        // Growth stays with the array, which doubles: a reservation per call would make many small calls quadratic.
        let piece = 3_072
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: textCount(min(piece, bytes.count))) { buffer in
            var start = 0
            while start < bytes.count {
                let end = min(start + piece, bytes.count)
                let text = UnsafeMutableBufferPointer(rebasing: buffer[..<textCount(end - start)])
                encode(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), into: text)
                output.append(contentsOf: UnsafeBufferPointer(text))
                start = end
            }
        }
    }

    /// Nil for characters outside the alphabet, missing padding and stray bits.
    package static func bytes(_ text: some Collection<UInt8>) -> [UInt8]? {
        if let decoded = text.withContiguousStorageIfAvailable({ decode($0) }) { return decoded }
        return Array(text).withUnsafeBufferPointer { decode($0) }
    }

    /// Characters that `count` bytes come to, padding included.
    private static func textCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    /// - Parameter output: exactly `textCount(bytes.count)` bytes, all of which are written.
    private static func encode(_ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableBufferPointer<UInt8>) {
        alphabet.withUnsafeBufferPointer { alphabet in
            let whole = bytes.count / 3 * 3
            var index = 0
            var position = 0
            while index < whole {
                let group = UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2])
                output.initializeElement(at: position, to: alphabet[Int(group >> 18)])
                output.initializeElement(at: position + 1, to: alphabet[Int(group >> 12 & 63)])
                output.initializeElement(at: position + 2, to: alphabet[Int(group >> 6 & 63)])
                output.initializeElement(at: position + 3, to: alphabet[Int(group & 63)])
                index += 3
                position += 4
            }
            guard index < bytes.count else { return }
            let second = index + 1 < bytes.count ? bytes[index + 1] : 0
            let group = UInt32(bytes[index]) << 16 | UInt32(second) << 8
            output.initializeElement(at: position, to: alphabet[Int(group >> 18)])
            output.initializeElement(at: position + 1, to: alphabet[Int(group >> 12 & 63)])
            let third = index + 1 < bytes.count ? alphabet[Int(group >> 6 & 63)] : padding
            output.initializeElement(at: position + 2, to: third)
            output.initializeElement(at: position + 3, to: padding)
        }
    }

    private static func decode(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        var pads = 0
        while pads < min(3, text.count), text[text.count - 1 - pads] == padding { pads += 1 }
        guard pads <= 2 else { return nil }
        let size = text.count / 4 * 3 - pads
        var isValid = true
        let output = [UInt8](unsafeUninitializedCapacity: size) { output, count in
            isValid = decode(text, pads: pads, into: output)
            count = isValid ? size : 0
        }
        return isValid ? output : nil
    }

    /// - Parameter output: as many bytes as the text stands for; all of them are written where the result is true.
    private static func decode(
        _ text: UnsafeBufferPointer<UInt8>, pads: Int, into output: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        values.withUnsafeBufferPointer { values in
            let whole = pads == 0 ? text.count : text.count - 4
            // What is no character of the alphabet sets the upper bits, and they stay set.
            var seen: UInt8 = 0
            var index = 0
            var position = 0
            while index < whole {
                let (first, second) = (values[Int(text[index])], values[Int(text[index + 1])])
                let (third, fourth) = (values[Int(text[index + 2])], values[Int(text[index + 3])])
                seen |= first | second | third | fourth
                output.initializeElement(at: position, to: first << 2 | second >> 4)
                output.initializeElement(at: position + 1, to: second << 4 | third >> 2)
                output.initializeElement(at: position + 2, to: third << 6 | fourth)
                index += 4
                position += 3
            }
            guard pads > 0 else { return seen < 64 }
            let (first, second) = (values[Int(text[index])], values[Int(text[index + 1])])
            let third = pads == 1 ? values[Int(text[index + 2])] : 0
            seen |= first | second | third
            output.initializeElement(at: position, to: first << 2 | second >> 4)
            if pads == 1 { output.initializeElement(at: position + 1, to: second << 4 | third >> 2) }
            let stray = pads == 1 ? third & 3 : second & 15
            return seen < 64 && stray == 0
        }
    }
}
