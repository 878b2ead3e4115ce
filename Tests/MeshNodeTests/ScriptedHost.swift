import Foundation
import MeshCrypto
import MeshExchange
import MeshGossip
import MeshModel
import MeshNode
import MeshRuntime
import MeshStore
import MeshTransport
import MeshWire
import NIOCore
import NIOPosix
import Synchronization

/// A hosting node whose every answer is written by the test: it has the keys of a node that ran, and the records that
/// this node had signed while a worker was attached to it. So others believe it, as they have to, and forward requests.
final class ScriptedHost: LinkDelegate {
    private struct State {
        var forwards: [IncomingForward] = []
        var serve: @Sendable (IncomingForward) -> Void = { _ in }
    }

    let prepared: PreparedNode
    private let records: [[UInt8]]
    private let state = Mutex(State())

    private init(_ prepared: PreparedNode, _ records: [[UInt8]]) {
        self.prepared = prepared
        self.records = records
    }

    /// How many requests have come.
    var asked: Int { state.withLock { $0.forwards.count } }
    /// The head fields of the last request.
    var lastHeaders: [HeaderField] { state.withLock { $0.forwards.last?.headers ?? [] } }

    /// What becomes of the next requests. Their bodies have been read.
    func serve(_ body: @escaping @Sendable (IncomingForward) -> Void) { state.withLock { $0.serve = body } }

    /// Runs a node that hosts a worker of `provider` with `models`, keeps what it signed, and answers in its place.
    static func open(
        _ name: String, provider: String, models: [String], capabilities: String = "{}",
        _ body: @escaping @Sendable (ScriptedHost, _ peer: String) async throws -> Void
    ) async throws {
        let prepared = try await PreparedNode(name)
        defer { try? FileManager.default.removeItem(atPath: prepared.directory) }
        let records = try await withNode(name, prepared: prepared, isKept: true) { node in
            let token = try await node.provider(provider)
            _ = try await ScriptedWorker.admitted(
                at: node, provider: provider, token: token, models: models, capabilities: capabilities)
            return try await eventually("the attachment is signed") { () -> [[UInt8]]? in
                let records = try MeshStore.open(prepared.directory + "/mesh.sqlite").ownRecords()
                let types = records.map { $0.count > 2 ? $0[2] : 0 }
                let wanted = [RecordType.nodeDescriptor, .providerAdvert, .attachGrant, .attachment].map(\.rawValue)
                // The first attachment is signed before the worker has told its models.
                let name = [UInt8(models[0].utf8.count)] + Array(models[0].utf8)
                let isWhole = records.contains { record in
                    record[2] == RecordType.attachment.rawValue
                        && record.indices.contains { record[$0...].starts(with: name) }
                }
                return wanted.allSatisfy(types.contains) && isWhole ? records : nil
            }
        }
        let host = ScriptedHost(prepared, records)
        let configuration = try await PreparedNode.configuration(name, prepared.directory)
        let home = try NodeHome.open(configuration)
        let descriptor = records.first { $0[2] == RecordType.nodeDescriptor.rawValue } ?? []
        let endpoint = try LinkEndpoint(
            configuration: .init(
                signer: home.identity.node, network: configuration.networkID, cryptography: Sodium.shared,
                identity: home.tls, admission: LinkAdmission(isOpen: true), descriptor: { descriptor },
                now: { SystemClock.now }),
            group: MultiThreadedEventLoopGroup.singleton, delegate: host)
        let port = try await endpoint.bind(host: "127.0.0.1", port: 0).get()
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(host, "\(prepared.summary.nodeID)@127.0.0.1:\(port)"))
        } catch { result = .failure(error) }
        try? await endpoint.shutdown().get()
        try result.get()
    }

    // MARK: LinkDelegate

    func linkEstablished(_ link: Link, descriptor: VerifiedRecord, clockOffsetMs: Int64) {
        for record in records { link.send(GossipMessage.push(records: [record], hops: 1).frame) }
    }
    func linkFrame(_ link: Link, _ frame: Aisbf_Mesh_V1_LinkFrame, _ ticket: FrameTicket) {}
    func linkClosed(_ link: Link, reason: LinkFailure) {}
    func dialFailed(address: String, expected: PublicKey?, reason: LinkFailure, byPeer: Bool) {}

    func forwardArrived(_ forward: IncomingForward) {
        let serve = state.withLock { state in
            state.forwards.append(forward)
            return state.serve
        }
        let prefix = forward.headers.value("aisbf-payload-length").flatMap { Int($0) }
        forward.collectBody(limit: Limits.workerFrameBytes, prefix: prefix, deadlineMs: 10_000) { _ in serve(forward) }
    }
}

extension IncomingForward {
    func answer(_ status: Int, _ text: String) {
        answer(status, [HeaderField("content-type", "application/json")], text)
    }

    /// A whole answer.
    func answer(_ status: Int, _ headers: [HeaderField], _ text: String) {
        respond(status: status, headers: headers)
        write(ByteBuffer(string: text))
        end()
    }
}

/// Takes an upload and says when it is whole.
final class UploadTaker: ForwardBodyReceiver {
    private let count = Mutex(0)
    private let whole: @Sendable (Int) -> Void

    init(whole: @escaping @Sendable (Int) -> Void) { self.whole = whole }

    func requestBody(_ bytes: ByteBuffer) { count.withLock { $0 += bytes.readableBytes } }
    func bodyEnded(trailers: [HeaderField]) { whole(count.withLock { $0 }) }
}
