internal import MeshModel
internal import SwiftProtobuf

/// Link frames on a byte stream: four bytes of length, big-endian, then the protobuf message.
package enum LinkFrameCodec {
    package static let prefixBytes = 4

    /// What is wrong with bytes that are no link frame; the link is closed.
    package enum Failure: String, Error, CaseIterable, Sendable {
        case oversize
        case empty
        case malformed
        /// More list entries than this node handles at once.
        case tooMany = "too_many"
    }

    /// Prefix and message; nil for a frame that is larger than any peer would take.
    package static func bytes(of frame: Aisbf_Mesh_V1_LinkFrame) -> [UInt8]? {
        let message = RecordBody.bytes(of: frame)
        guard message.count <= Limits.linkFrameBytes, !message.isEmpty else { return nil }
        return UInt32(message.count).bigEndianBytes + message
    }

    /// One message without its prefix.
    package static func decode(_ message: [UInt8]) -> Result<Aisbf_Mesh_V1_LinkFrame, Failure> {
        guard message.count <= Limits.linkFrameBytes else { return .failure(.oversize) }
        var options = BinaryDecodingOptions()
        options.messageDepthLimit = 8
        // A frame goes no further: fields of a newer version would only take memory while it waits.
        options.discardUnknownFields = true
        guard let frame = try? Aisbf_Mesh_V1_LinkFrame(serializedBytes: message, options: options) else {
            return .failure(.malformed)
        }
        guard let kind = frame.kind else { return .failure(.malformed) }
        return isBounded(kind) ? .success(frame) : .failure(.tooMany)
    }

    private static func isBounded(_ kind: Aisbf_Mesh_V1_LinkFrame.OneOf_Kind) -> Bool {
        switch kind {
        case .push(let push): push.records.count <= Limits.linkPushRecords
        case .announce(let announce): announce.records.count <= Limits.linkFrameSummaries
        case .want(let want): want.keys.count <= Limits.linkFrameSummaries
        case .syncRanges(let sync):
            sync.ranges.count <= Limits.linkFrameRanges
                && sync.ranges.reduce(0) { $0 + $1.list.records.count } <= Limits.linkFrameSummaries
        case .syncNeed(let need): need.keys.count <= Limits.linkFrameSummaries
        case .syncRecords(let records): records.records.count <= Limits.linkFrameRecords
        case .peers(let peers): peers.descriptors.count <= Limits.linkFrameRecords
        case .hello, .helloProof, .syncOpen, .drain, .goodbye: true
        }
    }

    /// Cuts frames out of bytes as they arrive. Holds at most one frame beyond what was last appended.
    package struct Decoder: Sendable {
        private var buffer: [UInt8] = []
        private var start = 0
        private var failure: Failure?

        package init() {}

        package mutating func append(_ bytes: some Sequence<UInt8>) {
            guard failure == nil else { return }
            if start > 0 {
                buffer.removeFirst(start)
                start = 0
            }
            buffer.append(contentsOf: bytes)
        }

        /// The next whole frame, nil when more bytes are needed. After a failure there is no way on.
        package mutating func next() throws(Failure) -> Aisbf_Mesh_V1_LinkFrame? {
            if let failure { throw failure }
            guard buffer.count - start >= prefixBytes else { return nil }
            let length = Int(UInt32(bigEndian: buffer[start..<(start + prefixBytes)]))
            if length > Limits.linkFrameBytes { throw fail(.oversize) }
            if length == 0 { throw fail(.empty) }
            let first = start + prefixBytes
            guard buffer.count - first >= length else { return nil }
            start = first + length
            switch decode(Array(buffer[first..<start])) {
            case .success(let frame): return frame
            case .failure(let failure): throw fail(failure)
            }
        }

        private mutating func fail(_ failure: Failure) -> Failure {
            self.failure = failure
            buffer = []
            start = 0
            return failure
        }
    }
}
