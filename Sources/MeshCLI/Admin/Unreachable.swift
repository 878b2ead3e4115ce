internal import AsyncHTTPClient
internal import Foundation
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

/// Why a node did not answer, in words for the person at the terminal.
enum Unreachable {
    /// No node could be asked (sysexits(3): EX_UNAVAILABLE).
    static let exitCode: Int32 = 69
    /// This user may not (EX_NOPERM).
    static let notPermitted: Int32 = 77

    /// What keeps this user from the admin socket before anything is sent; nil when nothing does.
    static func socketFailure(_ socket: String) -> CommandFailure? {
        var status = stat()
        if stat(socket, &status) == 0 {
            return access(socket, R_OK | W_OK) == 0 ? nil : permissionFailure(socket, owner: status.st_uid)
        }
        switch errno {
        case EACCES:
            let directory = URL(fileURLWithPath: socket).deletingLastPathComponent().path
            let isKnown = stat(directory, &status) == 0
            return permissionFailure(directory, owner: isKnown ? status.st_uid : nil)
        default: return failure(.socket(socket), "no socket")
        }
    }

    private static func permissionFailure(_ path: String, owner: uid_t?) -> CommandFailure {
        let name = owner.flatMap { getpwuid($0) }.map { String(cString: $0.pointee.pw_name) }
        let advice =
            name.map { "it belongs to \($0), whom the node runs as: sudo -u \($0) aisbf …" }
            ?? "it belongs to the user the node runs as: run the command as that user"
        return CommandFailure(
            "permission denied: \(path) cannot be reached by this user; \(advice)", exitCode: notPermitted)
    }

    static func failure(_ target: AdminClient.Target, _ error: any Error) -> CommandFailure {
        if let words = tlsWords(target, error) { return CommandFailure(words, exitCode: exitCode) }
        return failure(target, reason(error))
    }

    private static func failure(_ target: AdminClient.Target, _ reason: String) -> CommandFailure {
        CommandFailure(
            "no node answers at \(place(target)) (\(reason)). Is the node running? Start it with 'aisbf node run', or "
                + "name another with --data-dir or --url.", exitCode: exitCode)
    }

    private static func place(_ target: AdminClient.Target) -> String {
        switch target {
        case .socket(let path): path
        case .url(let url, _): url
        }
    }

    /// Something answers, and it cannot be trusted, or speaks no TLS.
    private static func tlsWords(_ target: AdminClient.Target, _ error: any Error) -> String? {
        let place = place(target)
        if case NIOSSLExtraError.failedToValidateHostname? = error as? NIOSSLExtraError {
            return
                "the certificate of \(place) is for another name; use the name in the certificate, or have one made for this name"
        }
        guard let error = error as? NIOSSLError, case .handshakeFailed(let cause) = error else { return nil }
        let text = String(describing: cause)
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            return
                "the certificate of \(place) is not trusted: it has expired, or its authority is not known to this machine. Name the authority's PEM file with --ca-file"
        }
        if ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "EOF during handshake"].contains(where: text.contains) {
            return "what answers at \(place) does not speak TLS, or broke off; is it http:// there?"
        }
        return "the TLS handshake with \(place) failed: \(text)"
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as IOError: return words(error.errnoCode)
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return reason(first.error) }
            return "the name '\(error.host)' was not found"
        case let error as HTTPClientError:
            if error == .remoteConnectionClosed { return "the connection was closed; is it https:// there?" }
            if [.connectTimeout, .deadlineExceeded, .readTimeout].contains(error) { return "no answer in time" }
            return error.shortDescription
        case let error as ChannelError:
            if case .connectTimeout = error { return "no answer in time" }
            return "connection failed"
        default: return "connection failed"
        }
    }

    private static func words(_ code: Int32) -> String {
        switch code {
        case ECONNREFUSED: "nothing listens there"
        case EACCES, EPERM: "permission denied"
        default: String(cString: strerror(code))
        }
    }
}
