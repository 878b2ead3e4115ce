import CZlib
import CZstd
import MeshModel
import NIOCore
import NIOHTTP1

/// How a request's body is compressed (RFC 9110, section 8.4). Some programs compress all they send.
enum BodyEncoding: String, CaseIterable, Sendable {
    case gzip, deflate, zstd

    /// What this node takes, as `accept-encoding` lists it.
    static var names: String { "identity, \(allCases.map(\.rawValue).joined(separator: ", "))" }

    /// Nil where a body stands there as it is.
    /// - Throws: `MeshError` for an encoding that this node does not take, and for one inside another.
    init?(_ headers: HTTPHeaders) throws(MeshError) {
        guard headers.contains(name: "content-encoding") else { return nil }
        let values = headers["content-encoding"].joined(separator: ",").lowercased()
        let names = values.split(separator: ",").map { $0.trimming(0x20) }.filter { !$0.isEmpty && $0 != "identity" }
        guard let name = names.first else { return nil }
        guard names.count == 1, let encoding = Self(rawValue: name == "x-gzip" ? "gzip" : name) else {
            throw MeshError(
                .unsupportedEncoding,
                "the request body is compressed ('\(values.prefix(64))') in a way this node does not take; it takes \(Self.names)"
            )
        }
        self = encoding
    }

    /// A request's body as it was before it was compressed; nil where it was not.
    static func unpacked(
        _ bytes: ByteBuffer, _ head: HTTPRequestHead, _ hot: HotRequest?
    ) throws(MeshError) -> ByteBuffer? {
        guard bytes.readableBytes > 0, let encoding = try BodyEncoding(head.headers) else { return nil }
        return try encoding.inflated(bytes, limit: RequestBounds.bodyLimit(hot?.route))
    }

    /// The body as it was before.
    /// - Parameter limit: its most bytes.
    /// - Throws: `MeshError` where it would be longer, longer than anything is that somebody wrote, or is broken.
    func inflated(_ bytes: ByteBuffer, limit: Int) throws(MeshError) -> ByteBuffer {
        let (ratio, overflow) = bytes.readableBytes.multipliedReportingOverflow(by: Limits.inflatedRatio)
        let bound = min(limit, overflow ? limit : max(ratio, Limits.inflatedFreeBytes))
        let output: ByteBuffer?
        do throws(InflationOverflow) {
            output = try self == .zstd ? Self.zstd(bytes, bound) : Self.zlib(bytes, Self.window(of: self, bytes), bound)
        } catch {
            let times = bound < limit ? ", and is more than \(Limits.inflatedRatio) times as long as what was sent" : ""
            throw MeshError(
                .bodyTooLarge, "the request body is larger than \(bound >> 10) KiB when it is unpacked\(times)")
        }
        guard let output else {
            throw MeshError(
                .invalidRequest, "the request body is not \(rawValue), as its content-encoding says, or is cut off")
        }
        return output
    }

    private struct InflationOverflow: Error {}

    private static let pieceBytes = 65_536

    // MARK: zlib

    /// What zlib is to expect: a gzip header, one of its own, or none, which some programs call `deflate` as well.
    private static func window(of encoding: BodyEncoding, _ bytes: ByteBuffer) -> Int32 {
        if encoding == .gzip { return 16 + MAX_WBITS }
        let head = bytes.getInteger(at: bytes.readerIndex, as: UInt16.self) ?? 0
        return head >> 8 & 15 == 8 && head % 31 == 0 ? MAX_WBITS : -MAX_WBITS
    }

    /// Nil where the bytes are not what they should be.
    private static func zlib(
        _ bytes: ByteBuffer, _ window: Int32, _ bound: Int
    ) throws(InflationOverflow) -> ByteBuffer? {
        var stream = z_stream()
        guard inflateInit2_(&stream, window, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            return nil
        }
        defer { inflateEnd(&stream) }
        var input = Array(bytes.readableBytesView)
        var output = ByteBuffer()
        var status = Z_OK
        input.withUnsafeMutableBufferPointer { input in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(clamping: input.count)
            while status == Z_OK, output.readableBytes <= bound {
                output.writeWithUnsafeMutableBytes(minimumWritableBytes: pieceBytes) { piece in
                    let room = min(piece.count, pieceBytes)
                    stream.next_out = piece.bindMemory(to: UInt8.self).baseAddress
                    stream.avail_out = UInt32(room)
                    status = inflate(&stream, Z_NO_FLUSH)
                    return room - Int(stream.avail_out)
                }
            }
        }
        guard output.readableBytes <= bound else { throw InflationOverflow() }
        return status == Z_STREAM_END && stream.avail_in == 0 ? output : nil
    }

    // MARK: zstd

    private static func zstd(_ bytes: ByteBuffer, _ bound: Int) throws(InflationOverflow) -> ByteBuffer? {
        guard let context = ZSTD_createDCtx() else { return nil }
        defer { ZSTD_freeDCtx(context) }
        // What a frame may ask this node to remember.
        guard ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Limits.inflatedWindowLog)) == 0 else {
            return nil
        }
        let input = Array(bytes.readableBytesView)
        var output = ByteBuffer()
        var isBroken = false
        var isWhole = false
        input.withUnsafeBytes { raw in
            var source = ZSTD_inBuffer(src: raw.baseAddress, size: raw.count, pos: 0)
            var isFull = false
            while !isBroken, output.readableBytes <= bound, source.pos < source.size || isFull {
                output.writeWithUnsafeMutableBytes(minimumWritableBytes: pieceBytes) { piece in
                    var target = ZSTD_outBuffer(dst: piece.baseAddress, size: min(piece.count, pieceBytes), pos: 0)
                    let left = ZSTD_decompressStream(context, &target, &source)
                    isBroken = ZSTD_isError(left) != 0
                    // Nothing is left of a frame when it says so; what is behind it is another one.
                    isWhole = left == 0
                    isFull = target.pos == target.size && left != 0
                    return target.pos
                }
            }
        }
        guard output.readableBytes <= bound else { throw InflationOverflow() }
        return isWhole && !isBroken ? output : nil
    }
}

extension Substring {
    fileprivate func trimming(_ byte: UInt8) -> String {
        let kept = utf8.drop { $0 == byte }
        return String(decoding: kept.reversed().drop { $0 == byte }.reversed(), as: UTF8.self)
    }
}
