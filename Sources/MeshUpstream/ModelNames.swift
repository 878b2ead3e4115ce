package import MeshModel
import MeshWire
import NIOCore

/// What is sold under another name than the upstream has for it.
package struct ModelNames: Hashable, Sendable {
    private let renamed: [RenamedModel]

    package init(_ renamed: [RenamedModel] = []) { self.renamed = renamed }

    /// Every name of its own under which something is sold.
    package var sold: [String] { renamed.map(\.sold) }

    /// What the upstream calls what is sold as `name`.
    package func upstream(of name: String) -> String { renamed.first { $0.sold == name }?.upstream ?? name }

    /// Under which names the upstream's model is sold: those that were given to it, else its own, unless that was given
    /// to another.
    package func names(of model: String) -> [String] {
        let given = renamed.filter { $0.upstream == model }.map(\.sold)
        guard given.isEmpty else { return given }
        return renamed.contains { $0.sold == model } ? [] : [model]
    }
}

extension ModelNames {
    /// A JSON body with `model` in the place of the model that it names.
    static func body(_ bytes: ByteBuffer, naming model: String) -> ByteBuffer {
        let range = bytes.withUnsafeReadableBytes { buffer in
            (try? JSONScanner.fields(of: buffer))?.value("model", in: buffer).map(\.range)
        }
        guard let range else { return bytes }
        let view = bytes.readableBytesView
        var body = ByteBufferAllocator().buffer(capacity: bytes.readableBytes + model.utf8.count)
        body.writeBytes(view.prefix(range.lowerBound))
        body.writeBytes(JSONValue.string(model).bytes)
        body.writeBytes(view.dropFirst(range.upperBound))
        return body
    }
}

/// Puts the name under which a model was sold in the place of the upstream's, in documents and in events, wherever they
/// are cut: only in a member `model` whose value is that name as a whole. Within a text such a member would be escaped.
package struct ModelRenaming: Sendable {
    private enum Match {
        case no
        /// Not enough has come to tell.
        case open
        /// The value, between its quotes.
        case value(Range<Int>)
    }

    /// Spellings of the value: a slash may be escaped.
    private let values: [[UInt8]]
    private let replacement: [UInt8]
    private var held: [UInt8] = []

    private static let member = Array(#""model""#.utf8)
    private static let spaces = 8

    /// Nil where nothing has to be put anywhere.
    package init?(from upstream: String, to sold: String) {
        guard upstream != sold else { return nil }
        let plain = Self.escaped(upstream)
        let slashed = plain.flatMap { $0 == UInt8(ascii: "/") ? Array(#"\/"#.utf8) : [$0] }
        values = plain == slashed ? [plain] : [plain, slashed]
        replacement = Self.escaped(sold)
    }

    private static func escaped(_ text: String) -> [UInt8] {
        text.utf8.flatMap { byte -> [UInt8] in
            byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") ? [UInt8(ascii: "\\"), byte] : [byte]
        }
    }

    /// What can be passed on by now.
    package mutating func take(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        held += bytes
        var output: [UInt8] = []
        output.reserveCapacity(held.count)
        var at = 0
        scan: while at < held.count {
            guard held[at] == UInt8(ascii: "\"") else {
                output.append(held[at])
                at += 1
                continue
            }
            switch match(at) {
            case .no:
                output.append(held[at])
                at += 1
            case .open: break scan
            case .value(let range):
                output += held[at..<range.lowerBound]
                output += replacement
                at = range.upperBound
            }
        }
        held.removeFirst(at)
        return output
    }

    /// What is left at the end.
    package mutating func finish() -> [UInt8] {
        defer { held = [] }
        return held
    }

    private func match(_ start: Int) -> Match {
        let rest = held[start...]
        guard rest.count > Self.member.count else {
            return Self.member.starts(with: rest) ? .open : .no
        }
        guard rest.starts(with: Self.member) else { return .no }
        var at = start + Self.member.count
        for mark in [UInt8(ascii: ":"), UInt8(ascii: "\"")] {
            var passed = 0
            while at < held.count, held[at] == 0x20, passed < Self.spaces {
                at += 1
                passed += 1
            }
            guard at < held.count else { return .open }
            guard held[at] == mark else { return .no }
            at += 1
        }
        var isOpen = false
        for value in values {
            let quoted = value + [UInt8(ascii: "\"")]
            let there = held[at...].prefix(quoted.count)
            if there.elementsEqual(quoted) { return .value(at..<(at + value.count)) }
            isOpen = isOpen || (there.count < quoted.count && quoted.starts(with: there))
        }
        return isOpen ? .open : .no
    }
}
