import MeshModel
import NIOCore
import NIOHTTP1
import Testing

@testable import MeshGateway

/// Bodies that come compressed.
@Suite struct BodyEncodingTests {
    static let body = #"{"model":"lab/m1","messages":[{"role":"user","content":"hi"}]}"#
    static let gzip =
        "H4sIAAAAAAACA6tWys1PSc1RslLKSUzSzzVU0lHKTS0uTkxPLVayiq5WKsrPSQVKlhanFgGlkvPzSlLzSoACGZlKtbG1ANHkhYU+AAAA"
    static let zlib = "eJyrVsrNT0nNUbJSyklM0s81VNJRyk0tLk5MTy1WsoquVirKz0kFSpYWpxYBpZLz80pS80qAAhmZSrWxtQB7UBRn"
    static let deflate = "q1bKzU9JzVGyUspJTNLPNVTSUcpNLS5OTE8tVrKKrlYqys9JBUqWFqcWAaWS8/NKUvNKgAIZmUq1sbUA"
    static let zstd =
        "KLUv/SA+8QEAeyJtb2RlbCI6ImxhYi9tMSIsIm1lc3NhZ2VzIjpbeyJyb2xlIjoidXNlciIsImNvbnRlbnQiOiJoaSJ9XX0="
    /// Without its length in its head.
    static let zstdStream =
        "KLUv/QBY8QEAeyJtb2RlbCI6ImxhYi9tMSIsIm1lc3NhZ2VzIjpbeyJyb2xlIjoidXNlciIsImNvbnRlbnQiOiJoaSJ9XX0="
    /// It asks its reader to remember 128 MiB.
    static let zstdWide =
        "KLUv/QCI8QEAeyJtb2RlbCI6ImxhYi9tMSIsIm1lc3NhZ2VzIjpbeyJyb2xlIjoidXNlciIsImNvbnRlbnQiOiJoaSJ9XX0="
    /// 2 MiB of zeros.
    static let bomb =
        "KLUv/aAAACAATAAACAABAPz/ORACAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAACABAAAgAQAAIAEAADABAA"

    static func bytes(_ base64: String) throws -> ByteBuffer {
        ByteBuffer(bytes: try #require(Base64.bytes(Array(base64.utf8))))
    }

    private static func encoding(_ values: String...) throws -> BodyEncoding? {
        try BodyEncoding(HTTPHeaders(values.map { ("Content-Encoding", $0) }))
    }

    @Test(
        arguments: [
            ("gzip", gzip), ("X-GZip", gzip), ("deflate", zlib), ("deflate", deflate), ("zstd", zstd),
            (" identity, zstd ", zstdStream),
        ])
    func everyEncoding(name: String, text: String) throws {
        let encoding = try #require(try Self.encoding(name))
        let whole = try Self.bytes(text)
        #expect(try String(buffer: encoding.inflated(whole, limit: 1 << 16)) == Self.body)
        // A body may be exactly as long as it may be.
        #expect(try encoding.inflated(whole, limit: Self.body.utf8.count).readableBytes == Self.body.utf8.count)
        let tooLong = #expect(throws: MeshError.self) {
            try encoding.inflated(whole, limit: Self.body.utf8.count - 1)
        }
        #expect(tooLong?.code == .bodyTooLarge)
        // Cut anywhere it is none, and so it is with something behind it.
        for length in 0..<whole.readableBytes {
            let cut = try #require(whole.getSlice(at: 0, length: length))
            let error = #expect(throws: MeshError.self, "\(length)") { try encoding.inflated(cut, limit: 1 << 16) }
            #expect(error?.code == .invalidRequest)
        }
        var more = whole
        more.writeString("more")
        #expect(throws: MeshError.self) { try encoding.inflated(more, limit: 1 << 16) }
    }

    @Test func damagedBodiesAreRefusedOrOthers() throws {
        var dice = SeededGenerator(seed: 11)
        for (encoding, text) in [(BodyEncoding.gzip, Self.gzip), (.deflate, Self.zlib), (.zstd, Self.zstdStream)] {
            let whole = try Self.bytes(text)
            for _ in 0..<500 {
                var damaged = whole
                for _ in 0..<Int.random(in: 1...4, using: &dice) {
                    damaged.setInteger(
                        UInt8.random(in: 0...255, using: &dice),
                        at: Int.random(in: 0..<whole.readableBytes, using: &dice))
                }
                let output = try? encoding.inflated(damaged, limit: 4_096)
                #expect(output?.readableBytes ?? 0 <= 4_096)
            }
        }
    }

    @Test func whatIsMuchLongerThanWhatWasSentIsRefused() throws {
        let bomb = try Self.bytes(Self.bomb)
        let error = #expect(throws: MeshError.self) { try BodyEncoding.zstd.inflated(bomb, limit: 8 << 20) }
        #expect(error?.code == .bodyTooLarge && error?.message.contains("\(Limits.inflatedRatio) times") == true)
        let wide = try Self.bytes(Self.zstdWide)
        #expect(throws: MeshError.self) { try BodyEncoding.zstd.inflated(wide, limit: 8 << 20) }
    }

    @Test func whatIsNotTakenIsNamed() throws {
        #expect(try Self.encoding() == nil)
        #expect(try Self.encoding("identity") == nil)
        #expect(try Self.encoding("") == nil)
        for values in [["br"], ["gzip, zstd"], ["gzip", "gzip"], ["compress"]] {
            let headers = HTTPHeaders(values.map { ("content-encoding", $0) })
            let error = #expect(throws: MeshError.self) { try BodyEncoding(headers) }
            #expect(error?.code == .unsupportedEncoding && error?.message.contains("zstd") == true)
        }
    }
}
