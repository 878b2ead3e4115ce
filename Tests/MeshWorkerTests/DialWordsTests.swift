import MeshTestServers
import MeshWire
import NIOCore
import NIOPosix
import Testing

@testable import MeshWorker

/// What a seller reads whose address leads to something that is no node, or is one that speaks TLS.
@Suite struct DialWordsTests {
    private static func reason(_ base: String) async throws -> String {
        let document: JSONValue = [
            "broker": [
                "base_url": .string(base), "scope": "user", "username": "seller", "provider_id": "gpu",
                "registration_token": "secret-token",
            ], "backend": "demo",
        ]
        let configuration = try WorkerConfiguration.parse(document, environment: [:])
        let dialer = BrokerDialer(configuration: configuration, group: MultiThreadedEventLoopGroup.singleton)
        do {
            _ = try await dialer.dial()
            return "connected"
        } catch let failure as DialFailure { return failure.reason }
    }

    /// A TLS server hangs up on plain HTTP, or sends an alert first.
    @Test(arguments: [[], [0x15, 3, 1, 0, 2, 2, 70]] as [[UInt8]])
    func aServerOfTLSIsAskedInTLS(alert: [UInt8]) async throws {
        let server = RawBackend(answering: .head) { _ in [.send(alert), .close] }
        try await server.start()
        let place = "127.0.0.1:\(server.port)"
        let said = try await Self.reason("http://\(place)")
        await server.stop()
        #expect(said.contains("if it speaks TLS, write https:// in broker.base_url"), "\(said)")
        #expect(said.contains("ws://\(place)/"), "\(said)")
        #expect(!said.contains("secret-token"))
    }
}
