import MeshExchange
package import MeshGossip
package import MeshModel
package import MeshStore
import NIOPosix
import Synchronization

/// Whom this node admits and dials: the lists of its configuration, and what was added by command, which the database
/// keeps. Either may change while the node runs.
package final class MeshRules: Sendable {
    package struct Line<Value: Sendable>: Sendable {
        package var value: Value
        package var isConfigured: Bool
    }

    private struct State {
        var configured: MeshLists
        var added: MeshLists
        var onChange: (@Sendable () -> Void)?
    }

    private let store: MeshStore
    private let operatorKey: PublicKey
    private let wall: @Sendable () -> Timestamp
    private let state: Mutex<State>
    private let applying = Mutex(())

    /// Reads what the store keeps; blocks.
    /// - Parameter wall: the time of day.
    package init(
        store: MeshStore, operatorKey: PublicKey, configured: MeshLists, wall: @escaping @Sendable () -> Timestamp
    ) throws {
        self.wall = wall
        self.store = store
        self.operatorKey = operatorKey
        var added = MeshLists()
        for rule in try store.meshRules() {
            switch rule.kind {
            case .allow: if case .success(let entry) = MeshAdmission.parse(rule.value) { added.allow.append(entry) }
            case .peer: if case .success(let peer) = MeshPeer.parse(rule.value) { added.peers.append(peer) }
            }
        }
        state = Mutex(State(configured: configured, added: added))
    }

    /// `body` is called after every change; set once, before the node runs.
    package func onChange(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onChange = body } }

    /// A node's own operator's other nodes are always welcome.
    package var admission: LinkAdmission {
        let (configured, added) = state.withLock { ($0.configured, $0.added) }
        var admission = LinkAdmission(
            nodes: (configured.peers + added.peers).map(\.node), operators: [operatorKey])
        for entry in configured.allow + added.allow {
            switch entry {
            case .node(let key): admission.nodes.append(key)
            case .operatorKey(let key): admission.operators.append(key)
            }
        }
        return admission
    }

    package var staticPeers: [Gossip.StaticPeer] { peers.map { .init(key: $0.value.node, address: $0.value.address) } }

    package var allowed: [Line<MeshAdmission>] {
        let (configured, added) = state.withLock { ($0.configured.allow, $0.added.allow) }
        return configured.map { Line(value: $0, isConfigured: true) }
            + added.filter { !configured.contains($0) }.map { Line(value: $0, isConfigured: false) }
    }

    package var peers: [Line<MeshPeer>] {
        let (configured, added) = state.withLock { ($0.configured.peers, $0.added.peers) }
        return configured.map { Line(value: $0, isConfigured: true) }
            + added.filter { !configured.contains($0) }.map { Line(value: $0, isConfigured: false) }
    }

    /// The configuration was read again.
    package func setConfigured(_ lists: MeshLists) {
        let onChange = state.withLock { state in
            state.configured = lists
            return state.onChange
        }
        // One after the other, each with what counts then: the last one wins.
        applying.withLock { _ in onChange?() }
    }

    // MARK: Commands

    package func add(_ text: String, _ kind: MeshRule.Kind) async throws {
        switch kind {
        case .allow:
            let entry = try Self.parsed(MeshAdmission.parse(text), text)
            try await store(kind, entry.description)
            change { if !$0.allow.contains(entry) { $0.allow.append(entry) } }
        case .peer:
            let peer = try Self.parsed(MeshPeer.parse(text), text)
            try await store(kind, peer.description)
            change { if !$0.peers.contains(peer) { $0.peers.append(peer) } }
        }
    }

    package func remove(_ text: String, _ kind: MeshRule.Kind) async throws {
        switch kind {
        case .allow:
            let entry = try Self.parsed(MeshAdmission.parse(text), text)
            try await forget(
                kind, entry.description, isConfigured: state.withLock { $0.configured.allow.contains(entry) })
            change { $0.allow.removeAll { $0 == entry } }
        case .peer:
            let peer = try peer(named: text)
            try await forget(
                kind, peer.description, isConfigured: state.withLock { $0.configured.peers.contains(peer) })
            change { $0.peers.removeAll { $0 == peer } }
        }
    }

    /// A peer as it is written, or the only one of that node.
    private func peer(named text: String) throws -> MeshPeer {
        guard case .success(let bytes) = KeyText.node.parse(text), let key = PublicKey(bytes) else {
            return try Self.parsed(MeshPeer.parse(text), text)
        }
        let (configured, added) = state.withLock { ($0.configured.peers, $0.added.peers) }
        let found = added.filter { $0.node == key }
        if found.count > 1 {
            let problem = MeshListProblem("is dialled at several addresses: name one, as node@host:port")
            return try Self.parsed(.failure(problem), text)
        }
        guard let peer = found.first ?? configured.first(where: { $0.node == key }) else {
            throw MeshError(.notFound, "'\(text)' is no peer; 'aisbf mesh peer list' shows them")
        }
        return peer
    }

    private static func parsed<Value>(_ result: Result<Value, MeshListProblem>, _ text: String) throws -> Value {
        switch result {
        case .success(let value): return value
        case .failure(let problem):
            throw MeshError(.invalidRequest, "'\(text.prefix(120))' \(problem.message)", parameter: "value")
        }
    }

    private func store(_ kind: MeshRule.Kind, _ value: String) async throws {
        let (store, wall) = (store, wall)
        try await Self.blocking {
            try store.addMeshRule(MeshRule(kind: kind, value: value, addedAt: wall()))
        }
    }

    private func forget(_ kind: MeshRule.Kind, _ value: String, isConfigured: Bool) async throws {
        let store = store
        do {
            try await Self.blocking { try store.removeMeshRule(kind, value) }
        } catch let error as MeshError where error.code == .notFound && isConfigured {
            throw MeshError(
                .conflict,
                "'\(value)' stands in the configuration file: remove it there, then reload with 'kill -HUP' or restart")
        }
    }

    /// The store's refusals in the words of the API.
    private static func blocking(_ body: @escaping @Sendable () throws -> Void) async throws {
        do { try await NIOThreadPool.singleton.runIfActive(body) } catch let error as StoreError { throw error.told }
    }

    private func change(_ body: (inout MeshLists) -> Void) {
        let onChange = state.withLock { state in
            body(&state.added)
            return state.onChange
        }
        // One after the other, each with what counts then: the last one wins.
        applying.withLock { _ in onChange?() }
    }
}
