import AsyncHTTPClient
import MeshModel
import NIOCore
import NIOPosix
import NIOSSL

/// Why no connection came about, in words for the seller.
package enum ConnectionWords {
    /// - Parameter place: where it should have led: a URL.
    package static func text(_ error: any Error, to place: String) -> String {
        if let error = error as? NIOConnectionError { return text(error, to: place) }
        if let error = error as? IOError { return text(error, to: place) }
        if let text = tlsText(error) { return text }
        if case .connectTimeout? = error as? ChannelError { return "no answer from \(place) in time" }
        if let error = error as? HTTPClientError {
            if error == .connectTimeout { return "no answer from \(place) in time" }
            return "no connection to \(place): \(error.shortDescription)"
        }
        return "no connection to \(place): \(error)"
    }

    private static func text(_ error: NIOConnectionError, to place: String) -> String {
        guard let last = error.connectionErrors.last?.error else {
            return "the name \(error.host) cannot be resolved: check its spelling, and DNS"
        }
        // Of several addresses the one that refused tells the most.
        let refused = error.connectionErrors.first { ($0.error as? IOError)?.errnoCode == ECONNREFUSED }
        return text(refused?.error ?? last, to: place)
    }

    private static func text(_ error: IOError, to place: String) -> String {
        switch error.errnoCode {
        case ECONNREFUSED: "connection refused: nobody listens at \(place)"
        case EHOSTUNREACH, ENETUNREACH: "\(place) cannot be reached from here: no route"
        case ECONNRESET, EPIPE: "\(place) broke off the connection"
        default: "no connection to \(place): \(error)"
        }
    }

    /// Nil for what is no failure of TLS.
    package static func tlsText(_ error: any Error) -> String? {
        let said = "\(error)"
        if error is NIOSSLExtraError {
            return said.contains("ostname")
                ? "the certificate is for another name: use a name that is in it" : "TLS failed: \(said)"
        }
        guard error is NIOSSLError || error is BoringSSLError else { return nil }
        if said.contains("CERTIFICATE_VERIFY_FAILED") { return "the certificate is not trusted" }
        if ["WRONG_VERSION_NUMBER", "HTTP_REQUEST", "EOF during handshake"].contains(where: said.contains) {
            return "the other side does not speak TLS: write http:// instead of https://, if that is right"
        }
        if said.contains("uncleanShutdown") { return "the connection ended without TLS's farewell" }
        return "TLS failed: \(said)"
    }
}
