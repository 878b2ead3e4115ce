import MeshModel
import MeshNode
import MeshWire
import Synchronization
import Testing

/// Requests that are sent while another is answered on the same connection.
@Suite(.serialized, .nodeLog) struct RequestsAheadTests {
    private static let health = Array("GET /health HTTP/1.1\r\nhost: n\r\n\r\n".utf8)

    /// A connection whose first request is in the worker's hands until `answer` is called.
    private static func withHeld(
        _ body: @escaping @Sendable (_ connection: RawConnection, _ answer: @Sendable () -> Void) async throws -> Void
    ) async throws {
        try await TwoSellers.open { shop in
            let held = Mutex<JSONValue?>(nil)
            shop.first.answers { _, request in held.withLock { $0 = request } }
            let connection = try await shop.bob.start(#"{"model":"lab/m1","messages":[]}"#)
            let request = try await eventually("the worker has it") { held.withLock { $0 } }
            try await body(connection) { Serving.well(shop.first.worker, request) }
            connection.close()
        }
    }

    @Test func halfAHeadWaitsForItsRest() async throws {
        try await Self.withHeld { connection, answer in
            connection.send(Array(Self.health.prefix(20)))
            answer()
            let first = try await connection.reply()
            #expect(first.text.contains("choices"))
            connection.send(Array(Self.health.dropFirst(20)))
            #expect(try await connection.reply().text.contains("ok"))
            connection.send(Self.health)
            #expect(try await connection.reply().text.contains("ok"))
        }
    }

    /// Far more than is taken meanwhile.
    @Test func eachHasItsAnswerInItsTurn() async throws {
        try await Self.withHeld { connection, answer in
            let count = 4_000
            for _ in 0..<count / 100 {
                connection.send((0..<100).flatMap { _ in Self.health })
                await Task.yield()
            }
            answer()
            let first = try await connection.reply()
            #expect(first.text.contains("choices"))
            for _ in 0..<count {
                let reply = try await connection.reply()
                #expect(reply.status == 200)
            }
        }
    }

    @Test func whoLeavesMeanwhileIsNoticed() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Serving.silent)
            let connection = try await shop.bob.start(#"{"model":"lab/m1","messages":[]}"#)
            _ = try await eventually("the worker has it") { shop.first.count == 1 ? true : nil }
            connection.send(Self.health)
            connection.close()
            _ = try await eventually("nobody waits for the worker") {
                try await shop.node.requestsInFlight() == 0 ? true : nil
            }
        }
    }
}
