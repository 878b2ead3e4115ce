import Logging
import MeshCrypto
import MeshExchange
package import MeshModel
package import MeshRouting
import MeshSessions
package import MeshTransport
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
    private let imported: ImportedTokens
    private let greetingGraceMs: Int64
    private let opened: @Sendable (RecordKey, ProviderDetails) -> Void
    private let accepting = Atomic<Bool>(true)
    private let refusals = RefusalGate()
    private let guesses = GuessAllowance()
    private let rate: Mutex<AdmissionRate>
    private let journal: Journal

    /// - Parameter opened: is told what a worker's token opened.
    package init(
        catalog: CatalogHolder, sessions: SessionTable, keys: AttachKeyring, imported: ImportedTokens,
        greetingGraceMs: Int64, journal: Journal = .silent,
        opened: @escaping @Sendable (RecordKey, ProviderDetails) -> Void = { _, _ in }
    ) {
        self.journal = journal
        self.opened = opened
        self.catalog = catalog
        self.sessions = sessions
        self.keys = keys
        self.imported = imported
        self.greetingGraceMs = greetingGraceMs
        rate = Mutex(
            AdmissionRate(
                perSecond: Limits.workerAdmissionsPerSecond, burst: Limits.workerAdmissionsBurst,
                now: SystemClock.instant))
    }

    package static let refusal = MeshError(
        .accessDenied,
        "this worker is not admitted: scope, username, provider_id and registration_token must belong together; check worker.json or ask for a new token"
    )

    /// No more workers; the node is stopping.
    package func stop() { accepting.store(false, ordering: .relaxed) }

    // MARK: WebSockets

    /// Refusals are counted per address and named provider, so that one broken worker behind a proxy does not lock
    /// out its neighbours.
    package func admits(_ channel: any Channel, _ head: HTTPRequestHead) -> EventLoopFuture<UpgradeVerdict> {
        let eventLoop = channel.eventLoop
        guard let path = WorkerPath(uri: head.uri) else { return eventLoop.makeSucceededFuture(.notOffered) }
        let attempt = Attempt(
            path: path, headers: head.headers, address: ClientAddress.text(channel.remoteAddress))
        switch judged(attempt) {
        case .success(.admitted(let admitted)): return eventLoop.makeSucceededFuture(inTurn(admitted))
        case .success(.imported(let candidates)):
            let promise = eventLoop.makePromise(of: UpgradeVerdict.self)
            find(attempt, among: candidates) { [self] found in
                switch found {
                case .success(let admitted): promise.succeed(inTurn(admitted))
                case .failure(let error): promise.succeed(.refused(error))
                }
            }
            return quiet(channel, during: promise.futureResult)
        case .success(.opened(let admitted, let details)):
            opened(admitted.identity.provider, details)
            let verdict = eventLoop.makeFutureWithTask { [self] in
                // The token was good; the catalog shows the provider in a moment, and the worker can attach then.
                let isShown = await catalog.wait(atMost: Limits.changeWaitMs) { catalog in
                    catalog.provider(admitted.identity.provider) != nil
                }
                guard isShown, case .admitted(let admitted)? = identify(attempt) else {
                    return UpgradeVerdict.refused(Self.refusal)
                }
                return inTurn(admitted)
            }
            return quiet(channel, during: verdict)
        case .failure(let error): return eventLoop.makeSucceededFuture(.refused(error))
        }
    }

    /// Nothing is read meanwhile, or a client could send for as long as its turn takes.
    private func quiet(
        _ channel: any Channel, during verdict: EventLoopFuture<UpgradeVerdict>
    ) -> EventLoopFuture<UpgradeVerdict> {
        channel.setOption(.autoRead, value: false).whenFailure { _ in }
        return verdict.always { _ in channel.setOption(.autoRead, value: true).whenFailure { _ in } }
    }

    /// Adds the session handler to an upgraded channel. A token that ended since then ends the session with the next
    /// look at all of them.
    private func accept(_ admitted: Admitted, _ channel: any Channel) throws {
        keys.add(admitted.key)
        let now = SystemClock.now
        let sessionID = "ses_" + hexText(Sodium.shared.randomBytes(12))
        let machine = BrokerSession(
            identity: admitted.identity, sessionID: sessionID, tokenText: admitted.tokenText,
            greetingGraceMs: greetingGraceMs, now: now)
        let connection = WorkerConnection(machine: machine, sessions: sessions) { [sessions] handler, eventLoop in
            WorkerSession(
                identity: admitted.identity, sessionID: sessionID, attachKey: admitted.key.publicKey,
                connectedAt: now.wall, line: WorkerSocket(handler, eventLoop: eventLoop), sessions: sessions)
        }
        try channel.pipeline.syncOperations.addHandler(connection)
    }

    /// An admitted worker, now or a little later: many that lost their node at the same moment come back at once.
    private func inTurn(_ admitted: Admitted) -> UpgradeVerdict {
        guard let seconds = rate.withLock({ $0.take(now: SystemClock.instant) }) else {
            return .admitted { [self] channel in try accept(admitted, channel) }
        }
        sessions.metrics.deferred()
        return .refused(
            MeshError(
                .rateLimited, "many workers are connecting at once; try again in \(seconds) s",
                retryAfterSeconds: seconds, statusOverride: 503))
    }

    // MARK: The dry run

    /// What a worker would be told, without a session: answers `POST …/coderai/register`.
    package func dryRun(
        path: [String], document: JSONValue, headers: HTTPHeaders, address: String
    ) async throws -> JSONValue {
        let target = "/" + path.dropLast().joined(separator: "/") + "/wss"
        var fields = headers
        for name in ["provider_id", "client_id", "username", "registration_token"] {
            if let text = document[name]?.text {
                fields.replaceOrAdd(name: "x-coderai-" + name.replacingUnderscores, value: text)
            }
        }
        guard let path = WorkerPath(uri: target) else { throw WorkerAdmission.refusal }
        let attempt = Attempt(path: path, headers: fields, address: address)
        let admitted: Admitted
        switch try judged(attempt).get() {
        case .admitted(let found): admitted = found
        case .opened(let found, let details):
            opened(found.identity.provider, details)
            admitted = found
        case .imported(let candidates):
            let found = await withCheckedContinuation { continuation in
                find(attempt, among: candidates) { continuation.resume(returning: $0) }
            }
            admitted = try found.get()
        }
        let now = SystemClock.now
        let machine = BrokerSession(
            identity: admitted.identity, sessionID: "dry-run", tokenText: admitted.tokenText,
            greetingGraceMs: greetingGraceMs, now: now)
        return machine.registeredDocument(requestID: document["request_id"]?.text ?? "dry-run", wall: now.wall)
    }

    // MARK: Who it is

    private struct Attempt: Sendable {
        var scope: OwnerScope
        var presented: PresentedIdentity
        var address: String
        /// Where it comes from and to which provider, for the count of refusals.
        var caller: String
        /// The same with the token it comes with. Whoever goes on with a token that was good yesterday must not lock
        /// out its neighbours with a good one.
        var callerWithToken: String

        init(path: WorkerPath, headers: HTTPHeaders, address: String) {
            scope = path.scope
            self.address = address
            presented = PresentedIdentity(path: path, headers: headers)
            caller = "\(address) \(path.scope.username.prefix(64)) \(presented.providerID.prefix(64))"
            // Keyed by this process, and kept in the place of the token.
            callerWithToken = "\(caller) \(presented.token.hashValue)"
        }
    }

    private struct Admitted: Sendable {
        var identity: WorkerIdentity
        var key: SigningKey
        var tokenText: String
    }

    private enum Finding {
        case admitted(Admitted)
        /// It may be a token that was minted elsewhere, of one of these providers.
        case imported([ImportedTokens.Candidate])
        /// Its token opened the advert of a provider that this node did not know.
        case opened(Admitted, ProviderDetails)
    }

    /// Everything that is decided at once, cheapest first.
    private func judged(_ attempt: Attempt) -> Result<Finding, MeshError> {
        guard accepting.load(ordering: .relaxed) else {
            return .failure(MeshError(.draining, "this node is shutting down; use another node", retryAfterSeconds: 5))
        }
        guard sessions.count < Limits.workerSessions else {
            sessions.metrics.deferred()
            return .failure(
                MeshError(
                    .rateLimited, "this node has no room for more workers; use another node",
                    retryAfterSeconds: Limits.workerRetryAfterSeconds, statusOverride: 503))
        }
        // The proof comes first: it costs two look-ups and one scalar multiplication, less than the connection did.
        guard let finding = identify(attempt) else { return .failure(refused(attempt)) }
        return .success(finding)
    }

    /// Counts a refusal. Whoever has used up its share of them is told to wait; a good token passes all the same.
    private func refused(_ attempt: Attempt) -> MeshError {
        sessions.metrics.refused()
        let now = SystemClock.instant
        let closed =
            refusals.secondsClosed(attempt.callerWithToken, limit: Limits.workerRefusalsPerMinute, now: now)
            ?? refusals.secondsClosed(attempt.caller, limit: Limits.workerRefusalsPerCaller, now: now)
        refusals.refused(attempt.caller, now: now)
        refusals.refused(attempt.callerWithToken, now: now)
        report(attempt, reason: closed == nil ? "names_and_token_disagree" : "too_many_refusals")
        guard let closed else { return Self.refusal }
        // Whoever holds a token that this node is about to hear of should not have to wait for long.
        let seconds = min(closed, Limits.workerRetryAfterSeconds)
        return MeshError(
            .rateLimited, "\(Self.refusal.message). Too many such attempts were made; try again in \(seconds) s",
            retryAfterSeconds: seconds)
    }

    /// The node's own operator may know what the worker is not told. The names are the caller's words.
    private func report(_ attempt: Attempt, reason: String) {
        journal.workerRefused(
            [
                "remote.address": "\(attempt.address)",
                "provider": "\(attempt.scope.username.prefix(64))/\(attempt.presented.providerID.prefix(64))",
                "worker.client_id": "\(attempt.presented.clientID.prefix(64))",
            ], reason: reason)
    }

    /// Work on a guess is paid for before it is done. Whoever waits for work that is under way costs nothing yet: all
    /// workers of one seller may come back at once, with one token and from one address.
    private func find(
        _ attempt: Attempt, among candidates: [ImportedTokens.Candidate],
        then: @escaping @Sendable (Result<Admitted, MeshError>) -> Void
    ) {
        let isWork = !imported.isUnderWay(attempt.presented.token, among: candidates)
        if isWork, !guesses.take(attempt.caller, now: SystemClock.instant) { return then(.failure(refused(attempt))) }
        imported.find(attempt.presented.token, among: candidates) { [self] answer in
            guard case .found = answer, case .admitted(let admitted) = identify(attempt) else {
                return then(.failure(refused(attempt)))
            }
            if isWork { guesses.giveBack(attempt.caller) }
            then(.success(admitted))
        }
    }

    /// Nil: nobody this node knows of.
    private func identify(_ attempt: Attempt) -> Finding? {
        let presented = attempt.presented
        guard presented.username == attempt.scope.username, NameRule.isValid(presented.providerID) else { return nil }
        let wall = SystemClock.wall
        let catalog = catalog.current
        func admitted(_ key: SigningKey, to provider: CatalogProvider) -> Finding {
            let identity = WorkerIdentity(
                provider: provider.key, providerID: provider.providerID, scope: attempt.scope,
                clientID: presented.clientID)
            return .admitted(Admitted(identity: identity, key: key, tokenText: presented.token))
        }
        if case .success(let token) = RegistrationToken.parse(presented.token) {
            let known = catalog.provider(
                attachKey: token.key.publicKey, scope: attempt.scope, providerID: presented.providerID, wall: wall)
            return known.map { admitted(token.key, to: $0) } ?? Self.opened(token.key, attempt, catalog, wall)
        }
        guard ImportedTokenText.problem(presented.token) == nil else { return nil }
        let candidates = catalog.providers(
            withImportedTokensIn: attempt.scope, providerID: presented.providerID, wall: wall
        ).map { (provider: $0, keys: $0.importedKeys(host: catalog.node, wall: wall)) }
        for (provider, keys) in candidates {
            if let key = imported.known(presented.token, provider: provider.tokenSalt), keys.contains(key.publicKey) {
                return admitted(key, to: provider)
            }
        }
        return candidates.isEmpty
            ? nil : .imported(candidates.map { .init(provider: $0.provider.tokenSalt, keys: $0.keys) })
    }

    /// As in the catalog, nobody gets the worker when two adverts say that it is theirs.
    private static func opened(
        _ key: SigningKey, _ attempt: Attempt, _ catalog: Catalog, _ wall: Timestamp
    ) -> Finding? {
        let found = catalog.sealed(attachKey: key.publicKey).prefix(Limits.importedTokenProviders)
            .compactMap { advert -> (key: RecordKey, details: ProviderDetails)? in
                guard let details = advert.opened(with: key),
                    advert.admits(
                        key.publicKey, by: details, scope: attempt.scope, providerID: attempt.presented.providerID,
                        host: catalog.node, wall: wall, Sodium.shared)
                else { return nil }
                return (advert.key, details)
            }
        guard found.count == 1 else { return nil }
        let identity = WorkerIdentity(
            provider: found[0].key, providerID: attempt.presented.providerID, scope: attempt.scope,
            clientID: attempt.presented.clientID)
        return .opened(
            Admitted(identity: identity, key: key, tokenText: attempt.presented.token), found[0].details)
    }
}
