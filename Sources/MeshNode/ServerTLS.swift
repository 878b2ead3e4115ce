import NIOSSL

/// TLS of the public listener, from the operator's own PEM files.
enum ServerTLS {
    static func context(_ files: NodeConfiguration.TLSFiles) throws -> NIOSSLContext {
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(files.certificate)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: files.key, format: .pem)))
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["h2", "http/1.1"]
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw NodeStartError(
                description:
                    "cannot use the certificate (api.tls.certificate) and key (api.tls.key): \(error); both must be readable PEM files that belong together"
            )
        }
    }
}
