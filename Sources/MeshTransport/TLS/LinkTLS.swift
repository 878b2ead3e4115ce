internal import NIOCore
internal import NIOSSL
internal import Synchronization

/// How a link's streams share its connection, named as in ALPN (RFC 7301).
package enum LinkProtocol: String, CaseIterable, Sendable {
    /// Frames of its own; forwards may share a signature.
    case frames = "aisbf-link/2"
    /// HTTP/2, for nodes that speak nothing else.
    case http2 = "h2"
}

/// TLS of node links: version 1.3 only, ALPN names how streams are carried, a certificate from both sides. Every certificate is accepted here;
/// trust is decided by the link handshake, which needs the hash of what was shown.
struct LinkTLS: Sendable {
    private let server: NIOSSLContext
    private let client: NIOSSLContext

    init(identity: TLSIdentity, protocols: [LinkProtocol]) throws {
        var server = TLSConfiguration.makeServerConfiguration(
            certificateChain: [.certificate(identity.certificate)], privateKey: .privateKey(identity.privateKey))
        Self.harden(&server, protocols)
        var client = TLSConfiguration.makeClientConfiguration()
        client.certificateChain = [.certificate(identity.certificate)]
        client.privateKey = .privateKey(identity.privateKey)
        Self.harden(&client, protocols)
        self.server = try NIOSSLContext(configuration: server)
        self.client = try NIOSSLContext(configuration: client)
    }

    private static func harden(_ configuration: inout TLSConfiguration, _ protocols: [LinkProtocol]) {
        configuration.minimumTLSVersion = .tlsv13
        configuration.applicationProtocols = protocols.map(\.rawValue)
        // A dead peer never answers close_notify; its forwards must fail now, not five seconds later.
        configuration.shutdownTimeout = .milliseconds(250)
        // Asks for the peer's certificate; the verification itself is replaced by the handlers' callback.
        configuration.certificateVerification = .noHostnameVerification
        // No authority says who a node is: the system's, which would be loaded here, may not even be installed.
        configuration.trustRoots = .certificates([])
    }

    func serverHandler(peer: PeerCertificate) -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: server, customVerificationCallback: peer.verification)
    }

    func clientHandler(peer: PeerCertificate) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(context: client, serverHostname: nil, customVerificationCallback: peer.verification)
    }
}

/// The SPKI hash of the certificate that the other side of one connection showed.
final class PeerCertificate: Sendable {
    private let hash = Mutex<[UInt8]?>(nil)

    /// Nil until the TLS handshake has checked that the peer holds the key.
    var spkiHash: [UInt8]? { hash.withLock { $0 } }

    var verification: NIOSSLCustomVerificationCallback {
        { certificates, promise in
            guard let leaf = certificates.first, let hash = try? TLSIdentity.spkiHash(of: leaf) else {
                return promise.succeed(.failed)
            }
            self.hash.withLock { $0 = hash }
            promise.succeed(.certificateVerified)
        }
    }
}
