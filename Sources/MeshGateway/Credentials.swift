import MeshCrypto
import MeshExchange
import MeshModel
import MeshRuntime
import MeshTransport
import NIOHTTP1

/// Where an API key may stand in a request.
enum Credentials {
    static func secret(_ headers: HTTPHeaders) throws(MeshError) -> String {
        guard let authorization = headers.first(name: "authorization") else {
            guard let secret = headers.first(name: "x-api-key") else {
                throw MeshError(.invalidAPIKey, "no API key given; send 'Authorization: Bearer sk-aisbf-…'")
            }
            return secret
        }
        // Byte by byte: this runs for every request, and walking characters costs more than the rest of it.
        let bytes = authorization.utf8
        guard bytes.count > 7, zip(bytes, "bearer ".utf8).allSatisfy({ $0 | 0x20 == $1 || $0 == $1 }) else {
            throw malformed(bytes)
        }
        let secret = bytes.dropFirst(7).drop { $0 == 0x20 }
        guard let end = secret.lastIndex(where: { $0 != 0x20 }) else { throw malformed(bytes) }
        return String(decoding: secret[...end], as: UTF8.self)
    }

    /// What is wrong with an authorization header that holds no key after `Bearer`. Repeats nothing of it.
    private static func malformed(_ bytes: String.UTF8View) -> MeshError {
        let words = bytes.split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }
        let wanted = "send 'Authorization: Bearer sk-aisbf-…'"
        let said =
            switch (words.first?.lowercased(), words.count) {
            case (nil, _): "the authorization header is empty"
            case ("bearer"?, _): "the authorization header has no API key behind 'Bearer'"
            case ("basic"?, 2...), ("digest"?, 2...), ("token"?, 2...), ("apikey"?, 2...):
                "the authorization header has another scheme than 'Bearer'"
            default: "the authorization header has no 'Bearer ' in front of the API key"
            }
        return MeshError(.invalidAPIKey, "\(said); \(wanted)")
    }
}

/// Whose key stood last in the `authorization` of one connection, whose requests nearly all have the same. The whole header is
/// known by its keyed hash: no secret is kept, and how long a comparison takes says nothing.
final class CallerMemory {
    private static let hashKey = Sodium.shared.randomBytes(16)

    private var authorization: Bytes16?
    private var caller: Caller?
    private var until: Timestamp?
    private var edition: UInt64 = 0

    func caller(_ authorization: String, _ edition: UInt64, _ wall: Timestamp) -> Caller? {
        guard let caller, edition == self.edition, until.map({ wall < $0 }) ?? true else { return nil }
        return Self.hash(authorization) == self.authorization ? caller : nil
    }

    func note(_ authorization: String, _ caller: Caller, until: Timestamp?, _ edition: UInt64) {
        self.authorization = Self.hash(authorization)
        (self.caller, self.until, self.edition) = (caller, until, edition)
    }

    private static func hash(_ authorization: String) -> Bytes16 {
        var authorization = authorization
        return authorization.withUTF8 { Sodium.shared.shortHash16(UnsafeRawBufferPointer($0), key: hashKey) }
    }
}

extension GatewayContext {
    /// Whose key `headers` carry. A good one is let in whatever came from the same place before; wrong ones are counted,
    /// and told to wait when they are many.
    /// - Parameter memory: what was found before on this connection.
    func caller(
        _ headers: HTTPHeaders, from place: ConnectionPlace, _ memory: CallerMemory? = nil
    ) -> Result<Caller, MeshError> {
        // Read first: who is changed meanwhile is asked for again.
        let edition = authenticator.edition
        let wall = SystemClock.wall
        let authorization = memory == nil ? nil : headers.first(name: "authorization")
        if let authorization, let known = memory?.caller(authorization, edition, wall) { return .success(known) }
        let secret: String
        do throws(MeshError) { secret = try Credentials.secret(headers) } catch { return .failure(error) }
        switch authenticator.standing(presenting: secret, wall: wall) {
        case .good(let caller, let until):
            place.prove()
            if let authorization { memory?.note(authorization, caller, until: until, edition) }
            return .success(caller)
        case .disabled:
            return .failure(
                MeshError(.accountDisabled, "the account of this API key is disabled here; ask the node's operator"))
        case .unknown: break
        }
        let now = SystemClock.instant
        let unknown = "this API key is not known here, or was revoked or has expired"
        if let seconds = wrongKeys.secondsClosed(place.address, limit: Limits.wrongKeysPerMinute, now: now) {
            return .failure(
                MeshError(
                    .rateLimited,
                    "\(unknown), and too many such keys came from this address; try again in \(seconds) s",
                    // The same key does not become a good one.
                    retryAfterSeconds: seconds, retries: .init(shouldRetry: false)))
        }
        wrongKeys.refused(place.address, now: now)
        return .failure(MeshError(.invalidAPIKey, unknown))
    }

    /// The caller of an inference route.
    /// - Parameters:
    ///   - scope: the user whose scope the path names, who must be the caller.
    ///   - route: where limits say who may go where; nil for what everybody may look at.
    func inferenceCaller(
        _ headers: HTTPHeaders, scope: String?, route: String? = nil, from place: ConnectionPlace,
        _ memory: CallerMemory? = nil
    ) -> Result<Caller, MeshError> {
        caller(headers, from: place, memory).flatMap { caller in
            guard caller.scopes.contains(.inference) else {
                return .failure(MeshError(.insufficientScope, "this API key does not have the scope 'inference'"))
            }
            guard scope == nil || scope == caller.username else {
                return .failure(
                    MeshError(
                        .insufficientScope,
                        "this API key belongs to another user than the path names; use /v1 or your own username"))
            }
            if let refusal = forbids(caller, route, from: place) { return .failure(refusal) }
            return .success(caller)
        }
    }
}
