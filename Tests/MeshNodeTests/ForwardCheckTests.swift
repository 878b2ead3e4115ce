import Foundation
import MeshCrypto
import MeshExchange
import MeshModel
import MeshNode
import MeshRuntime
import MeshTransport
import MeshWire
import NIOCore
import Synchronization
import Testing

/// Keeps the answer to a forward.
private final class HeardForward: ForwardReceiver {
    struct Answer: Sendable {
        var status = 0
        var error: String?
        var text = ""
        var isWhole = false
    }

    private let state = Mutex((answer: Answer(), isOver: false))

    var answer: Answer? { state.withLock { $0.isOver ? $0.answer : nil } }

    func forwardHead(status: Int, headers: [HeaderField]) {
        state.withLock { ($0.answer.status, $0.answer.error) = (status, headers.value("aisbf-error")) }
    }
    func forwardBody(_ bytes: ByteBuffer) { state.withLock { $0.answer.text += String(buffer: bytes) } }
    func forwardEnded(_ failure: ForwardFailure?, trailers: [HeaderField]) {
        state.withLock { ($0.answer.isWhole, $0.isOver) = (failure == nil, true) }
    }
}

/// What a hosting node makes of the forwards of a peer that writes them itself: small ones are checked where they arrive,
/// large ones and those of a peer that has sent a false signature on another thread.
@Suite(.nodeLog) struct ForwardCheckTests {
    private struct Host: Sendable {
        let peer: FloodingPeer
        let node: PublicKey
        let provider: RecordKey
        let worker: ScriptedWorker
        let owner = SigningKey.random()

        /// The headers of a request that is signed as it should be.
        func signed(_ id: String, _ body: String) -> [HeaderField] {
            let now = SystemClock.wall
            let fields = ForwardFields(
                requestID: "req_\(id)", attempt: 1, destination: node,
                principal: PrincipalProof.text(
                    owner: owner, entry: peer.key.publicKey, notAfter: now.advanced(byMilliseconds: 300_000)),
                spend: ForwardSpend.none, maxHops: 1)
            return ForwardSignature.sign(
                .init(
                    fields: fields, path: path, contentDigest: Sodium.shared.sha256(Array(body.utf8)),
                    nonce: "0123456789abcdef"),
                signer: peer.key, created: now)
        }

        var path: String { ForwardPath(provider: provider, operation: .chatCompletions).text }

        func ask(_ headers: [HeaderField], _ body: String) async throws -> HeardForward.Answer {
            let heard = HeardForward()
            let link = try #require(peer.current)
            _ = link.openForward(path: path, headers: headers, body: ByteBuffer(string: body), receiver: heard)
            return try await eventually("an answer") { heard.answer }
        }

        /// Asks, and has the worker answer.
        func served(_ id: String, _ body: String) async throws -> HeardForward.Answer {
            async let answer = ask(signed(id, body), body)
            let request = try #require(try await worker.next().document)
            worker.answer(request, payload: #"{"id":"\#(id)"}"#)
            return try await answer
        }
    }

    private static func open(_ body: @escaping @Sendable (Host) async throws -> Void) async throws {
        let peer = FloodingPeer()
        try await withNode(allow: [peer.nodeID]) { node in
            let token = try await node.provider("lab")
            let worker = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token)
            let network = try await PreparedNode.configuration("north", node.directory).networkID
            try peer.dial(node.linkPort, network: network)
            try await eventually("a link") { peer.isLinked }
            let provider = try await eventually("the provider is known") { () -> RecordKey? in
                let known = try await node.administer("GET", "mesh/providers")["providers"]?.elements?.first
                guard known?["models"]?.elements?.isEmpty == false else { return nil }
                return bytesOfHex(known?["key_name"]?.text?.dropFirst(4) ?? "").flatMap { RecordKey($0) }
            }
            let key = try #require(try KeyText.node.parse(node.nodeID).get())
            try await body(Host(peer: peer, node: #require(PublicKey(key)), provider: provider, worker: worker))
            await peer.stop()
        }
    }

    private static let small = #"{"model":"m1"}"#

    @Test func aFalseSignatureIsRefusedAndWhatIsTrueIsServedAfterIt() async throws {
        try await Self.open { host in
            #expect(try await host.served("01", Self.small).text == #"{"id":"01"}"#)
            for round in 0..<3 {
                var headers = host.signed("0a\(round)", Self.small)
                let last = headers.count - 1
                // The first letter of the signature: the last ones may hold no more than padding.
                let (text, place) = (Array(headers[last].value.utf8), "aisbf=:".utf8.count)
                let other = text[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
                headers[last].value = String(
                    decoding: text[..<place] + [other] + text[(place + 1)...], as: UTF8.self)
                #expect(headers[last].name == "signature")
                let refused = try await host.ask(headers, Self.small)
                #expect(refused.error == "forward_refused" && refused.text.contains("signature"), "\(refused)")
                let served = try await host.served("0b\(round)", Self.small)
                #expect(served.status == 200 && served.isWhole && served.text == #"{"id":"0b\#(round)"}"#)
            }
        }
    }

    @Test func aRequestIsTakenOnce() async throws {
        try await Self.open { host in
            let headers = host.signed("0c", Self.small)
            async let first = host.ask(headers, Self.small)
            let request = try #require(try await host.worker.next().document)
            host.worker.answer(request, payload: "{}")
            #expect(try await first.status == 200)
            let again = try await host.ask(headers, Self.small)
            #expect(again.error == "forward_refused" && again.text.contains("taken already"), "\(again)")
        }
    }

    /// One byte under what is checked on the event loop, just that, one more, and much more.
    @Test func requestsOfAnySizeAreChecked() async throws {
        try await Self.open { host in
            let frame = #"{"model":"m1","x":""}"#.utf8.count
            let bound = Limits.forwardBytesCheckedInPlace
            for (number, size) in [bound - 1, bound, bound + 1, 4 * bound].enumerated() {
                let body = #"{"model":"m1","x":"\#(String(repeating: "x", count: size - frame))"}"#
                #expect(body.utf8.count == size)
                #expect(try await host.served("0d\(number)", body).text == #"{"id":"0d\#(number)"}"#)
                let other = body.replacing("x\"}", with: "y\"}")
                let refused = try await host.ask(host.signed("0e\(number)", body), other)
                #expect(refused.error == "forward_refused" && refused.text.contains("digest"), "\(refused)")
            }
        }
    }
}
