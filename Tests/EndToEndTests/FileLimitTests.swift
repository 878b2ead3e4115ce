import Foundation
import Testing

/// A node that may open few files, all of which buyers hold: its operator gets in all the same.
@Suite(.serialized) struct FileLimitTests {
    /// A connection that has said something and is kept.
    private final class Held: Sendable {
        private let descriptor: Int32

        init?(_ port: Int, saying text: String) {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(port).bigEndian
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            let isOpen = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            guard isOpen, text.withCString({ send(descriptor, $0, strlen($0), Int32(MSG_NOSIGNAL)) }) > 0
            else {
                close(descriptor)
                return nil
            }
            self.descriptor = descriptor
        }

        deinit { close(descriptor) }
    }

    @Test func theOperatorGetsInWhenBuyersHoldEveryFile() async throws {
        let node = try NodeProcess()
        let process = try node.start(wrapper: ["bash", "-c", "ulimit -n 256 && exec \"$0\" \"$@\""])
        try #require(await node.isUp(), "\(process.output)")
        #expect(try await node.cli(["user", "create", "alice"]).code == 0)
        let key = try #require(try await node.json(["key", "create", "alice"])["key"] as? String)
        // With a good key they are nobody's to push out.
        let request = "GET /v1/models HTTP/1.1\r\nhost: n\r\nauthorization: Bearer \(key)\r\n\r\n"
        var held = (0..<400).compactMap { _ in Held(node.port, saying: request) }
        let isFull = await eventually(within: 20) {
            // A busy node takes some for newcomers before it has read their keys, and makes room for others.
            if held.count < 2_000 { held += (0..<100).compactMap { _ in Held(node.port, saying: request) } }
            return ((try? await Curl.run(["\(node.url)/health"], within: 3).status) ?? 0) != 200
        }
        #expect(isFull && held.count > 128, "\(held.count) connections and still room")
        for command in [["node", "status"], ["mesh", "peers"], ["user", "create", "bob"]] {
            let result = try await node.cli(command)
            #expect(result.code == 0, "\(command): \(result.output)")
        }
        held = []
        #expect(await node.isUp(), "\(process.output)")
        process.kill(SIGTERM)
        #expect(await process.exitCode(within: 15) == 0, "\(process.output)")
    }
}
