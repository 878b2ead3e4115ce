import MeshModel
import MeshWire

/// Frames of `aisbf-link/1`: what is read is written the same, and no order of frames lets more through than was asked for.
enum StreamFramesTarget {
    static func run(_ input: [UInt8]) {
        fields(input)
        var ledgers = [StreamLedger(.link), StreamLedger(.opener), StreamLedger(.answerer)]
        for index in ledgers.indices { walk(input, &ledgers[index]) }
    }

    private static func fields(_ bytes: [UInt8]) {
        guard let fields = bytes.withUnsafeBytes({ try? StreamFields($0) }) else { return }
        expect(fields.fields.count <= Limits.linkFields, "too many fields")
        guard bytes.count <= Limits.linkHeaderBytes else { return }
        expect(fields.bytes == bytes, "fields that are written otherwise than they were read")
    }

    /// The heads that stand in the input, one behind the other, as if they came on one stream.
    private static func walk(_ input: [UInt8], _ ledger: inout StreamLedger) {
        var received = 0
        var granted = Limits.linkStreamWindowBytes
        for start in stride(from: 0, to: input.count - 7, by: 8) {
            let raw = input[start..<(start + 8)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            guard let head = try? StreamFrameHead(raw: raw) else { continue }
            expect(head.raw == raw, "a head that is written otherwise than it was read")
            let number = Int(raw & 0xFFFF)
            do throws(StreamFault) {
                switch head.kind {
                case .open, .ping, .pong, .leave: break
                case .fields: try ledger.read(fieldsOf: number % 600, isLast: head.isLast)
                case .data:
                    try ledger.read(bytes: head.length, isLast: head.isLast)
                    received += head.length
                    if let credit = ledger.dealt(with: head.length) { granted += credit }
                case .credit: try ledger.read(credit: number)
                case .cancel: _ = ledger.write(bytes: number, isLast: head.isLast)
                }
            } catch {
                continue
            }
            expect(received <= granted, "more came than was asked for")
            expect((0...Limits.linkStreamWindowBytes).contains(ledger.credit), "credit out of bounds")
        }
    }
}
