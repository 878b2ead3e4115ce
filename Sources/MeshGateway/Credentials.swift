import MeshModel
import MeshRuntime
import NIOHTTP1

/// Where an API key may stand in a request.
enum Credentials {
    static func secret(_ headers: HTTPHeaders) -> String? {
        guard let authorization = headers.first(name: "authorization") else { return headers.first(name: "x-api-key") }
        guard hasBearer(authorization) else { return nil }
        // Text is walked as bytes here: by characters it was a twentieth of a request's time.
        let rest = authorization.utf8.dropFirst(7)
        guard rest.contains(UInt8(ascii: " ")) else { return String(Substring(rest)) }
        return String(decoding: rest.filter { $0 != UInt8(ascii: " ") }, as: UTF8.self)
    }

    /// The scheme's name is the same in any case (RFC 9110, section 11.1).
    private static func hasBearer(_ value: String) -> Bool {
        guard value.utf8.count > 7 else { return false }
        return zip(value.utf8, "bearer ".utf8).allSatisfy { $0 == $1 || ($0 | 0x20 == $1 && $1 != UInt8(ascii: " ")) }
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
