internal import Crypto
internal import Foundation
internal import MeshCrypto
package import NIOSSL
internal import SwiftASN1
internal import X509

/// The certificate of this node's links: a self-signed P-256 leaf. Nobody trusts it for its names or dates; peers
/// compare the hash of its public key with the pins in the node's signed descriptor.
package struct TLSIdentity: Sendable {
    package let certificate: NIOSSLCertificate
    package let privateKey: NIOSSLPrivateKey
    /// SHA-256 of the DER SubjectPublicKeyInfo, 32 bytes.
    package let spkiHash: [UInt8]

    /// What went wrong with the identity's file, in words for the operator; never contains its content.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// - Parameter pem: one private key and one certificate.
    package init(pem: String) throws {
        let bytes = Array(pem.utf8)
        let certificate = try NIOSSLCertificate(bytes: Self.section("CERTIFICATE", of: bytes), format: .pem)
        privateKey = try NIOSSLPrivateKey(bytes: Self.section("PRIVATE KEY", of: bytes), format: .pem)
        spkiHash = try Self.spkiHash(of: certificate)
        self.certificate = certificate
    }

    /// The identity kept at `path`; a new one is made and kept when there is no file yet.
    package static func loadOrCreate(path: String) throws -> TLSIdentity {
        guard FileManager.default.fileExists(atPath: path) else {
            let pem = try makePEM()
            try write(pem, to: path)
            return try TLSIdentity(pem: pem)
        }
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
        guard let mode, mode.intValue & 0o077 == 0 else {
            throw Failure(description: "the link key file is readable by others; run: chmod 600 \(path)")
        }
        do {
            return try TLSIdentity(pem: String(contentsOfFile: path, encoding: .utf8))
        } catch {
            throw Failure(
                description: "the link key file \(path) is damaged; restore it, or remove it to have a new one made")
        }
    }

    /// A fresh identity that is kept nowhere.
    package static func ephemeral() throws -> TLSIdentity { try TLSIdentity(pem: makePEM()) }

    package static func spkiHash(of certificate: NIOSSLCertificate) throws -> [UInt8] {
        Sodium.shared.sha256(try certificate.extractPublicKey().toSPKIBytes())
    }

    private static func makePEM() throws -> String {
        let key = P256.Signing.PrivateKey()
        let name = try DistinguishedName { CommonName("aisbf-mesh-link") }
        // Links do not look at the dates; a fixed start keeps the node's boot time out of the certificate.
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
            notValidBefore: Date(timeIntervalSince1970: 1_735_689_600),
            notValidAfter: Date(timeIntervalSince1970: 4_102_444_800), issuer: name, subject: name,
            signatureAlgorithm: .ecdsaWithSHA256, extensions: Certificate.Extensions(), issuerPrivateKey: .init(key))
        return key.pemRepresentation + "\n" + (try certificate.serializeAsPEM().pemString) + "\n"
    }

    /// Written beside and renamed, so that a crash leaves either no file or a whole one.
    private static func write(_ pem: String, to path: String) throws {
        let temporary = path + ".new"
        try? FileManager.default.removeItem(atPath: temporary)
        guard
            FileManager.default.createFile(
                atPath: temporary, contents: Data(pem.utf8), attributes: [.posixPermissions: NSNumber(value: 0o600)]),
            rename(temporary, path) == 0
        else { throw Failure(description: "the link key file \(path) cannot be written; check the directory") }
    }

    /// The PEM block whose label ends in `label`.
    private static func section(_ label: String, of pem: [UInt8]) throws -> [UInt8] {
        var block: [Substring] = []
        for line in String(decoding: pem, as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("-----BEGIN "), line.hasSuffix("\(label)-----") {
                block = [line]
            } else if !block.isEmpty {
                block.append(line)
            }
            if !block.isEmpty, line.hasPrefix("-----END ") {
                return Array((block.joined(separator: "\n") + "\n").utf8)
            }
        }
        throw Failure(description: "the PEM text has no \(label.lowercased())")
    }
}
