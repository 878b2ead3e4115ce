import MeshCrypto
package import MeshModel
import MeshRouting
import MeshSessions
package import MeshWire
package import NIOCore
package import NIOHTTP1
import Synchronization

/// Decides which WebSocket requests are workers that may attach here, and makes their connections.
///
/// A worker is admitted when the public key of its token stands as an attach key in the advert of exactly the
/// provider and scope it names. Everything else is one and the same refusal, so that nobody can find out which
/// part was wrong.
package final class WorkerAdmission: Sendable {
    private let catalog: CatalogHolder
    private let sessions: SessionTable
    private let keys: AttachKeyring
    private let greetingGraceMs: Int64
    private let accepting = Atomic<Bool>(true)
    private let refusals = RefusalGate()

    package init(catalog: CatalogHolder, sessions: SessionTable, keys: AttachKeyring, greetingGraceMs: Int64) {
        self.catalog = catalog
        self.sessions = sessions
        self.keys = keys
        self.greetingGraceMs = greetingGraceMs
    }

    package static let refusal = MeshError(
        .accessDenied,
        "this worker is not admitted: scope, username, provider_id and registration_token must belong together; check worker.json or ask for a new token"
    )

    /// No more workers; the node is stopping.
    package func stop() { accepting.store(false, ordering: .relaxed) }

    /// - Parameter address: where the connection comes from; refusals are counted per address and named provider,
    ///   so that one broken worker behind a proxy does not lock out its neighbours.
    package func admits(_ head: HTTPRequestHead, from address: String) -> Bool {
        guard accepting.load(ordering: .relaxed), sessions.count < Limits.workerSessions,
            let path = WorkerPath(uri: head.uri)
        else { return false }
        let presented = PresentedIdentity(path: path, headers: head.headers)
        let caller = "\(address) \(path.scope.username.prefix(64)) \(presented.providerID.prefix(64))"
        let now = SystemClock.instant
        guard !refusals.isClosed(caller, now: now) else {
            sessions.metrics.refused()
            return false
        }
        if identify(head) != nil { return true }
        refusals.refused(caller, now: now)
        sessions.metrics.refused()
        return false
    }

    /// Adds the session handler to an upgraded channel.
    package func accept(_ channel: any Channel, _ head: HTTPRequestHead) throws {
        // The catalog may have changed since the upgrade was admitted.
        guard let admitted = identify(head) else { throw WorkerAdmission.refusal }
        keys.add(admitted.token.key)
        let now = SystemClock.now
        let sessionID = "ses_" + hexText(Sodium.shared.randomBytes(12))
        let machine = BrokerSession(
            identity: admitted.identity, sessionID: sessionID, tokenText: admitted.tokenText,
            greetingGraceMs: greetingGraceMs, expiresAt: now.wall.advanced(byMilliseconds: 86_400_000),
            now: now.instant)
        let connection = WorkerConnection(machine: machine, sessions: sessions) { handler, eventLoop in
            WorkerSession(
                identity: admitted.identity, sessionID: sessionID, attachKey: admitted.token.key.publicKey,
                connectedAt: now.wall, handler: handler, eventLoop: eventLoop)
        }
        try channel.pipeline.syncOperations.addHandler(connection)
    }

    /// What a worker would be told, without a session: answers `POST …/coderai/register`.
    package func dryRun(path: [String], document: JSONValue, headers: HTTPHeaders) throws -> JSONValue {
        let target = "/" + path.dropLast().joined(separator: "/") + "/wss"
        var fields = headers
        for name in ["provider_id", "client_id", "username", "registration_token"] {
            if let text = document[name]?.text {
                fields.replaceOrAdd(name: "x-coderai-" + name.replacingUnderscores, value: text)
            }
        }
        guard let admitted = identify(HTTPRequestHead(version: .http1_1, method: .POST, uri: target, headers: fields))
        else {
            sessions.metrics.refused()
            throw WorkerAdmission.refusal
        }
        let now = SystemClock.now
        let machine = BrokerSession(
            identity: admitted.identity, sessionID: "dry-run", tokenText: admitted.tokenText,
            greetingGraceMs: greetingGraceMs, expiresAt: now.wall.advanced(byMilliseconds: 86_400_000), now: now.instant
        )
        return machine.registeredDocument(requestID: document["request_id"]?.text ?? "dry-run")
    }

    private struct Admitted {
        var identity: WorkerIdentity
        var token: RegistrationToken
        var tokenText: String
    }

    private func identify(_ head: HTTPRequestHead) -> Admitted? {
        guard let path = WorkerPath(uri: head.uri) else { return nil }
        let presented = PresentedIdentity(path: path, headers: head.headers)
        guard presented.username == path.scope.username,
            case .success(let token) = RegistrationToken.parse(presented.token),
            NameRule.isValid(presented.providerID),
            let provider = catalog.current.provider(
                attachKey: token.key.publicKey, scope: path.scope, providerID: presented.providerID,
                wall: SystemClock.wall)
        else { return nil }
        return Admitted(
            identity: WorkerIdentity(
                provider: provider.key, providerID: provider.providerID, scope: path.scope, clientID: presented.clientID
            ),
            token: token, tokenText: presented.token)
    }
}

/// Where a worker dials: `…/api/coderai/wss` or `…/api/u/{username}/coderai/wss`, below any prefix of a proxy.
struct WorkerPath: Hashable, Sendable {
    var scope: OwnerScope
    var query: [(name: String, value: String)]

    static func == (left: Self, right: Self) -> Bool { left.scope == right.scope }
    func hash(into hasher: inout Hasher) { hasher.combine(scope) }

    init?(uri: String) {
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let segments = parts[0].split(separator: "/").map(String.init)
        guard segments.suffix(2) == ["coderai", "wss"] else { return nil }
        let front = segments.dropLast(2)
        if front.last == "api" {
            scope = .global
        } else if front.count >= 3, front.dropLast().last == "u", front.dropLast(2).last == "api",
            let name = front.last,
            let username = PercentEncoding.decode(name), NameRule.isValid(username)
        {
            scope = OwnerScope(username: username)
        } else {
            return nil
        }
        query = parts.count == 2 ? PercentEncoding.query(String(parts[1])) : []
    }
}

/// What a worker says of itself at the handshake: query first, then headers, then, for the token, `Authorization`.
struct PresentedIdentity: Sendable {
    var providerID: String
    var clientID: String
    var username: String
    var token: String

    init(path: WorkerPath, headers: HTTPHeaders) {
        func value(_ name: String) -> String? {
            if let item = path.query.first(where: { $0.name == name && !$0.value.isEmpty }) { return item.value }
            let header = "x-coderai-" + name.replacingUnderscores
            return headers.first(name: header).flatMap { $0.isEmpty ? nil : $0 }
        }
        providerID = value("provider_id") ?? "coderai"
        let client = value("client_id") ?? "anon-\(SystemClock.wall.seconds)"
        clientID = String(client.filter { $0.isASCII && !$0.isWhitespace && $0 != "\"" && $0 != "\\" }.prefix(128))
        username = value("username") ?? path.scope.username
        let bearer = headers.first(name: "authorization").flatMap { text -> String? in
            text.lowercased().hasPrefix("bearer ") ? String(text.dropFirst(7)) : nil
        }
        token = value("registration_token") ?? bearer ?? ""
    }
}

extension String {
    fileprivate var replacingUnderscores: String { String(map { $0 == "_" ? "-" : $0 }) }
}
