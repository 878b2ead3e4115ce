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
/// large ones, a buyer's first, and those of a peer that sent what no honest node sends on another thread.
@Suite(.nodeLog) struct ForwardCheckTests {
    private struct Host: Sendable {
        let peer: FloodingPeer
        let at: TestNode
        let node: PublicKey
        let provider: RecordKey
        let worker: ScriptedWorker
        /// That of one buyer, at this peer, for some minutes.
        let proof: String

        /// The headers of a request that is signed as it should be.
        func signed(
            _ id: String, _ body: String, by signer: SigningKey? = nil, to destination: PublicKey? = nil,
            principal: String? = nil, hops: Int = 1
        ) -> [HeaderField] {
            let fields = ForwardFields(
                requestID: "req_\(id)", attempt: 1, destination: destination ?? node, principal: principal ?? proof,
                spend: ForwardSpend.none, maxHops: hops)
            return ForwardSignature.sign(
                .init(
                    fields: fields, path: path, contentDigest: Sodium.shared.sha256(Array(body.utf8)),
                    nonce: "0123456789abcdef"),
                signer: signer ?? peer.key, created: SystemClock.wall)
        }

        /// How many forwards the node has checked on another thread.
        func apart() async throws -> Int {
            let text = try await at.admin.call("GET", "/metrics").text
            let line = text.split(separator: "\n").first { $0.hasPrefix("aisbf_forwards_checked_apart_total ") }
            return Int(try #require(line?.split(separator: " ").last)) ?? -1
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
            let proof = PrincipalProof.text(
                owner: .random(), entry: peer.key.publicKey,
                notAfter: SystemClock.wall.advanced(byMilliseconds: 300_000))
            try await body(
                Host(
                    peer: peer, at: node, node: #require(PublicKey(key)), provider: provider, worker: worker,
                    proof: proof))
            await peer.stop()
        }
    }

    private static let small = #"{"model":"m1"}"#

    @Test func aBuyersFirstRequestIsCheckedApart() async throws {
        try await Self.open { host in
            let before = try await host.apart()
            #expect(try await host.served("01", Self.small).text == #"{"id":"01"}"#)
            #expect(try await host.apart() == before + 1)
            for number in 2...4 { #expect(try await host.served("0\(number)", Self.small).status == 200) }
            #expect(try await host.apart() == before + 1)
        }
    }

    /// From then on all that comes of this peer is checked apart, and what is true is served.
    @Test func aFalseSignatureIsRefusedAndWhatIsTrueIsServedAfterIt() async throws {
        try await Self.open { host in
            for id in ["01", "02"] { #expect(try await host.served(id, Self.small).text == #"{"id":"\#(id)"}"#) }
            let before = try await host.apart()
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
                #expect(refused.error == "forward_refused" && refused.text.contains("hold: signature"), "\(refused)")
                // The first one was checked where it arrived.
                #expect(try await host.apart() == before + 2 * round)
                let served = try await host.served("0b\(round)", Self.small)
                #expect(served.status == 200 && served.isWhole && served.text == #"{"id":"0b\#(round)"}"#)
                #expect(try await host.apart() == before + 2 * round + 1)
            }
        }
    }

    @Test(arguments: ["signer", "destination", "hops", "proof", "repeated"])
    func whatNoHonestNodeSendsIsRefusedAndCheckedApartAfterIt(_ fault: String) async throws {
        try await Self.open { host in
            for id in ["01", "02"] { #expect(try await host.served(id, Self.small).status == 200) }
            let (stranger, small) = (SigningKey.random(), Self.small)
            let (headers, words) =
                switch fault {
                case "signer": (host.signed("0a", small, by: stranger), "signed by another node")
                case "destination": (host.signed("0a", small, to: stranger.publicKey), "for another node")
                case "hops": (host.signed("0a", small, hops: 2), "too many nodes")
                case "proof": (host.signed("0a", small, principal: "nobody"), "could not prove")
                default: (host.signed("02", small), "taken already")
                }
            let refused = try await host.ask(headers, small)
            #expect(refused.error == (fault == "destination" ? "misdirected_request" : "forward_refused"))
            #expect(refused.text.contains(words), "\(refused)")
            let before = try await host.apart()
            #expect(try await host.served("0b", small).status == 200)
            #expect(try await host.apart() == before + 1)
        }
    }

    /// More than are checked in one turn, each answered with its own answer.
    @Test func manyThatArriveTogetherAreAllServed() async throws {
        try await Self.open { host in
            #expect(try await host.served("01", Self.small).status == 200)
            let link = try #require(host.peer.current)
            let count = 3 * Limits.forwardsCheckedTogether + 1
            let bodies = (0..<count).map { #"{"model":"m1","x":"n\#($0)"}"# }
            let asked = bodies.enumerated().map { (host.signed("1\($0)", $1), $1, HeardForward()) }
            link.eventLoop.execute {
                for (headers, body, heard) in asked {
                    _ = link.openForward(
                        path: host.path, headers: headers, body: ByteBuffer(string: body), receiver: heard)
                }
            }
            for _ in 0..<count {
                let request = try #require(try await host.worker.next().document)
                host.worker.answer(request, payload: #"{"id":"\#(request["payload"]?["x"]?.text ?? "")"}"#)
            }
            for (number, (_, _, heard)) in asked.enumerated() {
                let answer = try await eventually("answer \(number)") { heard.answer }
                #expect(answer.status == 200 && answer.text == #"{"id":"n\#(number)"}"#)
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
            #expect(try await host.served("01", Self.small).status == 200)
            for (number, size) in [bound - 1, bound, bound + 1, 4 * bound].enumerated() {
                let before = try await host.apart()
                let body = #"{"model":"m1","x":"\#(String(repeating: "x", count: size - frame))"}"#
                #expect(body.utf8.count == size)
                #expect(try await host.served("0d\(number)", body).text == #"{"id":"0d\#(number)"}"#)
                #expect(try await host.apart() == before + (size > bound ? 1 : 0))
            }
            for (number, size) in [bound, bound + 1].enumerated() {
                let body = #"{"model":"m1","x":"\#(String(repeating: "x", count: size - frame))"}"#
                let other = body.replacing("x\"}", with: "y\"}")
                let refused = try await host.ask(host.signed("0e\(number)", body), other)
                #expect(refused.error == "forward_refused" && refused.text.contains("hold: digest"), "\(refused)")
            }
        }
    }
}
