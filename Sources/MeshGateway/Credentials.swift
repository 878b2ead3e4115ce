import MeshModel
import MeshRuntime
import NIOHTTP1

/// Where an API key may stand in a request.
enum Credentials {
    static func secret(_ headers: HTTPHeaders) -> String? {
        guard let authorization = headers.first(name: "authorization") else { return headers.first(name: "x-api-key") }
        // Byte by byte: this runs for every request, and walking characters costs more than the rest of it.
        let bytes = authorization.utf8
        guard bytes.count > 7, zip(bytes, "bearer ".utf8).allSatisfy({ $0 | 0x20 == $1 || $0 == $1 }) else {
            return nil
        }
        let secret = bytes.dropFirst(7).drop { $0 == 0x20 }
        guard let end = secret.lastIndex(where: { $0 != 0x20 }) else { return nil }
        return String(secret[...end])
    }
}

extension GatewayContext {
    /// Whose key `headers` carry.
    func caller(_ headers: HTTPHeaders) -> Result<Caller, MeshError> {
        guard let secret = Credentials.secret(headers) else {
            return .failure(MeshError(.invalidAPIKey, "no API key given; send 'Authorization: Bearer sk-aisbf-…'"))
        }
        guard let caller = authenticator.caller(presenting: secret, wall: SystemClock.wall) else {
            return .failure(MeshError(.invalidAPIKey, "this API key is not known here, or was revoked or has expired"))
        }
        return .success(caller)
    }

    /// The caller of an inference route.
    /// - Parameter scope: the user whose scope the path names, who must be the caller.
    func inferenceCaller(_ headers: HTTPHeaders, scope: String?) -> Result<Caller, MeshError> {
        caller(headers).flatMap { caller in
            guard caller.scopes.contains(.inference) else {
                return .failure(MeshError(.insufficientScope, "this API key does not have the scope 'inference'"))
            }
            guard scope == nil || scope == caller.username else {
                return .failure(
                    MeshError(
                        .insufficientScope,
                        "this API key belongs to another user than the path names; use /v1 or your own username"))
            }
            return .success(caller)
        }
    }
}
