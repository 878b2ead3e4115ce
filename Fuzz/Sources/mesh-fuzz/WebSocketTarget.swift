import MeshWire

/// Frames of a WebSocket: however the bytes are cut, the same messages come out of them, and none is larger than it may be.
enum WebSocketTarget {
    private static let limit = 600
    private static let fragments = 5

    private struct Said: Equatable {
        var opcode: WebSocketFrameHead.Opcode
        var bytes: [UInt8]
    }

    static func run(_ input: [UInt8]) {
        let (whole, fault) = read(input, by: input.count)
        for message in whole { expect(message.bytes.count <= limit, "a message over its limit") }
        for size in [1, 3, 64] where size < input.count {
            let (cut, other) = read(input, by: size)
            expect(cut == whole, "other messages when cut at \(size)")
            expect(other == fault, "another fault when cut at \(size)")
        }
    }

    private static func read(_ input: [UInt8], by size: Int) -> (said: [Said], fault: WebSocketFault?) {
        var cutter = WebSocketCutter(limit: limit, fragments: fragments)
        var (said, begun, held, next) = ([Said](), [UInt8](), [UInt8](), 0)
        while next < input.count {
            let end = min(next + max(size, 1), input.count)
            held += input[next..<end]
            next = end
            while !held.isEmpty {
                let cut = held.withUnsafeBytes { bytes in
                    Result { () throws(WebSocketFault) in try cutter.next(in: bytes) }
                }
                guard case .success(let found) = cut else { return (said, fault(of: cut)) }
                guard let (piece, used) = found else { break }
                expect(used <= held.count && piece.payload.upperBound <= used, "a piece beyond what came")
                expect(used > 0 || held.isEmpty, "nothing was read")
                var plain = [UInt8](repeating: 0, count: piece.payload.count)
                held.withUnsafeBytes { held in
                    plain.withUnsafeMutableBytes {
                        piece.mask.unmask(UnsafeRawBufferPointer(rebasing: held[piece.payload]), into: $0)
                    }
                }
                held.removeFirst(used)
                if piece.opcode.isControl {
                    said.append(Said(opcode: piece.opcode, bytes: plain))
                    continue
                }
                begun += plain
                guard piece.endsMessage else { continue }
                said.append(Said(opcode: piece.opcode, bytes: begun))
                begun = []
            }
        }
        return (said, nil)
    }

    private static func fault<Value>(of result: Result<Value, WebSocketFault>) -> WebSocketFault? {
        if case .failure(let fault) = result { fault } else { nil }
    }
}
